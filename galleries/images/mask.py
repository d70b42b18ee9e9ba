"""Image files as masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images.reading import read_image


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read an image file as a mask: (H, W) bool, true where any channel is not 0.

    Raises:
        DataError, DeviceError: as for `read_image`.
    """
    pixels = read_image(path) > 0
    return np.asarray(pixels if pixels.ndim == 2 else pixels.any(axis=2))
