"""Percentiles of times, in memory that does not grow however long a run lasts."""

from __future__ import annotations

import math
from collections import Counter

STEP = math.log(1.01)  # a bin is 1 % wide, so that a percentile is right to half of that
LEAST = 1e-3  # milliseconds; what is shorter counts as this


class Durations:
    """How often times of each length have come."""

    def __init__(self) -> None:
        self.largest = 0.0  # milliseconds
        self._bins: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._bins.total()

    def add(self, milliseconds: float) -> None:
        """Count one."""
        self.largest = max(self.largest, milliseconds)
        self._bins[round(math.log(max(milliseconds, LEAST)) / STEP)] += 1

    def percentile(self, share: float) -> float:
        """The milliseconds that `share`, over 0 to 1, of all times do not exceed; at least one has to be counted."""
        wanted = math.ceil(share * len(self))
        reached = 0
        for place in sorted(self._bins):
            reached += self._bins[place]
            if reached >= wanted:
                return min(math.exp(place * STEP), self.largest)
        return self.largest
