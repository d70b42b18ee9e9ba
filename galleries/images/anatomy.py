"""What an image file says about its picture before anything is decoded.

Each format has a module with a function `walk`. It steps through the file's parts as the format defines them, and
returns an `Anatomy`, or raises `CutOffError` or `DamagedError` and says where. Bytes behind the picture's end are not
looked at: padding, a second picture or the film of a motion photo do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

UPRIGHT = 1  # of EXIF's eight orientations


class CutOffError(Exception):
    """The bytes end before the picture does, or its end has not been written yet."""


class DamagedError(Exception):
    """The bytes contradict each other, or are nothing that this format allows."""


class UnreadError(Exception):
    """A format that is known and not read; the message names it, and says what to do."""


@dataclass(frozen=True)
class Rows:
    """Where uncompressed pixels lie in a file.

    Attributes:
        offset: of the first row in the file, in bytes.
        count: number of rows.
        stride: from a row to the next one, in bytes.
        used: bytes of a row that hold pixels.
        sample: bytes of a number, 1 or 2; 0 for any other size.
        pixel: bytes of all numbers of a pixel.
    """

    offset: int
    count: int
    stride: int
    used: int
    sample: int
    pixel: int


@dataclass(frozen=True)
class Coded:
    """Compressed pixels without a checksum, in which long runs of zeros do not occur.

    Attributes:
        start, end: where they lie in a file.
        zeros: as many bytes of 0 in a row show that something is missing.
    """

    start: int
    end: int
    zeros: int


@dataclass(frozen=True)
class Anatomy:
    """What a file says about its picture.

    Attributes:
        kind: the format's name.
        width, height: in pixels, as stored.
        pixel_bytes: that a decoded pixel takes.
        end: number of bytes up to the end of the picture.
        orientation: 1 to 8, as EXIF defines them.
        frames: pictures in the file, for kinds of which the first is read.
        largest: the largest number that a stored sample can have, if the file says so and it is not 255 or 65535.
        transparent: whether the last of the decoded channels is alpha.
        grey: whether the picture is grey, though a decoder may return colour.
        rows: where the pixels lie, if they are not compressed.
        coded: where the pixels lie, if they are compressed in a way that does not notice damage.
        checked: whether checksums prove that all bytes are as they were written.
    """

    kind: str
    width: int
    height: int
    pixel_bytes: int
    end: int
    orientation: int = UPRIGHT
    frames: int = 1
    largest: int | None = None
    transparent: bool = False
    grey: bool = False
    rows: Sequence[Rows] = ()
    coded: Sequence[Coded] = ()
    checked: bool = False


def take(raw: bytes, start: int, length: int, what: str) -> bytes:
    """So many bytes of a file.

    Raises:
        CutOffError: the file ends before them.
    """
    if start + length > len(raw):
        raise CutOffError(f"its {len(raw)} bytes end within {what}, which ends at {start + length}")
    return raw[start : start + length]


def check_size(kind: str, width: int, height: int) -> None:
    """Refuse pictures without pixels.

    Raises:
        DamagedError: a side is not positive.
    """
    if width <= 0 or height <= 0:
        raise DamagedError(f"its {kind} header says {width}x{height} pixels")
