"""Reads `.npy` files as the bundle format asks for them, and nothing else that numpy would read.

NumPy's format 1.0, with the header that every version of numpy writes: a magic number, the header's length, and a
Python dictionary with its keys in alphabetical order. It is read as text and never evaluated.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import BundleError

_MAGIC = b"\x93NUMPY\x01\x00"
_BEGIN = len(_MAGIC) + 2  # bytes; the last two hold the length of the header that follows
_HEADER = re.compile(
    rb"\{'descr': '([<|][a-z][0-9]{1,2})', 'fortran_order': (False|True), "
    rb"'shape': \(((?:[0-9]{1,19}, ?)*[0-9]{0,19})\), \} *\n"
)
REPAIR = "copy the bundle again or rebuild it"


def mapped_array(path: Path, shape: tuple[int | None, ...], dtype: type[Any]) -> NDArray[Any]:
    """Map an array into memory.

    Args:
        path: the file.
        shape: what the bundle needs; None for any length but 0.
        dtype: likewise.

    Raises:
        BundleError: the file holds another array, or something before or behind it.
        OSError: it cannot be read or mapped.
    """
    with path.open("rb") as file:
        start = file.read(_BEGIN)
        head = file.read(int.from_bytes(start[len(_MAGIC) :], "little"))
        size = os.fstat(file.fileno()).st_size
    header = _HEADER.fullmatch(head)
    if not start.startswith(_MAGIC) or header is None:
        raise BundleError(f"{path}: expected an array in NumPy's format 1.0, found another header; {REPAIR}")
    kind, turned, lengths = header.groups()
    found = tuple(int(length) for length in lengths.replace(b" ", b"").split(b",") if length)
    wanted = np.dtype(dtype).newbyteorder("<").str
    if (
        kind.decode() != wanted
        or len(found) != len(shape)
        or any(have != want if want is not None else have < 1 for want, have in zip(shape, found, strict=True))
    ):
        expected = "x".join("any" if want is None else str(want) for want in shape)
        raise BundleError(
            f"{path}: expected {expected} {np.dtype(dtype)}, found {'x'.join(map(str, found))} {_named(kind)}; {REPAIR}"
        )
    if turned == b"True":  # numpy would exchange the axes
        raise BundleError(f"{path}: expected an array in C order, found Fortran order; {REPAIR}")
    offset = len(start) + len(head)
    expected_size = offset + int(np.prod(found, dtype=object)) * np.dtype(dtype).itemsize
    if size != expected_size:
        raise BundleError(f"{path}: expected {expected_size} bytes, as its header says, found {size}; {REPAIR}")
    return np.memmap(path, np.dtype(wanted), "r", offset=offset, shape=found)


class LargestByte:
    """Finds the largest number of an array of bytes while its file is read for another reason.

    Mapped, the array would count as memory of the process from then on.

    Attributes:
        value: the largest number so far.
    """

    def __init__(self) -> None:
        self.value = 0
        self._header = True

    def __call__(self, block: bytes) -> None:
        """Look at the next block of the file; the first has the whole header."""
        start = 0
        if self._header:
            self._header = False
            start = _BEGIN + int.from_bytes(block[len(_MAGIC) : _BEGIN], "little")
        values = np.frombuffer(block, np.uint8)[start:]
        if len(values):
            self.value = max(self.value, int(values.max()))


def _named(kind: bytes) -> str:
    """What numpy calls a type, or the type as it stands in the header."""
    try:
        return str(np.dtype(kind.decode()))
    except TypeError:
        return kind.decode()
