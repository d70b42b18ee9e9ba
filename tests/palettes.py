"""Writes image files with palettes, byte by byte: numbers of entries, whatever colours they have."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Entries = NDArray[np.uint8]  # (entries, 3) red, green, blue


def _bits(numbers: NDArray[np.uint8], depth: int) -> list[bytes]:
    """Rows of numbers of so many bits, the first one in the highest bits of a byte."""
    bits = (numbers[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return [np.packbits(row.reshape(-1)).tobytes() for row in bits]


def png(numbers: NDArray[np.uint8], entries: Entries, *, depth: int = 8, opacity: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = numbers.shape
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 3, 0, 0, 0))
        + chunk(b"PLTE", entries.tobytes())
        + (chunk(b"tRNS", opacity) if opacity else b"")
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in _bits(numbers, depth))))
        + chunk(b"IEND", b"")
    )


def gif(numbers: NDArray[np.uint8], entries: Entries, *, local: bool = False, clear: int | None = None) -> bytes:
    """Without compression: the dictionary is emptied before its codes need a tenth bit."""
    height, width = numbers.shape
    table = np.zeros((256, 3), np.uint8)
    table[: len(entries)] = entries
    codes: list[int] = []
    for place, number in enumerate(numbers.reshape(-1).tolist()):
        codes += [256, number] if place % 250 == 0 else [number]
    bits = (np.array([*codes, 257])[:, None] >> np.arange(9)) & 1
    data = np.packbits(bits.reshape(-1).astype(np.uint8), bitorder="little").tobytes()
    pieces = [data[at : at + 255] for at in range(0, len(data), 255)]
    control = b"" if clear is None else b"\x21\xf9\x04\x01\0\0" + bytes([clear]) + b"\0"
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x77 if local else 0xF7, 0, 0)
        + (b"" if local else table.tobytes())
        + b"\x21\xfe\x04note\0"
        + control
        + b"\x2c"
        + struct.pack("<HHHHB", 0, 0, width, height, 0x87 if local else 0)
        + (table.tobytes() if local else b"")
        + b"\x08"
        + b"".join(bytes([len(piece)]) + piece for piece in pieces)
        + b"\0\x3b"
    )


def bmp(numbers: NDArray[np.uint8], entries: Entries, *, depth: int = 8) -> bytes:
    height, width = numbers.shape
    table = np.zeros((len(entries), 4), np.uint8)
    table[:, :3] = entries[:, ::-1]
    data = b"".join(row.ljust((len(row) + 3) // 4 * 4, b"\0") for row in _bits(numbers[::-1], depth))
    start = 54 + table.size
    return (
        b"BM"
        + struct.pack("<IHHI", start + len(data), 0, 0, start)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, 0, len(data), 2835, 2835, len(table), 0)
        + table.tobytes()
        + data
    )


def tiff(numbers: NDArray[np.uint8], entries: Entries, *, depth: int = 8, order: str = "<", times: int = 257) -> bytes:
    height, width = numbers.shape
    table = np.zeros((1 << depth, 3), np.uint16)
    table[: len(entries)] = entries.astype(np.uint16) * times
    data = b"".join(_bits(numbers, depth))
    colours = np.ascontiguousarray(table.T).astype(f"{order}u2").tobytes()
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, depth),
        (259, 3, 1, 1),
        (262, 3, 1, 3),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
        (320, 3, 3 << depth, 8 + len(data)),
    ]
    entries_of_tags = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count)
        + (struct.pack(f"{order}HH", value, 0) if kind == 3 and count == 1 else struct.pack(f"{order}I", value))
        for tag, kind, count, value in tags
    )
    start = 8 + len(data) + len(colours)
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return header + data + colours + struct.pack(f"{order}H", len(tags)) + entries_of_tags + b"\0\0\0\0"


WRITERS: Mapping[str, Callable[[NDArray[np.uint8], Entries], bytes]] = {
    "a.png": png,
    "a.bmp": bmp,
    "a.gif": gif,
    "a.tif": tiff,
    "four bits.png": lambda numbers, entries: png(numbers, entries, depth=4),
    "four bits.bmp": lambda numbers, entries: bmp(numbers, entries, depth=4),
    "four bits.tif": lambda numbers, entries: tiff(numbers, entries, depth=4),
    "big-endian.tif": lambda numbers, entries: tiff(numbers, entries, order=">"),
    "upper bytes.tif": lambda numbers, entries: tiff(numbers, entries, times=256),
    "lower bytes.tif": lambda numbers, entries: tiff(numbers, entries, times=1),
    "local table.gif": lambda numbers, entries: gif(numbers, entries, local=True),
}


def can_read(name: str) -> bool:
    """Whether the installed OpenCV reads such a file; older ones read no GIF."""
    raw = WRITERS[name](np.zeros((2, 2), np.uint8), np.zeros((4, 3), np.uint8))
    return cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED) is not None
