"""What a camera has to offer, whoever made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Grab:
    """What a camera delivers at a time.

    Attributes:
        frame: (H, W, 3) uint8 BGR or (H, W) uint8 grey; the camera may use its memory again for the next one.
        part: number of the trigger or the part, if the camera knows it.
        time: seconds since 1970, UTC, when it was taken; None for now.
    """

    frame: NDArray[np.uint8]
    part: str | None = None
    time: float | None = None


class Device(Protocol):
    """An open camera; read and closed by one thread."""

    def read(self) -> Grab | None:
        """Wait for the next frame, at most for a time that the device sets itself.

        Returns:
            the frame; None if the camera is there and well, but nothing has triggered it yet.

        Raises:
            DeviceError: the camera has stopped, or delivers nothing within its time; it has to be opened again.
            DataError: this one frame is damaged; the next may be whole.
        """

    def close(self) -> None:
        """Let go of the camera; never raises, and may be called twice."""


Connect = Callable[[], Device]  # opens the camera; raises DeviceError if it cannot, with the camera's name
