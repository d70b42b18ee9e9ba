"""Image files that store numbers of palette entries: the numbers themselves, which decoders turn into colours.

In masks the number is the label, and 0 is the background, whatever colours the palette gives them. So a copy of the
file is made in which every number stands for itself, and a decoder reads that copy. Each format says it differently:

    PNG     the colour type in IHDR; palette in PLTE, transparency in tRNS
    GIF     colour tables, and the transparent number in a graphic control extension
    BMP     the colour table behind the header
    TIFF    the colour map, tag 320
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import bmp, gif, png, tiff
from spade_edge.galleries.images.anatomy import DamagedError


@dataclass(frozen=True, eq=False)
class Indexed:
    """A file with a palette.

    Attributes:
        raw: the file, changed so that it decodes to grey or equal channels: `scale` times the number of the entry.
        scale: what a decoder multiplies the numbers by, to fill 8 bits.
        palette: (entries, 4) uint8, red, green, blue and opacity.
    """

    raw: bytes
    scale: int
    palette: NDArray[np.uint8]


def indexed(raw: bytes) -> Indexed | None:
    """The numbers and the palette of an image file that is whole; None if it has no palette.

    Raises:
        DamagedError: the palette cannot be read.
    """
    kinds = (((png.START,), _png), (gif.STARTS, _gif), ((bmp.START,), _bmp), (tuple(tiff.STARTS), _tiff))
    try:
        return next((read(raw) for starts, read in kinds if raw.startswith(starts)), None)
    except (struct.error, IndexError, ValueError):
        raise DamagedError("its palette cannot be read") from None


def _png(raw: bytes) -> Indexed | None:
    kind_of_colour, depth = raw[25], raw[24]
    if kind_of_colour != 3 or depth > 8:
        return None
    kept, colours, opacity = [png.START], np.zeros((0, 3), np.uint8), b""
    at = len(png.START)
    while at < len(raw):
        (length,) = struct.unpack_from(">I", raw, at)
        kind, data = raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length]
        if kind == b"PLTE":
            colours = np.frombuffer(data, np.uint8).reshape(-1, 3)
        elif kind == b"tRNS":
            opacity = data
        elif kind == b"IHDR":
            grey = kind + data[:9] + b"\0" + data[10:]
            kept.append(struct.pack(">I", length) + grey + struct.pack(">I", zlib.crc32(grey)))
        else:
            kept.append(raw[at : at + 12 + length])
        at += 12 + length
    return Indexed(b"".join(kept), 255 // ((1 << depth) - 1), _with_opacity(colours, np.frombuffer(opacity, np.uint8)))


def _gif(raw: bytes) -> Indexed:
    changed, at = bytearray(raw), 13
    colours = np.zeros((0, 3), np.uint8)

    def table(flags: int) -> NDArray[np.uint8]:
        nonlocal at
        entries = 2 << (flags & 7)
        found = np.frombuffer(raw, np.uint8, count=3 * entries, offset=at).reshape(-1, 3)
        changed[at : at + 3 * entries] = np.repeat(np.arange(entries, dtype=np.uint8), 3).tobytes()
        at += 3 * entries
        return found

    if raw[10] & 0x80:
        colours = table(raw[10])
    clear = None
    while raw[at] == 0x21:  # extensions before the first picture
        if raw[at + 1] == 0xF9 and raw[at + 3] & 1:
            clear = raw[at + 6]
            changed[at + 3] &= 0xFE
        at += 2
        while raw[at]:
            at += 1 + raw[at]
        at += 1
    if raw[at] != 0x2C:
        raise ValueError("no picture")
    flags, at = raw[at + 9], at + 10
    if flags & 0x80:
        colours = table(flags)
    opacity = np.full(len(colours), 255, np.uint8)
    if clear is not None:
        opacity[clear : clear + 1] = 0
    return Indexed(bytes(changed), 1, _with_opacity(colours, opacity))


def _bmp(raw: bytes) -> Indexed | None:
    (header,) = struct.unpack_from("<I", raw, 14)
    old = header == 12  # of OS/2, with three bytes for each entry
    (depth,) = struct.unpack_from("<H", raw, 24 if old else 28)
    if depth > 8:
        return None
    entries = 1 << depth
    if not old:
        entries = min(struct.unpack_from("<I", raw, 46)[0] or entries, entries)
    width, at = 3 if old else 4, 14 + header
    entries = min(entries, (struct.unpack_from("<I", raw, 10)[0] - at) // width)  # up to the pixels
    table = np.frombuffer(raw, np.uint8, count=entries * width, offset=at).reshape(-1, width)
    numbers = np.repeat(np.arange(entries, dtype=np.uint8), width).reshape(-1, width)
    changed = raw[:at] + numbers.tobytes() + raw[at + entries * width :]
    return Indexed(changed, 1, _with_opacity(table[:, 2::-1], np.zeros(0, np.uint8)))


def _tiff(raw: bytes) -> Indexed | None:
    found = tiff.palette(raw, tiff.pages(raw)[0])
    return None if found is None else Indexed(found[1], 1, _with_opacity(found[0], np.zeros(0, np.uint8)))


def _with_opacity(colours: NDArray[np.uint8], opacity: NDArray[np.uint8]) -> NDArray[np.uint8]:
    palette = np.full((len(colours), 4), 255, np.uint8)
    palette[:, :3] = colours
    palette[: len(opacity), 3] = opacity[: len(palette)]
    return palette
