"""From scores of good images to a threshold with a stated false-reject rate.

Full conformal prediction (Vovk et al. 2005; in leave-one-out form the jackknife of Barber et al. 2021): if the frames
of the line and the n good images are exchangeable, at most a fraction (n + 1 - k) / (n + 1) of good frames scores over
the k-th smallest of n leave-one-out scores. For distances to the nearest item of a gallery this holds without
correction: a larger gallery can only reduce distances, so with the new frame added to the gallery no good image would
score higher than its leave-one-out score. For scores over a baseline, for approximate search, and where only the K
nearest images count, it is measured, not proved: docs/architecture.md. Beyond the largest score the tail is assumed to
be exponential; with a heavier tail more good frames are rejected than stated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from spade_edge.galleries.binomial import CONFIDENCE, beta_quantile, clopper_pearson
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.threshold import CERTIFIED, EXTRAPOLATED

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
    """The lowest false-reject rate that this number of good images can certify."""
    return 1 / (count + 1)


def images_needed(rate: float) -> int:
    """The number of good images that is needed to certify a rate."""
    return max(1, math.ceil(1 / rate - 1 - 1e-9))


def check_rate(rate: float | None, count: int) -> None:
    """Refuse a rate that is too low for this number of images, before the long work starts.

    Raises:
        UsageError: as for `limit`.
    """
    limit(range(1, count + 1), rate=rate)


def limit(scores: Sequence[float], *, rate: float | None = None) -> Limit:
    """Find the threshold for a false-reject rate.

    Args:
        scores: leave-one-out scores of good images.
        rate: over 0 and under 1; None for the lowest that these images can certify.

    Raises:
        UsageError: a rate out of range, or too low to be extrapolated from so few images.
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    count = len(ordered)
    wanted = lowest_rate(count) if rate is None else rate
    if not 0 < wanted < 1:
        raise UsageError(f"expected a false-reject rate over 0 and under 1, found {wanted:g}")
    rank = math.ceil((count + 1) * (1 - wanted) - 1e-9)
    if rank <= count:
        rank = max(rank, 1)
        over = count + 1 - rank
        return Limit(
            value=float(ordered[rank - 1]),
            rate=over / (count + 1),
            basis=CERTIFIED,
            interval=_beta_interval(over, rank),
        )
    if count < FEWEST:
        raise UsageError(
            f"expected a false-reject rate of at least {lowest_rate(count):.3g}, which {count} good images certify, "
            f"found {wanted:g}; take {images_needed(wanted):,} images for that, or {FEWEST} for an extrapolation"
        )
    return _extrapolated(ordered, wanted)


def rate_of(scores: Sequence[float], value: float) -> tuple[float, tuple[float, float]]:
    """The rate of a manual threshold and its 95 % confidence interval, by counting."""
    count = len(scores)
    over = int(np.count_nonzero(np.asarray(scores) > value))
    return (over + 1) / (count + 1), clopper_pearson(over, count)


def _extrapolated(ordered: np.ndarray[tuple[int], np.dtype[np.float64]], rate: float) -> Limit:
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


@lru_cache(maxsize=64)  # the same for every threshold of a number of images
def _beta_interval(over: int, under: int) -> tuple[float, float]:
    """Interval of the rate over the `under`-th of `over + under - 1` ordered scores, which is Beta(over, under)."""
    return beta_quantile(over, under, _SIDE), beta_quantile(over, under, 1 - _SIDE)
