"""From scores of good images to a threshold with a stated false-reject rate.

Split-free conformal prediction (Vovk et al. 2005; the leave-one-out form is the jackknife of Barber et al. 2021): if
the frames of the line and the n good images are exchangeable, the share of good frames over the k-th smallest of n
leave-one-out scores is at most (n + 1 - k) / (n + 1). For distances to the nearest of a set this holds with
leave-one-out scores as they are: a larger gallery can only bring distances down, so a good image scored against all
others and the new frame would score no higher than it does against the others alone. For scores over an expected map,
for approximate search and for the K nearest images only, it is measured, not proved: docs/architecture.md. The tail
beyond the largest score is taken as exponential; heavier ones reject more than is said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spade_edge.galleries.binomial import CONFIDENCE, beta_quantile, clopper_pearson
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.threshold import CERTIFIED, EXTRAPOLATED

FEWEST = 10  # scores from which a tail is extrapolated
TAIL = 0.2  # share of the scores that make the tail


@dataclass(frozen=True)
class Limit:
    """A threshold and what is known of it.

    Attributes:
        value: scores above it are rejected.
        rate: of good frames that are; at most this if certified, expected if extrapolated.
        basis: "certified", by counting, or "extrapolated", beyond the largest score.
        interval: 95 % interval of the rate that these very images give.
    """

    value: float
    rate: float
    basis: str
    interval: tuple[float, float]


def lowest_rate(count: int) -> float:
    """The lowest false-reject rate that so many good images can certify."""
    return 1 / (count + 1)


def images_needed(rate: float) -> int:
    """Good images that certify a rate."""
    return max(1, math.ceil(1 / rate - 1 - 1e-9))


def check_rate(rate: float | None, count: int) -> None:
    """Refuse a rate that so many images cannot even hint at, before they are put to work.

    Raises:
        UsageError: as for `limit`.
    """
    limit(range(1, count + 1), rate=rate)


def limit(scores: Sequence[float], *, rate: float | None = None) -> Limit:
    """Find the threshold for a false-reject rate.

    Args:
        scores: leave-one-out scores of good images.
        rate: over 0, under 1; None for the lowest that these can certify.

    Raises:
        UsageError: a rate out of range, or one that so few images cannot even hint at.
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
    """The rate that a threshold set by hand stands for, and its 95 % interval, by counting."""
    count = len(scores)
    over = int(np.count_nonzero(np.asarray(scores) > value))
    return (over + 1) / (count + 1), clopper_pearson(over, count)


def _extrapolated(ordered: np.ndarray[tuple[int], np.dtype[np.float64]], rate: float) -> Limit:
    """Take the largest scores' excess over the others as exponentially distributed, and follow that to the rate."""
    count = len(ordered)
    tail = max(5, int(TAIL * count))
    start = float(ordered[count - tail - 1])
    mean = float((ordered[count - tail :] - start).mean())
    value = max(start + mean * math.log(tail / (count * rate)), float(ordered[-1]))

    def rate_if(true_mean: float) -> float:
        return tail / count * math.exp(-(value - start) / true_mean) if true_mean > 0 else 0.0

    # 2 * tail * mean / (true mean) has a χ² distribution of 2 * tail degrees of freedom.
    low, high = (2 * tail * mean / _chi_squared(2 * tail, share) for share in (1 - _SIDE, _SIDE))
    return Limit(value=value, rate=rate, basis=EXTRAPOLATED, interval=(rate_if(low), rate_if(high)))


_SIDE = (1 - CONFIDENCE) / 2
_NORMAL = 1.959963984540054  # its quantile at 1 - _SIDE


def _chi_squared(degrees: int, share: float) -> float:
    """Quantile, by Wilson and Hilferty; better than 1 % from 10 degrees of freedom."""
    normal = _NORMAL if share > 0.5 else -_NORMAL
    spread = 2 / (9 * degrees)
    return degrees * float(1 - spread + normal * math.sqrt(spread)) ** 3


def _beta_interval(over: int, under: int) -> tuple[float, float]:
    """Of a Beta(over, under) distribution: the rate over the `under`-th of `over + under - 1` ordered scores."""
    return beta_quantile(over, under, _SIDE), beta_quantile(over, under, 1 - _SIDE)
