"""One frame of a source, or why there is none."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Shot:
    """One frame of a source, a frame that is missing, or news of the source itself.

    Attributes:
        name: path relative to the source, with forward slashes, or a running number from 0; None for news: the source
            has stopped or is silent.
        frame: (H, W, 3) uint8 BGR or (H, W) uint8 grey; None where there is none.
        fault: why not; empty where there is one.
        time: seconds since 1970, UTC, when the frame was taken or read.
        part: the camera's number of the trigger or the part, if it gives one.
        dropped: frames of a live source left out between the shot before and this one.
    """

    name: str | int | None
    frame: NDArray[np.uint8] | None
    fault: str = ""
    time: float = field(default_factory=time.time)
    part: str | None = None
    dropped: int = 0

    @property
    def news(self) -> bool:
        """Whether this is about the source, not about one of its frames."""
        return self.name is None
