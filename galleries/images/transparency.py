"""Transparent pixels are no content: whatever colour is stored there, a frame shows one neutral colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.preprocessing.mask import PAINT

_BACKGROUND = np.rint(PAINT).astype(np.int64)  # BGR, 0 to 255
_GREY_BACKGROUND = np.array([round(sum(PAINT) / 3)])


def composited(
    colours: NDArray[Any], alpha: NDArray[Any], *, largest: int, opaque: int, multiplied: bool
) -> NDArray[Any]:
    """A picture in front of a neutral background.

    Args:
        colours: (H, W, 3) BGR or (H, W) grey, uint8 or uint16.
        alpha: (H, W), 0 for transparent.
        largest: the number of white.
        opaque: the number of alpha where nothing is transparent.
        multiplied: whether the colours are multiplied by alpha already.

    Returns:
        shape and dtype of `colours`; the same numbers where alpha is `opaque`.
    """
    if alpha.min() >= opaque:
        return colours
    clear = np.nonzero(alpha < opaque)
    opacity = alpha[clear].astype(np.int64)[:, None]
    found = colours if colours.ndim == 3 else colours[:, :, None]
    part = found[clear].astype(np.int64)
    background = (_BACKGROUND if found.shape[2] == 3 else _GREY_BACKGROUND) * largest // 255
    mixed = (part * (opaque if multiplied else opacity) + background * (opaque - opacity) + opaque // 2) // opaque
    result = found.copy()
    result[clear] = np.minimum(mixed, largest).astype(colours.dtype)
    return result.reshape(colours.shape)
