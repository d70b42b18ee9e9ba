"""Frames from image files, read as the good images were."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images.depth import highest_bits
from spade_edge.galleries.images.reading import Picture, read_picture
from spade_edge.runtime import DataError
from spade_edge.runtime.preprocessing.frame_format import FrameFormat


@dataclass(frozen=True)
class Reading:
    """How the numbers of image files are understood.

    Attributes:
        bits: of the 16 of a stored number that the camera uses; None for all.
        depth: bits that a stored number must have, 8 or 16; None for any.
    """

    bits: int | None = None
    depth: int | None = None

    @classmethod
    def like(cls, good: FrameFormat, *, bits: int | None = None, even_so: bool = False) -> Reading:
        """As the good images were read.

        Args:
            good: their format.
            bits: of the 16 of a stored number that the camera uses now; None for those of the good images.
            even_so: read files of another depth too.
        """
        if bits is not None:
            return cls(bits=bits)
        return cls(bits=good.bits, depth=None if even_so else good.depth)

    def image(self, path: Path) -> NDArray[np.uint8]:
        """Read an image file: (H, W, 3) uint8 BGR or (H, W) uint8 grey.

        Raises:
            DataError: as for `read_picture`, or another depth.
            DeviceError: as for `read_picture`.
        """
        return self.picture(path).frame

    def picture(self, path: Path) -> Picture:
        """Read an image file, with what the file says.

        Raises:
            DataError, DeviceError: as for `image`.
        """
        picture = read_picture(path, bits=self.bits)
        self._check(picture.depth, str(path))
        return picture

    def array(self, stored: NDArray[np.generic], where: str) -> NDArray[np.uint8]:
        """Numbers of 8 or 16 bits as they are stored, of any shape, as 8 bits.

        Args:
            stored: uint8 or uint16.
            where: what messages call them.

        Raises:
            DataError: numbers beyond the bits, or another depth.
        """
        self._check(8 * stored.dtype.itemsize, where)
        if stored.dtype == np.uint8:
            return np.array(stored, np.uint8)  # a copy, which can be written to
        return highest_bits(np.asarray(stored, np.uint16), self.bits, where)

    def _check(self, depth: int, where: str) -> None:
        if self.depth is not None and depth != self.depth:
            raise DataError(
                f"{where}: expected {self.depth} bits per channel as in the good images, found {depth}; restore the "
                "camera's setting, or say with --bits how many of 16 the camera uses"
            )


ANY = Reading()
