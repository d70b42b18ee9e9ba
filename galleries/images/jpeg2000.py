"""JPEG 2000: a code stream, alone or within boxes. Its tiles follow each other up to the end marker FF D9."""

from __future__ import annotations

import struct

from spade_edge.galleries.images.anatomy import Anatomy, Coded, CutOffError, DamagedError, check_size, take
from spade_edge.galleries.images.boxes import boxes

BOXED = b"\0\0\0\x0cjP  \r\n\x87\n"
BARE = b"\xff\x4f\xff\x51"
_TILE, _END = b"\xff\x90", b"\xff\xd9"
_ZEROS = 512  # empty packets are zeros, one each
_OPACITY = (1, 2)  # kinds of a channel in the box cdef: alpha, premultiplied alpha


def walk(raw: bytes) -> Anatomy:
    """Step from box to box, and from tile to tile.

    Raises:
        CutOffError: the bytes end before the end marker.
        DamagedError: lengths contradict each other, or there is no picture.
    """
    if raw.startswith(BARE):
        return _stream(raw, 0, len(raw), transparent=False)
    transparent = False
    for kind, start, end in boxes(raw, 0, len(raw)):
        if kind == b"jp2h":
            for inner, first, last in boxes(raw, start, end):
                if inner == b"cdef":
                    kinds = [int.from_bytes(raw[at + 2 : at + 4], "big") for at in range(first + 2, last - 5, 6)]
                    transparent = any(one in _OPACITY for one in kinds)
        elif kind == b"jp2c":
            return _stream(raw, start, end, transparent=transparent)
    raise CutOffError(f"its {len(raw)} bytes end before any pixels")


def _stream(raw: bytes, start: int, end: int, *, transparent: bool) -> Anatomy:
    size = take(raw, start, 42, "its header")
    right, bottom, left, top = struct.unpack_from(">IIII", size, 8)
    channels = int.from_bytes(size[40:42], "big")
    depths = {1 + (depth & 0x7F) for depth in take(raw, start + 42, 3 * channels, "its header")[::3]}
    check_size("JPEG 2000", right - left, bottom - top)
    if not depths:
        raise DamagedError("its header says that it has no channels")
    at = start + 2
    while raw[at : at + 2] not in (_TILE, _END):  # segments with a length each
        at += 2 + _length(raw, at, end)
    while raw[at : at + 2] == _TILE:
        length = int.from_bytes(take(raw, at, 12, "a tile")[6:10], "big")
        if length == 0:  # the last one, up to the end marker
            if raw[end - 2 : end] != _END:
                at = raw.rfind(_END, at, end)
                if at < 0:
                    raise CutOffError(f"its {len(raw)} bytes end without an end marker")
                break
            at = end - 2
            break
        if length < 14:
            raise DamagedError(f"the tile at byte {at} has a length of {length}")
        at += length
    if at + 2 > end:
        raise CutOffError(f"its {len(raw)} bytes end within its tiles, or without an end marker")
    if raw[at : at + 2] != _END:
        raise DamagedError(f"neither a tile nor the end marker stands at byte {at}")
    bits = max(depths)
    return Anatomy(
        "JPEG 2000",
        right - left,
        bottom - top,
        pixel_bytes=min(channels, 4) * (1 if bits <= 8 else 2),
        end=at + 2,
        largest=None if bits in (8, 16) else (1 << bits) - 1,
        transparent=transparent,
        coded=(Coded(start, at, _ZEROS),),
    )


def _length(raw: bytes, at: int, end: int) -> int:
    length = int.from_bytes(take(raw, at + 2, 2, "its header"), "big")
    if raw[at] != 0xFF or length < 2:
        raise DamagedError(f"no segment begins at byte {at}")
    return length
