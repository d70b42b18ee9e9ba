"""Anomaly maps as .npy files."""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

# Numpy's format, version 1.0. Readers accept any number of spaces at the end of the header. Numpy itself writes 118
# bytes for an array of two axes, so a header of 246 is a mark by which the file is known again.
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = 246


def write_heatmap(file: BinaryIO, heatmap: NDArray[np.float32]) -> None:
    """Write an anomaly map.

    Args:
        file: open for writing.
        heatmap: (h, w) float32.

    Raises:
        OSError: the file cannot be written.
    """
    height, width = heatmap.shape
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({height}, {width}), }}"
    file.write(_MAGIC + struct.pack("<H", _HEADER) + header.ljust(_HEADER - 1).encode() + b"\n")
    file.write(np.ascontiguousarray(heatmap, "<f4").data)


def is_heatmap_of_ours(head: bytes) -> bool:
    """Whether a file that begins with these bytes was written here."""
    return head.startswith(_MAGIC + struct.pack("<H", _HEADER) + b"{'descr': '<f4'")
