"""Frames that are JPEG images: they are decoded as image files are, so that damage is noticed and never filled in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images.reading import picture_of
from spade_edge.runtime import DataError

START = b"\xff\xd8"


def frame_of(jpeg: bytes, *, height: int = 0) -> NDArray[np.uint8]:
    """Decode one frame of Motion JPEG.

    Args:
        jpeg: the bytes of the image.
        height: that the stream states, in pixels; 0 if it states none.

    Returns:
        (H, W, 3) uint8 BGR, grey ones too.

    Raises:
        DataError: the image is not whole, or holds every other row only.
    """
    if not jpeg.startswith(START):
        raise DataError(f"expected a JPEG image, found {len(jpeg)} bytes of another kind")
    try:
        frame = picture_of(jpeg, "a frame").frame
    except DataError as problem:  # its advice is about files
        raise DataError(str(problem).removeprefix("a frame: ").partition(";")[0]) from None
    if height and 2 * len(frame) in (height, height + 1):
        raise DataError(
            f"expected a frame {height} pixels high, found {len(frame)}: every other row; record progressive video"
        )
    return frame if frame.ndim == 3 else np.repeat(frame[:, :, np.newaxis], 3, axis=2)
