"""What a camera must offer to be a source: two methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Grab:
    """A frame with what the camera knows about it.

    Attributes:
        frame: (H, W, 3) uint8 BGR, or (H, W) uint8 grey. It is copied: the camera may reuse its memory.
        part: number of the trigger or of the part; None if the camera does not know it.
        time: when the frame was taken, in seconds since 1970, UTC; None means now.
    """

    frame: NDArray[np.uint8]
    part: str | None = None
    time: float | None = None


class Camera(Protocol):
    """An open camera: any object with these two methods. Both are called from the same thread.

    ```python
    class MyCamera:
        def read(self):
            return self.driver.next_image()     # (H, W, 3) uint8 BGR, or (H, W) uint8 grey

        def close(self):
            self.driver.stop()
    ```
    """

    def read(self) -> Grab | NDArray[np.uint8] | None:
        """Wait for the next frame, for a few seconds at most: the source cannot be ended meanwhile.

        Returns:
            the frame, (H, W, 3) uint8 BGR or (H, W) uint8 grey, or a `Grab` that adds a part number or a time;
            None if the camera is well, but has not been triggered yet.

        Raises:
            DeviceError: the camera has stopped, or delivers no frame in time. It has to be opened again.
            DataError: only this frame is damaged.
        """

    def close(self) -> None:
        """Release the camera. Must not raise, and may be called twice."""


Connect = Callable[[], Camera]  # opens the camera; raises DeviceError, with the camera's name, if it cannot
