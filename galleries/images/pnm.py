"""PBM, PGM and PPM: a short text header, then the pixels, in bytes or as text. Read without OpenCV.

    P5 or P6      grey, or RGB; P2 or P3 with the numbers as text; P4 or P1 black and white, without a largest value
    # comment     any number of them; "# part 4711" names the part
    640 480 255   width, height, largest value from 1 to 65535

One white-space character follows, and then the pixels row by row. Above 255, a number takes two bytes, the high one
first.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images.anatomy import Anatomy, CutOffError, DamagedError, Rows
from spade_edge.galleries.images.colours import blue_first
from spade_edge.galleries.images.depth import scaled
from spade_edge.galleries.images.formats import LARGEST
from spade_edge.runtime import DataError
from spade_edge.runtime.geometry.view import LARGEST_SIDE

STARTS = tuple(b"P%d%c" % (kind, gap) for kind in range(1, 7) for gap in b" \t\r\n\v\f#")
LONGEST = 4096  # bytes of a header, comments included
DEEPEST = 65535  # largest value

# Matches every beginning of a binary header. Group 5 matches only when the header is complete.
_GAP = rb"(?:\s|#[^\r\n]*(?:[\r\n]|\Z))+"
_BEGUN = re.compile(
    rb"P(?:([56])(?:GAP(?:(\d{1,6})(?:GAP(?:(\d{1,6})(?:GAP(?:(\d{1,6})(\s)?)?)?)?)?)?)?)?".replace(b"GAP", _GAP)
)
_PART = re.compile(rb"#\s*part\s+([^\r\n]+)")
_FILE = re.compile(
    rb"P(?:([14])GAP(\d{1,9})GAP(\d{1,9})|([2356])GAP(\d{1,9})GAP(\d{1,9})GAP(\d{1,9}))(?:\s|(?=#))".replace(
        b"GAP", rb"(?:\s|#[^\r\n]*[\r\n])+"
    )
)
_COMMENT = re.compile(rb"#[^\r\n]*")
KINDS = ("PBM", "PGM", "PPM")
_BITMAP = (1, 4)
_TEXT = (1, 2, 3)


@dataclass(frozen=True)
class Header:
    """The header of an image.

    Attributes:
        width, height: in pixels.
        channels: 1 for grey, 3 for RGB.
        part: from a comment "# part ID"; None without such a comment.
        largest: the value of white, 1 to 65535.
    """

    width: int
    height: int
    channels: int
    part: str | None = None
    largest: int = 255

    @property
    def size(self) -> int:
        """Number of bytes of pixels that follow."""
        return self.width * self.height * self.channels * self._dtype.itemsize

    @property
    def _dtype(self) -> np.dtype[np.generic]:
        return np.dtype("u1" if self.largest < 256 else ">u2")

    def frame(self, pixels: bytes | bytearray) -> NDArray[np.uint8]:
        """The frame of `size` bytes of pixels: (H, W, 3) uint8 BGR or (H, W) uint8 grey, with white at 255."""
        image = self.samples(pixels)
        return (
            image.astype(np.uint8, copy=False)
            if self.largest == 255
            else scaled(np.minimum(image, self.largest), self.largest)
        )

    def samples(self, pixels: bytes | bytearray) -> NDArray[np.generic]:
        """The numbers as they are stored: (H, W, 3) BGR or (H, W) grey, uint8 or uint16."""
        image = np.frombuffer(pixels, self._dtype, self.width * self.height * self.channels)
        return self.arranged(image.astype(self._dtype.newbyteorder("="), copy=False))

    def arranged(self, numbers: NDArray[np.generic]) -> NDArray[np.generic]:
        """Numbers in the order of the file, RGB, as an image: (H, W, 3) BGR or (H, W) grey."""
        image = numbers.reshape(self.height, self.width, self.channels)
        return image[:, :, 0] if self.channels == 1 else blue_first(image)


def read_header(read: Callable[[int], bytes | None]) -> Header | None:
    """Read the header of a binary PGM or PPM, and no byte beyond it.

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
                f"expected the header of a binary PGM or PPM of at most {LONGEST} bytes, found "
                f"{bytes(taken[:60]).decode('latin-1')!a}"
            )
    part = _PART.search(taken)
    header = Header(
        int(match[2]),
        int(match[3]),
        1 if match[1] == b"5" else 3,
        part and part[1].strip().decode("utf-8", "replace"),
        int(match[4]),
    )
    if not 1 <= header.largest <= DEEPEST:
        raise DataError(
            f"expected PGM or PPM with a largest value from 1 to {DEEPEST}, found {header.largest}; send gray or rgb24"
        )
    if not (0 < header.width <= LARGEST_SIDE and 0 < header.height <= LARGEST_SIDE):
        raise DataError(
            f"expected sides from 1 to {LARGEST_SIDE} in a PGM or PPM header, found {header.width}x{header.height}"
        )
    if header.size > LARGEST:
        raise DataError(
            f"expected PGM or PPM frames of at most {LARGEST >> 30} GB, found {header.width}x{header.height}"
        )
    return header


