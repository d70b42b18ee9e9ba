"""TIFF and BigTIFF: directories of tags, one for each page, and strips or tiles of pixels anywhere in the file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images.anatomy import (
    UPRIGHT,
    Anatomy,
    Coded,
    CutOffError,
    DamagedError,
    Rows,
    UnreadError,
    check_size,
    take,
)

STARTS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}  # to the byte order, as `struct` writes it
_BIG = (b"II+\0", b"MM\0+")

(_KIND, _OLD_KIND, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS) = (254, 255, 256, 257, 258, 259, 262)
(_STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANES, _PREDICTOR) = (273, 274, 277, 278, 279, 284, 317)
(_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA, _NUMBERS) = (322, 323, 324, 325, 338, 339)
_MAP = 320  # the palette
_RAW = 50706  # the version of the DNG format
_TAGS = {
    *(_KIND, _OLD_KIND, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _STRIPS, _ORIENTATION, _SAMPLES, _ROWS),
    *(_STRIP_BYTES, _PLANES, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA, _NUMBERS, _RAW),
    _MAP,
}
_LETTERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # of the types that these tags may have
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_NONE, _DEFLATE = 1, (8, 32946)  # compression
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = 0, 1, 2, 3
_LZW, _JPEGS = 5, (6, 7)
_READ = (_NONE, 2, 3, 4, _LZW, *_JPEGS, *_DEFLATE, 32773)  # the others are rare, and OpenCV is built without them
_NAMES = {33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard"}
_NAMES |= {50001: "WebP", 50002: "JPEG XL"}
_ZEROS = 32
MULTIPLIED = 1  # a kind of alpha
_MOST = 65536  # pages
_REST = 256  # MB of pixels behind those of a strip, at most


@dataclass(frozen=True)
class Page:
    """A directory.

    Attributes:
        at: where it begins.
        order: byte order of the file, as `struct` writes it.
        tags: the numbers of each tag that matters here.
        places: where in the file the numbers of a tag are.
    """

    at: int
    order: str
    tags: dict[int, tuple[int, ...]]
    places: dict[int, int]

    def one(self, tag: int, otherwise: int) -> int:
        """The only number of a tag, or the first."""
        return self.tags.get(tag, (otherwise,))[0]

    @property
    def is_picture(self) -> bool:
        """Whether it is no preview of another page, and no mask of it."""
        return not self.one(_KIND, 0) & 0b101 and self.one(_OLD_KIND, 1) != 2


def walk(raw: bytes) -> Anatomy:
    """Read all directories, and look whether the pixels of all pages are there.

    Returns:
        the anatomy of the first page.

    Raises:
        CutOffError: the bytes end before directories or pixels do, or these are not written yet.
        DamagedError: a directory contradicts itself, or a strip or tile is missing.
        UnreadError: a camera's raw picture.
    """
    first, *others = pages(raw)
    for page in others:
        _check_pixels(raw, page)
    return replace(describe(raw, first), frames=1 + len(others))


def describe(raw: bytes, page: Page) -> Anatomy:
    """The anatomy of one page.

    Args:
        raw: the file, or an object that returns slices of it.
        page: one of its pages.

    Raises:
        CutOffError, DamagedError: as for `walk`.
    """
    width, height = page.one(_WIDTH, 0), page.one(_HEIGHT, 0)
    check_size("TIFF", width, height)
    bits, samples, compression = page.one(_BITS, 1), page.one(_SAMPLES, 1), page.one(_COMPRESSION, _NONE)
    if compression not in _READ:
        name = _NAMES.get(compression, f"method {compression}")
        raise UnreadError(f"a TIFF that is compressed by {name}; save it without compression, or as PNG")
    extra = page.tags.get(_EXTRA, ())
    turn = page.one(_ORIENTATION, UPRIGHT)
    end, rows = _check_pixels(raw, page)
    coded: tuple[Coded, ...] = ()
    if compression == _LZW:
        coded = tuple(Coded(block.offset, block.offset + block.length, _ZEROS) for block in _blocks(page))
    return Anatomy(
        kind="TIFF",
        width=width,
        height=height,
        pixel_bytes=max(1, min(samples, 4) * max(bits // 8, 1)) * (3 if page.one(_COLOURS, 1) == 3 else 1),
        end=end,
        orientation=turn if 1 <= turn <= 8 else UPRIGHT,
        # Decoders shift 10, 12 and 14 bits to the upper end of 16.
        largest=65535 if 8 < bits < 16 else None,
        transparent=bool(extra) and extra[0] in (1, 2),
        grey=page.one(_COLOURS, 1) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO),
        rows=rows,
        coded=coded,
    )


def pages(raw: bytes) -> list[Page]:
    """The directories of all pages that are pictures by themselves: neither previews nor masks of other pages.

    Args:
        raw: the file, or an object that returns slices of it.

    Raises:
        CutOffError, DamagedError, UnreadError: as for `walk`.
    """
    found = list(_directories(raw))
    if raw[8:10] == b"CR" or any(_RAW in page.tags for page in found):
        raise UnreadError("a raw picture of a camera; develop it to TIFF or PNG")
    pictures = [page for page in found if page.is_picture]
    if not pictures:
        raise UnreadError("a TIFF with nothing but previews or masks, such as raw pictures of cameras; save it as PNG")
    return pictures


def _directories(raw: bytes) -> Iterator[Page]:
    order, big = STARTS[bytes(raw[:4])], bytes(raw[:4]) in _BIG
    word, count_of, entry_size, inline = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    pointer = 8 if big else 4
    seen: set[int] = set()
    while True:
        size = struct.calcsize("=" + word)
        (at,) = struct.unpack(order + word, take(raw, pointer, size, "its header"))
        if at == 0 and not seen:
            raise CutOffError("it has no directory yet")
        if at == 0 or at in seen or len(seen) == _MOST:  # the last one, or a circle
            return
        seen.add(at)
        before = struct.calcsize("=" + count_of)
        (entries,) = struct.unpack(order + count_of, take(raw, at, before, "a directory"))
        if not entries:
            raise CutOffError(f"the directory at byte {at} is empty, as where nothing has been written yet")
        if entries > 4096:
            raise DamagedError(f"the directory at byte {at} has {entries} entries")
        table = take(raw, at + before, entries * entry_size, "a directory")
        tags, places = {}, {}
        for entry in range(entries):
            tag, kind, count = struct.unpack_from(f"{order}HH{word}", table, entry * entry_size)
            if tag not in _TAGS or kind not in _LETTERS:
                continue
            length = count * _SIZES[kind]
            place = at + before + entry * entry_size + entry_size - inline
            if length > inline:
                (place,) = struct.unpack_from(order + word, table, (entry + 1) * entry_size - inline)
            numbers = struct.unpack(f"{order}{count}{_LETTERS[kind]}", take(raw, place, length, "a directory"))
            if numbers:
                tags[tag], places[tag] = numbers, place
        yield Page(at, order, tags, places)
        pointer = at + before + entries * entry_size


@dataclass(frozen=True)
class _Block:
    """A strip or tile: its bytes in the file, its place in the picture and its plane, and its size with padding."""

    offset: int
    length: int
    plane: int
    y: int
    x: int
    rows: int
    columns: int


def _blocks(page: Page) -> list[_Block]:
    """The strips or tiles of a page.

    Raises:
        CutOffError: some are not written yet.
        DamagedError: there are fewer than the picture needs.
    """
    width, height = page.one(_WIDTH, 0), page.one(_HEIGHT, 0)
    tiled = _TILES in page.tags
    if tiled:
        rows, columns = page.one(_TILE_HEIGHT, 0), page.one(_TILE_WIDTH, 0)
    else:
        rows, columns = min(page.one(_ROWS, height), height), width
    if rows < 1 or columns < 1:
        raise DamagedError("its directory says that strips or tiles have no pixels")
    planes = page.one(_SAMPLES, 1) if page.one(_PLANES, 1) == 2 else 1
    down, across = -(-height // rows), -(-width // columns)
    offsets = page.tags.get(_TILES if tiled else _STRIPS, ())
    lengths = page.tags.get(_TILE_BYTES if tiled else _STRIP_BYTES, ())
    if not lengths and len(offsets) == 1 and page.one(_COMPRESSION, _NONE) == _NONE:  # some old writers leave them out
        lengths = (height * _row_bytes(page, columns),)
    what = "tiles" if tiled else "strips"
    needed = down * across * planes
    if min(len(offsets), len(lengths)) < needed:
        raise DamagedError(f"it needs {needed} {what}, and its directory lists {min(len(offsets), len(lengths))}")
    blocks = []
    for number, (offset, length) in enumerate(zip(offsets[:needed], lengths[:needed], strict=True)):
        if not offset or not length:
            raise CutOffError(f"{what[:-1]} {number + 1} of {needed} has never been written")
        plane, rest = divmod(number, down * across)
        y, x = (rest // across) * rows, (rest % across) * columns
        blocks.append(_Block(offset, length, plane, y, x, rows if tiled else min(rows, height - y), columns))
    return blocks


def _row_bytes(page: Page, columns: int) -> int:
    samples = 1 if page.one(_PLANES, 1) == 2 else page.one(_SAMPLES, 1)
    return (columns * samples * page.one(_BITS, 1) + 7) // 8


def _check_pixels(raw: bytes, page: Page) -> tuple[int, tuple[Rows, ...]]:
    """Where the pixels end, and where their rows lie if they are not compressed.

    Raises:
        CutOffError, DamagedError: as for `walk`.
    """
    if page.one(_COMPRESSION, _NONE) in _JPEGS and _STRIPS not in page.tags and _TILES not in page.tags:
        return len(raw), ()  # an old way to store a JPEG; its decoder knows
    blocks = _blocks(page)
    rows: list[Rows] = []
    width, height = page.one(_WIDTH, 0), page.one(_HEIGHT, 0)
    sample = page.one(_BITS, 1) // 8
    pixel = sample * (1 if page.one(_PLANES, 1) == 2 else page.one(_SAMPLES, 1))
    plain = page.one(_COMPRESSION, _NONE) == _NONE and page.one(_COLOURS, 1) != 6
    for number, block in enumerate(blocks):
        end = block.offset + block.length
        if end > len(raw):
            raise CutOffError(
                f"its {len(raw)} bytes end before strip or tile {number + 1} of {len(blocks)} does, at {end}"
            )
        if not plain:
            continue
        stride = _row_bytes(page, block.columns)
        if block.length < stride * block.rows:
            raise DamagedError(
                f"strip or tile {number + 1} of {len(blocks)} has {block.length} bytes, and its pixels need "
                f"{stride * block.rows}"
            )
        used = _row_bytes(page, min(block.columns, width - block.x))
        if sample not in (1, 2):
            continue
        here = Rows(block.offset, min(block.rows, height - block.y), stride, used, sample, pixel)
        last = rows[-1] if rows else None
        if last and used == stride == last.used and last.offset + last.count * stride == here.offset:
            rows[-1] = replace(last, count=last.count + here.count)
        else:
            rows.append(here)
    return max(block.offset + block.length for block in blocks), tuple(rows)


def extent(page: Page) -> tuple[int, int]:
    """Where the pixels of a page that `describe` accepts begin and end in the file."""
    blocks = _blocks(page)
    return min(block.offset for block in blocks), max(block.offset + block.length for block in blocks)


def is_read_here(page: Page) -> bool:
    """Whether `samples` reads a page: not compressed, or by deflate, with 8 or 16 bits, grey or RGB, perhaps alpha."""
    wanted = {_WHITE_IS_ZERO: (1, 2), _BLACK_IS_ZERO: (1, 2), _RGB: (3, 4)}.get(page.one(_COLOURS, -1), ())
    return (
        set(page.tags.get(_BITS, (1,))) in ({8}, {16})
        and page.one(_COMPRESSION, _NONE) in (_NONE, *_DEFLATE)
        and page.one(_SAMPLES, 1) in wanted
        and not set(page.tags.get(_NUMBERS, (1,))) - {1, 4}  # 4: undefined
        and page.one(_PREDICTOR, 1) in (1, 2)
    )


def samples(raw: bytes, page: Page) -> NDArray[np.generic] | None:
    """The pixels of a page that is not compressed, or by deflate, with 8 or 16 bits, grey or RGB.

    They are read here because OpenCV drops the alpha channel of grey pictures, multiplies colours by alpha, and refuses
    some tiles.

    Args:
        raw: the file, or an object that returns slices of it.
        page: one that `describe` accepts.

    Returns:
        (H, W) or (H, W, samples), uint8 or uint16, colours as RGB, not turned; None for any other page.

    Raises:
        DamagedError: the compressed bytes are damaged, or too few.
    """
    if not is_read_here(page):
        return None
    bits, count = page.one(_BITS, 1), page.one(_SAMPLES, 1)
    compression, colours, predictor = page.one(_COMPRESSION, _NONE), page.one(_COLOURS, -1), page.one(_PREDICTOR, 1)
    dtype = np.dtype(f"{page.order}u{bits // 8}")
    width, height = page.one(_WIDTH, 0), page.one(_HEIGHT, 0)
    apart = page.one(_PLANES, 1) == 2
    channels = 1 if apart else count
    picture = np.empty((height, width, count), dtype.newbyteorder("="))
    for block in _blocks(page):
        size = block.rows * block.columns * channels * dtype.itemsize
        content: Any = raw[block.offset : block.offset + block.length]
        if compression in _DEFLATE:
            content = _inflated(content, size, block.offset)
        pixels = np.frombuffer(content, dtype, size // dtype.itemsize).reshape(block.rows, block.columns, channels)
        if predictor == 2 and compression != _NONE:  # each pixel is stored as the difference to its left neighbour
            pixels = np.cumsum(pixels, axis=1, dtype=picture.dtype)
        part = picture[block.y : block.y + block.rows, block.x : block.x + block.columns]
        part = part[:, :, block.plane : block.plane + 1] if apart else part
        part[:] = pixels[: part.shape[0], : part.shape[1]]
    if colours == _WHITE_IS_ZERO:
        picture[:, :, 0] = np.iinfo(picture.dtype).max - picture[:, :, 0]
    return picture[:, :, 0] if count == 1 else picture


def _inflated(content: Any, size: int, at: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(content, size)
        for _ in range(_REST):  # up to the checksum behind the last byte; some writers fill up the last strip
            if stream.eof or not stream.unconsumed_tail:
                break
            stream.decompress(stream.unconsumed_tail, 1 << 20)
    except zlib.error:
        raise DamagedError(f"the compressed strip or tile at byte {at} is damaged") from None
    if len(found) < size:
        raise DamagedError(f"the compressed strip or tile at byte {at} has {len(found)} bytes in place of {size}")
    return found


def single(raw: bytes, page: Page) -> bytes:
    """A copy of a file in which one page comes first, and is upright as it is stored: for decoders that read only that.

    Args:
        raw: the file, or an object that returns slices of it.
        page: one that `describe` accepts.
    """
    copy = bytearray(raw)
    if bytes(raw[:4]) in _BIG:
        struct.pack_into(page.order + "Q", copy, 8, page.at)
    else:
        struct.pack_into(page.order + "I", copy, 4, page.at)
    if _ORIENTATION in page.places:
        struct.pack_into(page.order + "H", copy, page.places[_ORIENTATION], UPRIGHT)
    return bytes(copy)


def palette(raw: bytes, page: Page) -> tuple[NDArray[np.uint8], bytes] | None:
    """The palette of a page, and a copy of the file in which each number of an entry decodes to itself, three times.

    Args:
        raw: a file that `walk` accepts.
        page: of it.

    Returns:
        (entries, 3) uint8 RGB, and the copy; None for a page without a palette.
    """
    depth = page.one(_BITS, 1)
    if page.one(_COLOURS, 1) != _PALETTE or depth > 8 or len(page.tags.get(_MAP, ())) < 3 << depth:
        return None
    colours = np.array(page.tags[_MAP][: 3 << depth])
    if (colours > 255).any():  # some programs use only the lower 8 of the 16 bits
        colours = colours >> 8
    numbers = np.tile(np.arange(1 << depth) << 8, 3).astype(f"{page.order}u2").tobytes()
    at = page.places[_MAP]
    return colours.reshape(3, -1).T.astype(np.uint8), raw[:at] + numbers + raw[at + len(numbers) :]


def is_lossy(page: Page) -> bool:
    """Whether a page is compressed in a way that changes numbers."""
    return page.one(_COMPRESSION, _NONE) in (*_JPEGS, *_NAMES)


def channels(page: Page) -> int:
    """Stored numbers of a pixel."""
    return page.one(_SAMPLES, 1)


def alpha_kind(page: Page) -> int:
    """1 if the colours of a page are multiplied by its alpha, 2 if they are not, 0 without alpha."""
    extra = page.tags.get(_EXTRA, (0,))
    return extra[0] if extra[0] in (1, 2) else 0
