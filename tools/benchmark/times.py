"""Durations: the percentiles that their number supports, and how many came too late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Fewest durations of which a percentile is stated: at least one of them must be expected beyond it.
FEWEST = {"p50": 1, "p90": 10, "p99": 100, "p999": 1024}


@dataclass(frozen=True)
class Times:
    """Percentiles of durations, in milliseconds, interpolated linearly as numpy does.

    Attributes:
        count: number of durations.
        p50: the median.
        p90, p99, p999: percentiles; None where there are too few durations for them, see `FEWEST`.
        largest: the longest duration.
    """

    count: int
    p50: float
    p90: float | None
    p99: float | None
    p999: float | None
    largest: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Times:
        """The percentiles of one or more durations."""
        found = np.percentile(milliseconds, (50, 90, 99, 99.9)).tolist()
        count = len(milliseconds)
        _, p90, p99, p999 = (
            value if count >= fewest else None for value, fewest in zip(found, FEWEST.values(), strict=True)
        )
        return cls(count, found[0], p90, p99, p999, max(milliseconds))


@dataclass(frozen=True)
class Late:
    """Frames that took longer than a deadline.

    Attributes:
        frames: number of frames.
        count: how many of them did.
        in_a_row: most of them one after the other.
    """

    frames: int
    count: int
    in_a_row: int

    @classmethod
    def of(cls, milliseconds: Sequence[float], *, deadline: float) -> Late:
        """Count the durations over a deadline.

        Args:
            milliseconds: in the order in which the frames were scored.
            deadline: in milliseconds; a frame that takes exactly as long is in time.
        """
        late = np.array(milliseconds) > deadline
        # Between two frames that were in time, the frames between them were late.
        in_time = np.flatnonzero(np.concatenate([[True], ~late, [True]]))
        return cls(len(late), int(late.sum()), int(np.diff(in_time).max()) - 1)
