"""GIF: a screen, then blocks: extensions (21), pictures (2C), and the trailer (3B). The first picture is the frame."""

from __future__ import annotations

import struct

from spade_edge.galleries.images.anatomy import Anatomy, CutOffError, DamagedError, check_size, take

STARTS = (b"GIF87a", b"GIF89a")
_EXTENSION, _PICTURE, _TRAILER = b"\x21", b"\x2c", b"\x3b"


def walk(raw: bytes) -> Anatomy:
    """Step from block to block.

    Raises:
        CutOffError: the bytes end before the trailer.
        DamagedError: something that is no block, or no picture.
    """
    width, height, flags = struct.unpack_from("<HHB", take(raw, 0, 13, "its header"), 6)
    check_size("GIF", width, height)
    at, frames = 13 + _colours(flags), 0
    while True:
        kind = take(raw, at, 1, "its blocks")
        if kind == _TRAILER:
            break
        if kind == _EXTENSION:
            at = _skip(raw, at + 2)
        elif kind == _PICTURE:
            flags = take(raw, at, 10, "a picture")[9]
            at = _skip(raw, at + 11 + _colours(flags))
            frames += 1
        else:
            raise DamagedError(f"no block begins at byte {at}")
    if not frames:
        raise DamagedError("it ends before any pixels")
    return Anatomy("GIF", width, height, pixel_bytes=4, end=at + 1, frames=frames, transparent=True)


def _colours(flags: int) -> int:
    """Bytes of a table of colours."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip(raw: bytes, at: int) -> int:
    """Step over pieces with a length of one byte each, up to one of length 0."""
    while at < len(raw):
        length = raw[at]
        at += 1 + length
        if not length:
            return at
    raise CutOffError(f"its {len(raw)} bytes end within a block")
