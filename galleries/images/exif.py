"""The orientation in an EXIF block: how a camera was held. The block has the structure of a TIFF file."""

from __future__ import annotations

import struct

from spade_edge.galleries.images.anatomy import UPRIGHT

ORIENTATION = 274  # the tag
_SHORT = 3


def orientation(block: bytes) -> int:
    """1 to 8, from an EXIF block with or without the word Exif before it; 1 if it says nothing or is broken."""
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return UPRIGHT
    try:
        (at,) = struct.unpack_from(order + "I", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, at)
        for entry in range(entries):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", block, at + 2 + 12 * entry)
            if tag == ORIENTATION and kind == _SHORT and count == 1 and 1 <= value <= 8:
                return int(value)
    except struct.error:  # it ends too early
        pass
    return UPRIGHT
