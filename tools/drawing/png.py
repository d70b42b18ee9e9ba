"""Writing a PNG file strip by strip, so that a large picture needs no second copy of itself in memory.

Strips are compressed in two threads; zlib lets other threads of Python work meanwhile. A text chunk in the file names
this program.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
STRIP = 1 << 21  # bytes of the picture that are compressed at a time
THREADS = 2
SOFTWARE = b"Software\0spade-edge"
_UP = 2  # PNG's filter of this number: each row is the difference to the row above


def write_png(file: BinaryIO, picture: NDArray[np.uint8]) -> None:
    """Write a picture.

    Args:
        file: open for writing.
        picture: (H, W, 3) uint8 BGR.

    Raises:
        OSError: the file cannot be written.
    """
    height, width = picture.shape[:2]
    file.write(SIGNATURE)
    file.write(_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)))  # 8 bits, RGB
    file.write(_chunk(b"tEXt", SOFTWARE))
    file.write(_chunk(b"IDAT", b"\x78\x01"))  # zlib's header
    checksum = zlib.adler32(b"")
    for filtered, compressed in _strips(picture):
        checksum = zlib.adler32(filtered.data, checksum)
        file.write(_chunk(b"IDAT", compressed))
    file.write(_chunk(b"IDAT", b"\x03\x00" + struct.pack(">I", checksum)))  # an empty last block
    file.write(_chunk(b"IEND", b""))


def is_png_of_ours(head: bytes) -> bool:
    """Whether a file that begins with these bytes was written here; 64 bytes are enough."""
    return head.startswith(SIGNATURE) and head[33:].startswith(_chunk(b"tEXt", SOFTWARE))


def _strips(picture: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.uint8], bytes]]:
    """The strips in their order, filtered and compressed, a few of them ahead."""
    rows = max(1, STRIP // (3 * picture.shape[1]))
    coming: deque[Future[tuple[NDArray[np.uint8], bytes]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(0, len(picture), rows):
            coming.append(pool.submit(_compressed, picture, first, rows))
            if len(coming) > THREADS:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _compressed(picture: NDArray[np.uint8], first: int, rows: int) -> tuple[NDArray[np.uint8], bytes]:
    """A strip as PNG's rows, (rows, 1 + 3 W) uint8, and the same compressed, without zlib's header and end."""
    import cv2  # whoever needs only the mark does without

    above = np.ascontiguousarray(picture[max(first - 1, 0) : first + rows])  # with the row above
    strip = cv2.cvtColor(above, cv2.COLOR_BGR2RGB).reshape(len(above), -1)
    filtered = np.empty((min(rows, len(picture) - first), 1 + strip.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    if first == 0:
        filtered[0, 1:] = strip[0]
        np.subtract(strip[1:], strip[:-1], out=filtered[1:, 1:])
    else:
        np.subtract(strip[1:], strip[:-1], out=filtered[:, 1:])
    # Runs alone are found fast, and noise has nothing else to find.
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
    return filtered, deflate.compress(filtered.data) + deflate.flush(zlib.Z_FULL_FLUSH)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
