"""Whether a promised false-reject rate holds on good frames that were held back from the gallery.

Two questions, two tests. Is the rate of this threshold higher than promised? An exact one-sided binomial test on the
number of rejects. Do the frames score like the good images at all? A two-sided rank test (Mann & Whitney 1947) of their
scores against the leave-one-out scores; only if they do may both be counted together as evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spade_edge.galleries.binomial import beta_probability, clopper_pearson

DOUBT = 0.05  # a binomial test below this says that the promise is not kept
UNLIKE = 0.01  # a rank test below this says that frames and good images are not alike


@dataclass(frozen=True)
class Promise:
    """A promised rate, and what was found.

    Attributes:
        rate: the fraction of good frames that may be rejected, as promised.
        parts: number of parts that were tried, one frame of each.
        rejected: how many of these frames were rejected.
        interval: 95 % interval of the rate, from these frames alone.
        p: probability of at least as many rejects if the rate were as promised.
    """

    rate: float
    parts: int
    rejected: int
    interval: tuple[float, float]
    p: float

    @property
    def kept(self) -> bool:
        """Whether the frames give no reason to doubt the promise."""
        return self.p >= DOUBT


def promise(rate: float, *, rejected: int, parts: int) -> Promise:
    """Test a promised rate against the number of rejected frames of `parts` > 0 different parts."""
    p = 1.0 if rejected == 0 else beta_probability(rejected, parts - rejected + 1, rate)
    return Promise(rate=rate, parts=parts, rejected=rejected, interval=clopper_pearson(rejected, parts), p=p)


def rank_test(some: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """Whether two sets of scores may come from one distribution.

    Returns:
        the two-sided p-value, by the normal approximation with correction for ties and continuity, and the probability
        that one of `some` is higher than one of `others` (ties count half).
    """
    first, second = np.asarray(some, np.float64), np.asarray(others, np.float64)
    _, place, count = np.unique(np.concatenate([first, second]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    n, m, total = len(first), len(second), len(first) + len(second)
    wins = float(ranks[:n].sum()) - n * (n + 1) / 2
    ties = float((count.astype(np.float64) ** 3 - count).sum()) / (total * (total - 1)) if total > 1 else 0.0
    deviation = math.sqrt(max(n * m / 12 * (total + 1 - ties), 0.0))
    if deviation == 0:
        return 1.0, 0.5
    off = max(abs(wins - n * m / 2) - 0.5, 0.0) / deviation
    return math.erfc(off / math.sqrt(2)), wins / (n * m)
