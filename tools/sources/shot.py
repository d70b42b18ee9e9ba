"""One frame of a source, or the reason why there is none."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Shot:
    """One frame of a source, a frame that could not be read, or news of the source itself.

    Attributes:
        name: path relative to the source with forward slashes, or a running number from 0; None for news: the source
            has stopped or is silent.
        frame: (H, W, 3) uint8 BGR or (H, W) uint8 grey; None where there is none.
        fault: why there is no frame; empty where there is one.
        time: when the frame was taken or read, in seconds since 1970, UTC.
        part: number of the trigger or of the part, if the camera gives one.
        dropped: frames of a live source that were left out between the previous shot and this one.
    """

    name: str | int | None
    frame: NDArray[np.uint8] | None
    fault: str = ""
    time: float = field(default_factory=time.time)
    part: str | None = None
    dropped: int = 0

    @property
    def news(self) -> bool:
        """Whether this shot is about the source, and not about one of its frames."""
        return self.name is None
