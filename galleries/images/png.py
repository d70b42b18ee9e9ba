"""PNG: eight bytes, then chunks (length, kind, data, checksum) up to IEND."""

from __future__ import annotations

import struct
import zlib

from spade_edge.galleries.images.anatomy import UPRIGHT, Anatomy, CutOffError, DamagedError, check_size
from spade_edge.galleries.images.exif import orientation

START = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type
_GREY, _COLOUR, _PALETTE, _GREY_ALPHA, _COLOUR_ALPHA = _CHANNELS


def walk(raw: bytes) -> Anatomy:
    """Step from chunk to chunk and check each.

    Raises:
        CutOffError: the bytes end before IEND does.
        DamagedError: a checksum or a header is wrong, or there are no pixels.
    """
    view, at, kind, header, turn, frames = memoryview(raw), len(START), b"", b"", UPRIGHT, 1
    kinds = set()
    while kind != b"IEND":
        if at + 12 > len(raw):
            raise CutOffError(f"its {len(raw)} bytes end before the chunk IEND")
        (length,), kind = struct.unpack_from(">I", raw, at), raw[at + 4 : at + 8]
        if length >= 1 << 31 or not kind.isalpha():
            raise DamagedError(f"no chunk begins at byte {at}")
        after = at + 12 + length
        if after > len(raw):
            raise CutOffError(f"its {len(raw)} bytes end within the chunk {kind.decode()}, which ends at {after}")
        if zlib.crc32(view[at + 4 : after - 4]) != int.from_bytes(view[after - 4 : after], "big"):
            raise DamagedError(f"the checksum of the chunk {kind.decode()} at byte {at} is wrong")
        data = view[at + 8 : after - 4]
        if not header:
            if kind != b"IHDR" or length != 13:
                raise DamagedError(f"it begins with the chunk {kind.decode()} in place of IHDR")
            header = bytes(data)
        elif kind == b"eXIf":
            turn = orientation(bytes(data))
        elif kind == b"acTL" and length == 8:
            frames = max(1, int.from_bytes(data[:4], "big"))
        kinds.add(kind)
        at = after
    width, height, bits, colour = struct.unpack_from(">IIBB", header)
    check_size("PNG", width, height)
    if colour not in _CHANNELS or bits not in (1, 2, 4, 8, 16):
        raise DamagedError(f"its header says colour type {colour} with {bits} bits")
    if b"IDAT" not in kinds:
        raise DamagedError("it has no chunk of pixels")
    transparent = colour in (_GREY_ALPHA, _COLOUR_ALPHA) or b"tRNS" in kinds
    return Anatomy(
        kind="PNG",
        width=width,
        height=height,
        pixel_bytes=(4 if transparent else _CHANNELS[colour]) * (2 if bits == 16 else 1),
        end=at,
        orientation=turn,
        frames=frames,
        transparent=transparent,
        grey=colour in (_GREY, _GREY_ALPHA),
        checked=True,
    )


def see_through(raw: bytes) -> int | None:
    """The one grey value that stands for transparent in a PNG without an alpha channel, scaled to 8 or 16 bits.

    None in all other PNGs, whose transparency decoders return as an alpha channel.
    """
    bits, colour = raw[24], raw[25]
    at = raw.find(b"tRNS", 33, raw.find(b"IDAT", 33)) if colour == _GREY else -1
    if at < 0 or raw[at - 4 : at] != b"\0\0\0\2":
        return None
    value = int.from_bytes(raw[at + 4 : at + 6], "big")
    return value if bits == 16 else value * 255 // ((1 << bits) - 1)
