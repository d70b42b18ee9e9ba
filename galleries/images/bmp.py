"""BMP: a header with the file's size and the place of the pixels, then rows of pixels, usually from the bottom up."""

from __future__ import annotations

import struct

from spade_edge.galleries.images.anatomy import Anatomy, CutOffError, DamagedError, Rows, check_size, take

START = b"BM"
_OLD = 12  # bytes of the header of OS/2
_RGB, _MASKS, _ALPHA_MASKS = 0, 3, 6  # kinds of compression that are none
_PACKED = (1, 2)  # run lengths of 8 and 4 bits
_BITS = (1, 2, 4, 8, 16, 24, 32)


def walk(raw: bytes) -> Anatomy:
    """Compare the header with the number of bytes.

    Raises:
        CutOffError: the bytes end before the pixels do.
        DamagedError: the header contradicts itself.
        UnreadError: it has a JPEG or a PNG inside.
    """
    size, offset, length = struct.unpack_from("<I4xII", take(raw, 0, 18, "its header"), 2)
    header = take(raw, 14, min(length, 124), "its header")
    if length == _OLD:
        width, height, bits = *struct.unpack_from("<HH", header, 4), int.from_bytes(header[10:12], "little")
        compression = _RGB
    elif 16 <= length <= 124:
        header = header.ljust(60, b"\0")
        width, height = struct.unpack_from("<ii", header, 4)
        bits, compression = struct.unpack_from("<HI", header, 14)
    else:
        raise DamagedError(f"its header says that it is {length} bytes long")
    check_size("BMP", width, abs(height))
    if compression > _ALPHA_MASKS or bits not in _BITS or offset < 14 + length:
        raise DamagedError(f"its header says {bits} bits, compression {compression} and pixels at byte {offset}")
    if compression not in (_RGB, _MASKS, _ALPHA_MASKS, *_PACKED):
        raise DamagedError("it holds a picture of another kind (compression 4 or 5), which is meant for printers")
    stride = (width * bits + 31) // 32 * 4
    used = (width * bits + 7) // 8
    height = abs(height)
    rows: tuple[Rows, ...] = ()
    if compression in _PACKED:
        end = max(size, offset)
    else:
        end = offset + (height - 1) * stride + used
        rows = (Rows(offset, height, stride, used, 1, bits // 8),) if bits >= 8 else rows
    if end > len(raw):
        raise CutOffError(f"its {len(raw)} bytes end before its pixels, which end at {end}")
    return Anatomy(
        kind="BMP",
        width=width,
        height=height,
        pixel_bytes=4 if bits == 32 else 3,
        end=end,
        transparent=bits == 32 and length >= 56 and any(header[52:56]),
        rows=rows,
    )
