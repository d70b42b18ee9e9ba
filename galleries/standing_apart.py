"""How many of the largest scores of good images stand apart from the rest.

If the largest score decides, one odd image among the good ones opens the gates for every defect. A threshold below the
scores that stand apart does not. But that choice looks at the scores, and a rate that was counted afterwards would be
too low: the score chosen as the limit is one below an unusually wide gap. `promised_rate` therefore counts more scores
than those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

GAP = 4.0  # mean excesses of the tail below it; an exponential tail has such a gap by chance in 2 % of large sets
TAIL = 0.25  # fraction of the scores below a gap that form their tail
FEWEST_IN_TAIL = 5
SEARCHED = 0.25  # fraction of all scores in which a gap is looked for
MOST = 0.05  # fraction of all scores that are passed over at most


def standing_apart(scores: Sequence[float]) -> int:
    """Count the largest scores that stand apart from the rest, up to a twentieth of all.

    Scores stand apart if a gap below them is wider than `GAP` times the mean excess of the scores just below the gap,
    over the score at which their tail begins. The widest group is counted. If it is more than a twentieth of all,
    a twentieth is counted: the count must not fall back to none just beyond its limit, because a rate that depends on
    such a fall is not kept.

    Args:
        scores: leave-one-out scores of good images, one for each part.

    Returns:
        the count; 0 for fewer than 20 scores.
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    count = len(ordered)
    most = int(MOST * count + 1e-9)
    if most == 0:
        return 0
    apart = 0
    for over in range(1, int(SEARCHED * count + 1e-9) + 1):
        below = ordered[: count - over]
        tail = max(FEWEST_IN_TAIL, int(TAIL * len(below)))
        excess = float(below[-tail:].mean() - below[-tail - 1])
        if ordered[count - over] - below[-1] > GAP * excess:
            apart = over
    return min(apart, most)


def promised_rate(apart: int, count: int) -> float:
    """The false-reject rate of the largest score below those that stand apart, a bound.

    Counting says (apart + 1) / (count + 1) for a number that was chosen before the scores were seen. The choice by
    `standing_apart` costs up to the square root of that number: in simulations the rate found was then 0.64 to
    1.02 of this one.

    Args:
        apart: how many of the largest scores are passed over.
        count: n, all scores.
    """
    return (apart + 1 + math.ceil(math.sqrt(apart))) / (count + 1)
