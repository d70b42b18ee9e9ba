"""WebP: a RIFF container with its length, and chunks (kind, length, data)."""

from __future__ import annotations

import struct

from spade_edge.galleries.images.anatomy import UPRIGHT, Anatomy, Coded, CutOffError, DamagedError, check_size, take
from spade_edge.galleries.images.exif import orientation

_HEADER = 12
_ZEROS = 128


def is_webp(raw: bytes) -> bool:
    return raw[:4] == b"RIFF" and raw[8:12] == b"WEBP"


def walk(raw: bytes) -> Anatomy:
    """Step from chunk to chunk.

    Raises:
        CutOffError: the bytes end before the container does.
        DamagedError: chunks and container contradict each other, or have no picture.
    """
    end = 8 + int.from_bytes(take(raw, 4, 4, "its header"), "little")
    if end > len(raw):
        raise CutOffError(f"its {len(raw)} bytes end before the container, which ends at {end}")
    at, turn, frames, alpha = _HEADER, UPRIGHT, 0, False
    size: tuple[int, int] | None = None
    coded: list[Coded] = []
    while at + 8 <= end:
        kind, length = raw[at : at + 4], int.from_bytes(raw[at + 4 : at + 8], "little")
        data = raw[at + 8 : at + 8 + min(length, 1 << 20)]
        if at + 8 + length > end:
            raise DamagedError(f"the chunk at byte {at} is longer than the container")
        if kind == b"VP8X" and length >= 10:
            size = (1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little"))
            alpha = bool(data[0] & 0x10)
        elif kind == b"VP8 " and length >= 10:
            width, height = struct.unpack_from("<HH", data, 6)
            size = size or (width & 0x3FFF, height & 0x3FFF)
            coded.append(Coded(at + 8, at + 8 + length, _ZEROS))
        elif kind == b"VP8L" and length >= 5:
            bits = int.from_bytes(data[1:5], "little")
            size = size or (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
            alpha = alpha or bool(bits >> 28 & 1)
            coded.append(Coded(at + 8, at + 8 + length, _ZEROS))
        elif kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF":
            turn = orientation(data)
        at += 8 + length + length % 2
    if size is None or not (coded or frames):
        raise DamagedError("its container has no picture")
    check_size("WebP", *size)
    return Anatomy(
        "WebP",
        *size,
        pixel_bytes=4 if alpha else 3,
        end=end,
        orientation=turn,
        frames=max(1, frames),
        transparent=alpha,
        coded=tuple(coded),
    )
