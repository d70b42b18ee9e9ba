"""The part of a frame that one network input covers, and how a frame becomes that input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import FrameError, UsageError
from spade_edge.runtime.fields import Fields

LARGEST_SIDE = 32766  # OpenCV cannot draw on larger images; a larger frame is a mistake


@dataclass(frozen=True)
class View:
    """A frame is resampled to `resize` (height, width); its central `size` (height, width) is the network's input.

    `resize == size`, the default, is the whole frame without a crop. The paper uses resize 256x256 and size 224x224.
    """

    resize: tuple[int, int] = (224, 224)
    size: tuple[int, int] = (224, 224)

    def __post_init__(self) -> None:
        for side, whole in zip(self.size, self.resize, strict=True):
            if side % 32 or side < 32 or side > 8192:
                raise UsageError(
                    f"network input {self.size[0]}x{self.size[1]}: expected each side to be a multiple of 32 "
                    f"from 32 to 8192, found {side}"
                )
            if not side <= whole <= 16384:
                raise UsageError(f"expected a crop ({side}) no larger than the resized frame, found {whole}")

    @property
    def cropped(self) -> bool:
        """Whether the network does not see the border of a frame."""
        return self.resize != self.size

    @property
    def offset(self) -> tuple[int, int]:
        """Rows and columns cut off above and to the left of the network's input."""
        return (self.resize[0] - self.size[0]) // 2, (self.resize[1] - self.size[1]) // 2

    def to_json(self) -> dict[str, Any]:
        """The view as JSON values, as they stand in a manifest or model card."""
        return {"resize": list(self.resize), "size": list(self.size)}

    @classmethod
    def from_fields(cls, fields: Fields) -> View:
        """Read what `to_json` wrote.

        Raises:
            SpadeError: a field is missing, unknown or of another kind.
        """
        resize = fields.integers("resize", count=2, least=1, most=16384)
        size = fields.integers("size", count=2, least=1, most=16384)
        fields.done()
        return cls(resize=(resize[0], resize[1]), size=(size[0], size[1]))


def checked(frame: object) -> NDArray[np.uint8]:
    """Check a frame and return it as (H, W, 3) or (H, W, 1).

    Raises:
        FrameError: not an array, not uint8, not (H, W), (H, W, 1) or (H, W, 3), empty, or too large.
    """
    expected = "expected a uint8 array of shape (H, W, 3) BGR, (H, W) or (H, W, 1) grey"
    if not isinstance(frame, np.ndarray):
        raise FrameError(f"{expected}, found {type(frame).__name__}")
    if frame.dtype != np.uint8:
        raise FrameError(
            f"{expected}, found {frame.dtype} of shape {frame.shape}; "
            "scale it to 0..255 and convert with .astype('uint8')"
        )
    if frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] not in (1, 3)):
        raise FrameError(f"{expected}, found shape {frame.shape}; drop an alpha channel with frame[:, :, :3]")
    if 0 in frame.shape:
        raise FrameError(f"{expected}, found an empty frame of shape {frame.shape}; did the camera deliver an image?")
    if max(frame.shape[:2]) > LARGEST_SIDE:
        raise FrameError(f"expected sides of at most {LARGEST_SIDE} pixels, found shape {frame.shape}")
    return frame[:, :, np.newaxis] if frame.ndim == 2 else frame
