"""Percentiles of times, in memory that does not grow with the length of a run."""

from __future__ import annotations

import math
from collections import Counter

STEP = math.log(1.01)  # bins are 1 % wide, so a percentile is accurate to half of that
LEAST = 1e-3  # milliseconds; shorter times count as this


class Durations:
    """A histogram of times.

    Attributes:
        largest: the longest time so far, in milliseconds.
    """

    def __init__(self) -> None:
        self.largest = 0.0  # milliseconds
        self._bins: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._bins.total()

    def add(self, milliseconds: float) -> None:
        """Add one time."""
        self.largest = max(self.largest, milliseconds)
        self._bins[round(math.log(max(milliseconds, LEAST)) / STEP)] += 1

    def percentile(self, fraction: float) -> float:
        """The time in milliseconds that a fraction (over 0, up to 1) of all times does not exceed."""
        wanted = math.ceil(fraction * len(self))
        reached = 0
        for place in sorted(self._bins):
            reached += self._bins[place]
            if reached >= wanted:
                return min(math.exp(place * STEP), self.largest)
        return self.largest
