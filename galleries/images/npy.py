"""NumPy's .npy files: a header with type and shape, then the numbers."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images.anatomy import Anatomy, CutOffError, DamagedError, Rows

START = b"\x93NUMPY"


def walk(raw: bytes) -> Anatomy:
    """Compare the header with the number of bytes. Any shape is described: one that is no image gets a height of 1.

    Raises:
        CutOffError: the bytes end before the numbers do.
        DamagedError: the header cannot be read, or it holds Python objects.
    """
    shape, fortran, dtype, offset = _header(raw)
    size = math.prod(shape) * dtype.itemsize
    if offset + size > len(raw):
        raise CutOffError(f"its {len(raw)} bytes end before its numbers, which end at {offset + size}")
    height, width = shape[:2] if len(shape) in (2, 3) else (1, math.prod(shape))
    row = size // height if height else 0
    sample = dtype.itemsize if dtype.kind == "u" else 0
    pixel = dtype.itemsize * (shape[2] if len(shape) == 3 else 1)
    rows = (Rows(offset, height, row, row, sample, pixel),) if row and not fortran else ()
    return Anatomy("NumPy file", width, height, pixel_bytes=dtype.itemsize, end=offset + size, rows=rows)


def array(raw: bytes) -> NDArray[np.generic]:
    """The numbers of a file that `walk` accepts, in the byte order of this machine."""
    shape, fortran, dtype, offset = _header(raw)
    found = np.frombuffer(raw, dtype, math.prod(shape), offset).reshape(shape, order="F" if fortran else "C")
    return found.astype(dtype.newbyteorder("="), copy=False)


def _header(raw: bytes) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], int]:
    stream = io.BytesIO(raw)
    if len(raw) < 12 or len(raw) < 12 + int.from_bytes(raw[8:10], "little"):
        raise CutOffError(f"its {len(raw)} bytes end within its header")
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except Exception as problem:  # truncated or hostile: numpy can raise anything on a bad header
        raise DamagedError(f"its header cannot be read; numpy says: {problem}") from None
    if dtype.hasobject or dtype.itemsize == 0:
        raise DamagedError("it holds Python objects in place of numbers")
    return shape, fortran, dtype, stream.tell()
