"""From scores of good images to a threshold with a stated false-reject rate.

Full conformal prediction (Vovk et al. 2005; in leave-one-out form the jackknife of Barber et al. 2021): if the frames
of the line and the n good images are exchangeable, at most a fraction (n + 1 - k) / (n + 1) of good frames scores over
the k-th smallest of n leave-one-out scores. For distances to the nearest item of a gallery this holds without
correction: a larger gallery can only reduce distances, so with the new frame added to the gallery no good image would
score higher than its leave-one-out score. For scores over a baseline, for approximate search, and where only the K
nearest images count, it is measured, not proved: docs/architecture.md. Beyond the largest score the tail is assumed to
be exponential; with a heavier tail more good frames are rejected than stated.

Parts are what is exchangeable, not images: several images of a part share the weight of one (`Evidence`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.binomial import CONFIDENCE, beta_quantile, clopper_pearson
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.evidence import Evidence
from spade_edge.runtime.bundle.threshold import CERTIFIED, EXTRAPOLATED, LOWEST_RATE

FEWEST = 10  # scores needed to extrapolate a tail
TAIL = 0.2  # fraction of the scores that form the tail


@dataclass(frozen=True)
class Limit:
    """A threshold and its false-reject rate.

    Attributes:
        value: scores above it are rejected.
        rate: fraction of good frames that are rejected: an upper bound if certified, an estimate if extrapolated.
        basis: "certified", by counting, or "extrapolated", beyond the largest score.
        interval: 95 % confidence interval of the rate, given these images.
    """

    value: float
    rate: float
    basis: str
    interval: tuple[float, float]


def lowest_rate(count: int) -> float:
    """The lowest false-reject rate that this number of good parts can certify."""
    return 1 / (count + 1)


def images_needed(rate: float) -> int:
    """The number of good parts that is needed to certify a rate."""
    return max(1, math.ceil(1 / rate - 1 - 1e-9))


def check_rate(rate: float | None, count: int) -> None:
    """Refuse a rate that is too low for this number of parts, before the long work starts.

    Raises:
        UsageError: as for `limit`.
    """
    if rate is not None:
        _check(rate, count)


def limit(evidence: Evidence, *, rate: float) -> Limit:
    """Find the threshold for a false-reject rate.

    Args:
        evidence: scores of good parts.
        rate: over 0 and under 1.

    Raises:
        UsageError: a rate out of range, or too low to be extrapolated from so few parts.
    """
    count = evidence.parts
    _check(rate, count)
    kept = math.ceil((count + 1) * (1 - rate) - 1e-9)  # k: so many parts must not score higher
    if kept > count:
        return _extrapolated(np.sort(evidence.of_parts), rate)
    kept = max(kept, 1)
    over = count + 1 - kept  # settled before the scores are seen, so equal scores do not make it smaller
    scores = np.asarray(evidence.scores, np.float64)
    order = np.argsort(scores, kind="stable")
    up_to = np.cumsum(np.asarray(evidence.weights)[order])
    value = float(scores[order[int(np.searchsorted(up_to, kept - 1e-9))]])
    return Limit(value=value, rate=over / (count + 1), basis=CERTIFIED, interval=_beta_interval(over, kept))


def rate_of(evidence: Evidence, value: float) -> tuple[float, tuple[float, float]]:
    """The rate of a manual threshold and its 95 % confidence interval, by counting."""
    count, over = evidence.parts, parts_over(evidence, value)
    low, high = clopper_pearson(math.floor(over), count)[0], clopper_pearson(math.ceil(over), count)[1]
    return (over + 1) / (count + 1), (low, high)


def parts_over(evidence: Evidence, value: float) -> float:
    """The number of parts that score higher than a value; of a part with m scores, each counts 1 / m."""
    scores, weights = np.asarray(evidence.scores), np.asarray(evidence.weights)
    return float(round(weights[scores > value].sum(), 9))  # a sum of thirds is a whole number again


def _check(rate: float, count: int) -> None:
    if not LOWEST_RATE <= rate < 1:
        raise UsageError(
            f"expected a false-reject rate over 0 and under 1, of at least {LOWEST_RATE:f}, found {rate:g}"
        )
    if count < FEWEST and rate < lowest_rate(count) - 1e-9:
        raise UsageError(
            f"expected a false-reject rate of at least {lowest_rate(count):.3g}, which {count} parts certify, found "
            f"{rate:g}; take images of {images_needed(rate):,} parts for that, or of {FEWEST} for an extrapolation"
        )


def _extrapolated(ordered: NDArray[np.float64], rate: float) -> Limit:
    """Fit an exponential distribution to the excess of the largest scores, and extrapolate it to the rate."""
    count = len(ordered)
    tail = max(5, int(TAIL * count))
    start = float(ordered[count - tail - 1])
    mean = float((ordered[count - tail :] - start).mean())
    value = max(start + mean * math.log(tail / (count * rate)), float(ordered[-1]))

    def rate_if(true_mean: float) -> float:
        return tail / count * math.exp(-(value - start) / true_mean) if true_mean > 0 else 0.0

    # 2 * tail * mean / (true mean) has a χ² distribution of 2 * tail degrees of freedom.
    low, high = (2 * tail * mean / _chi_squared(2 * tail, probability) for probability in (1 - _SIDE, _SIDE))
    return Limit(value=value, rate=rate, basis=EXTRAPOLATED, interval=(rate_if(low), rate_if(high)))


_SIDE = (1 - CONFIDENCE) / 2
_NORMAL = 1.959963984540054  # quantile of the normal distribution at 1 - _SIDE


def _chi_squared(degrees: int, probability: float) -> float:
    """Quantile by Wilson and Hilferty at _SIDE or 1 - _SIDE; better than 1 % from 10 degrees of freedom."""
    normal = _NORMAL if probability > 0.5 else -_NORMAL
    spread = 2 / (9 * degrees)
    return degrees * float(1 - spread + normal * math.sqrt(spread)) ** 3


@lru_cache(maxsize=64)  # the same for every threshold of a number of parts
def _beta_interval(over: int, under: int) -> tuple[float, float]:
    """Interval of the rate over the `under`-th of `over + under - 1` ordered scores, which is Beta(over, under)."""
    return beta_quantile(over, under, _SIDE), beta_quantile(over, under, 1 - _SIDE)
