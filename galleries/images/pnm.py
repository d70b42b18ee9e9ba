"""Reads binary PGM and PPM with 8 bits: a short text header, then the pixels.

    P5 or P6      grey, or RGB
    # comment     any number of them; "# part 4711" names the part
    640 480 255   width, height, largest value

One white-space character follows, and then the pixels row by row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images.formats import LARGEST
from spade_edge.runtime import DataError
from spade_edge.runtime.geometry.view import LARGEST_SIDE

LONGEST = 4096  # bytes of a header, comments included

# Matches every beginning of a header. Group 5 matches only when the header is complete.
_GAP = rb"(?:\s|#[^\r\n]*(?:[\r\n]|\Z))+"
_BEGUN = re.compile(
    rb"P(?:([56])(?:GAP(?:(\d{1,6})(?:GAP(?:(\d{1,6})(?:GAP(?:(\d{1,6})(\s)?)?)?)?)?)?)?)?".replace(b"GAP", _GAP)
)
_PART = re.compile(rb"#\s*part\s+([^\r\n]+)")


@dataclass(frozen=True)
class Header:
    """The header of an image.

    Attributes:
        width, height: in pixels.
        channels: 1 for grey, 3 for RGB.
        part: from a comment "# part ID"; None without such a comment.
    """

    width: int
    height: int
    channels: int
    part: str | None = None

    @property
    def size(self) -> int:
        """Number of bytes of pixels that follow."""
        return self.width * self.height * self.channels

    def frame(self, pixels: bytearray) -> NDArray[np.uint8]:
        """The frame of `size` bytes of pixels: (H, W, 3) uint8 BGR or (H, W) uint8 grey."""
        image = np.frombuffer(pixels, np.uint8).reshape(self.height, self.width, self.channels)
        return image[:, :, 0] if self.channels == 1 else np.ascontiguousarray(image[:, :, ::-1])


def read_header(read: Callable[[int], bytes | None]) -> Header | None:
    """Read a header, and no byte beyond it.

    Args:
        read: returns so many bytes, fewer only at the end, as a file's `read` does.

    Returns:
        the header; None at the end of the stream.

    Raises:
        EOFError: the bytes end within the header.
        DataError: the bytes are not a header, or one of a format that is not supported.
    """
    taken, match = bytearray(), None
    while match is None or match[5] is None:
        one = read(1)
        if not one:
            if taken:
                raise EOFError
            return None
        taken += one
        match = _BEGUN.fullmatch(taken)
        if match is None or len(taken) > LONGEST:
            raise DataError(
                f"expected the header of a PGM or PPM of at most {LONGEST} bytes, found {bytes(taken[:60])!r}"
            )
    width, height, largest = (int(match[group]) for group in (2, 3, 4))
    if largest != 255:
        raise DataError(f"expected PGM or PPM with 8 bits and largest value 255, found {largest}; send gray or rgb24")
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise DataError(f"expected sides from 1 to {LARGEST_SIDE} in a PGM or PPM header, found {width}x{height}")
    part = _PART.search(taken)
    header = Header(width, height, 1 if match[1] == b"5" else 3, part and part[1].strip().decode("utf-8", "replace"))
    if header.size > LARGEST:
        raise DataError(f"expected PGM or PPM frames of at most {LARGEST >> 30} GB, found {width}x{height}")
    return header