def walk(raw: bytes) -> Anatomy:
    """Compare the header with the number of bytes.

    Raises:
        CutOffError: the bytes end before the pixels do.
        DamagedError: the header is none.
    """
    kind, header, offset = _header(raw)
    if kind in _TEXT:
        numbers = header.width * header.height * header.channels
        if len(raw) - offset < (numbers if kind == 1 else 2 * numbers - 1):  # a digit each, and a gap between two
            raise CutOffError(f"its {len(raw)} bytes end before its {numbers} numbers")
        return _anatomy(kind, header, len(raw), ())
    row = (header.width + 7) // 8 if kind in _BITMAP else header.size // header.height
    end = offset + row * header.height
    if end > len(raw):
        raise CutOffError(f"its {len(raw)} bytes end before its pixels, which end at {end}")
    sample = 1 if header.largest < 256 else 2
    rows = () if kind in _BITMAP else (Rows(offset, header.height, row, row, sample, sample * header.channels),)
    return _anatomy(kind, header, end, rows)


def _anatomy(kind: int, header: Header, end: int, rows: tuple[Rows, ...]) -> Anatomy:
    return Anatomy(
        KINDS[(kind - 1) % 3],
        header.width,
        header.height,
        pixel_bytes=header.size // (header.width * header.height),
        end=end,
        largest=None if header.largest in (255, DEEPEST) else header.largest,
        rows=rows,
    )


def _header(raw: bytes) -> tuple[int, Header, int]:
    """The number behind the letter P, the header, and where the pixels begin."""
    match = _FILE.match(raw, 0, LONGEST)
    if match is None:
        if len(raw) < LONGEST and re.fullmatch(rb"P[1-6](?:\s|\d|#[^\r\n]*(?:[\r\n]|\Z))*", raw):
            raise CutOffError(f"its {len(raw)} bytes end within its header")
        raise DamagedError("it begins like a PGM or PPM, and has no width, height and largest value")
    kind = int(match[1] or match[4])
    width, height = (int(one) for one in (match[2] or match[5], match[3] or match[6]))
    largest = int(match[7]) if match[4] else 255
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE and 1 <= largest <= DEEPEST):
        raise DamagedError(f"its header says {width}x{height} pixels and a largest value of {largest}")
    return kind, Header(width, height, 3 if kind in (3, 6) else 1, largest=largest), match.end()


def samples(raw: bytes) -> NDArray[np.generic]:
    """The numbers of a file that `walk` accepts: (H, W, 3) BGR or (H, W) grey, uint8 or uint16; bitmaps as 0 and 255.

    Raises:
        CutOffError: there are fewer numbers than pixels.
        DamagedError: something that is no number, or a number larger than the header's largest value.
    """
    kind, header, offset = _header(raw)
    count = header.width * header.height * header.channels
    if kind == 4:
        row = (header.width + 7) // 8
        packed = np.frombuffer(raw, np.uint8, row * header.height, offset).reshape(header.height, row)
        return np.where(np.unpackbits(packed, axis=1)[:, : header.width], np.uint8(0), np.uint8(255))
    if kind not in _TEXT:
        found = header.samples(memoryview(raw)[offset : offset + header.size])  # type: ignore[arg-type]
        return _checked(found, header)
    text = _COMMENT.sub(b"", raw[offset:]) if b"#" in raw[offset:] else raw[offset:]
    if kind == 1:  # digits with or without gaps
        digits = np.frombuffer(text, np.uint8)
        digits = digits[(digits == ord("0")) | (digits == ord("1"))][:count]
        numbers = np.where(digits == ord("1"), 0, 255)
    else:
        numbers = _numbers(text, count)
    if numbers.size < count:
        raise CutOffError(f"it has {numbers.size} numbers in place of {count}")
    dtype = np.uint8 if header.largest < 256 else np.uint16
    return _checked(header.arranged(numbers[:count]), header).astype(dtype)


def _numbers(text: bytes, count: int) -> NDArray[np.int64]:
    """The first numbers of a text."""
    parts = io.BytesIO(text)
    found = [np.zeros(0, np.int64)]
    have, rest = 0, b""
    while have < count:
        piece = parts.read(1 << 20)
        words = (rest + piece).split()
        rest = b""
        if piece and words and not piece[-1:].isspace():
            rest = words.pop()
        try:
            found.append(np.array(words, np.int64) if words else found[0])
        except (ValueError, OverflowError):
            raise DamagedError("something other than numbers stands among its numbers") from None
        have += len(words)
        if not piece:
            break
    return np.concatenate(found)


def _checked(image: NDArray[np.generic], header: Header) -> NDArray[np.generic]:
    if header.largest not in (255, DEEPEST) and not 0 <= (most := int(image.max())) <= header.largest:
        raise DamagedError(f"it has the number {most}, and its header says that {header.largest} is the largest")
    return image
