"""How drift is heard."""

from __future__ import annotations

from dataclasses import dataclass

from spade_edge.runtime.errors import UsageError

LEAST_FRAMES, MOST_FRAMES = 20, 10_000


@dataclass(frozen=True, kw_only=True)
class DriftOptions:
    """How drift is heard: by a CUSUM (Page 1954) of normal scores.

    With the defaults, the sum of one quantity passes `level` by chance less than once in a million frames if frames are
    independent of each other, and ten frames beyond the whole reference raise it.

    Attributes:
        frames: judged frames from which it is learned what parts look like.
        slack: standard deviations by which frames may differ on average. The reference is known no better than by
            1 / √frames, so a lower slack would find chance in it.
        level: the sum at which drift is raised, in standard deviations.
    """

    frames: int = 100
    slack: float = 0.5
    level: float = 20.0

    def __post_init__(self) -> None:
        if not LEAST_FRAMES <= self.frames <= MOST_FRAMES:
            raise UsageError(
                f"expected {LEAST_FRAMES} to {MOST_FRAMES} frames to learn from, found {self.frames}; 100 is usual"
            )
        if not 0.1 <= self.slack <= 2 or not 1 <= self.level <= 1000:
            raise UsageError(
                f"expected a slack from 0.1 to 2 and a level from 1 to 1000, found {self.slack:g} and {self.level:g}"
            )
