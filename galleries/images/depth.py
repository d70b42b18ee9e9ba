"""Cameras of 10, 12 and 14 bits, whose numbers are stored in 16.

Their frames become 8 bits by keeping the highest eight of the bits that the camera uses. Numbers that are aligned to
the left, as multiples of 64, 16 or 4 up to 65,535, use all 16.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError

CAMERAS = (8, 10, 12, 14, 16)  # bits


def bits_of(brightest: int) -> int:
    """The fewest bits of a camera that has numbers as large as this."""
    return next(bits for bits in CAMERAS if brightest < 1 << bits)


def highest_bits(stored: NDArray[np.uint16], bits: int | None, where: str) -> NDArray[np.uint8]:
    """The highest eight of the bits that a camera uses of 16; None for all.

    Raises:
        DataError: a number has more bits.
    """
    used = 16 if bits is None else bits
    brightest = int(stored.max(initial=0))
    if brightest >= 1 << used:
        raise DataError(
            f"{where}: expected numbers of {used} bits, up to {(1 << used) - 1:,}, found {brightest:,}; "
            f"give --bits {bits_of(brightest)}, or build the bundle anew if the camera has changed"
        )
    return (stored >> (used - 8)).astype(np.uint8)


def is_of_8_bits(stored: NDArray[np.generic], brightest: int) -> bool:
    """Whether a picture of 8 bits was saved with 16: a program wrote each number times 257, so that white stays white.

    Args:
        stored: uint16.
        brightest: the largest of them; a black picture tells nothing.
    """
    return brightest > 0 and brightest % 257 == 0 and not (stored % np.uint16(257)).any()


def scaled(stored: NDArray[np.generic], largest: int) -> NDArray[np.uint8]:
    """Numbers from 0 to `largest` as 0 to 255, rounded down.

    Where white is a power of 2 less 1, as of cameras, these are the highest eight bits.
    """
    bits = largest.bit_length()
    if bits >= 8 and largest == (1 << bits) - 1:
        return (stored.astype(np.uint16, copy=False) >> (bits - 8)).astype(np.uint8)
    return (stored.astype(np.uint32) * 255 // largest).astype(np.uint8)
