"""Whether an image file that may still be being written is complete, judged by its end mark or its stated size."""

from __future__ import annotations

import io

import numpy as np

from spade_edge.galleries.images.pnm import read_header
from spade_edge.runtime import DataError

PNG, JPEG, NUMPY = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\x93NUMPY"


def is_complete(raw: bytes, suffix: str) -> bool | None:
    """Whether these bytes are a complete image file.

    Args:
        raw: everything that the file holds so far.
        suffix: of the file name, in lower case.

    Returns:
        None where this kind of file has no end mark or size, or where its content does not match its suffix.
    """
    for suffixes, starts, judge in _KINDS:
        if suffix in suffixes:
            if any(raw.startswith(start) for start in starts):
                return judge(raw)
            return False if any(start.startswith(raw) for start in starts) else None
    return None


def _png(raw: bytes) -> bool:
    """Step from chunk to chunk (length, kind, data, checksum) to the last one, IEND."""
    at = len(PNG)
    while at + 12 <= len(raw):
        length = int.from_bytes(raw[at : at + 4], "big")
        kind = raw[at + 4 : at + 8]
        at += 12 + length
        if kind == b"IEND":
            return at <= len(raw)
    return False


def _jpeg(raw: bytes) -> bool:
    """Skip the headers, one of which may contain a whole thumbnail JPEG, and look for the end mark behind them."""
    at = len(JPEG)
    while at + 4 <= len(raw) and raw[at] == 0xFF:
        marker = raw[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        at += 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
        if marker == 0xDA:  # start of scan: the coded data that follows cannot contain an end mark
            return raw.find(b"\xff\xd9", at) >= 0
    return False


def _pnm(raw: bytes) -> bool | None:
    stream = io.BytesIO(raw)
    try:
        header = read_header(stream.read)
    except EOFError:
        return False
    except DataError:  # a text format, or 16 bits
        return None
    return header is not None and len(raw) - stream.tell() >= header.size


def _npy(raw: bytes) -> bool | None:
    stream = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    except Exception:  # truncated or hostile: numpy can raise anything on a bad header
        return None
    return len(raw) - stream.tell() >= int(np.prod(shape, dtype=object)) * dtype.itemsize


_KINDS = (
    ((".png",), (PNG,), _png),
    ((".jpg", ".jpeg"), (JPEG,), _jpeg),
    ((".pgm", ".ppm"), (b"P5", b"P6"), _pnm),
    ((".npy",), (NUMPY,), _npy),
)
JUDGED = tuple(suffix for suffixes, _, _ in _KINDS for suffix in suffixes)
