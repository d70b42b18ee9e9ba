"""Making pictures smaller."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LONGEST = 320  # pixels of the longer side


def shrink(picture: NDArray[np.uint8], *, longest: int = LONGEST) -> NDArray[np.uint8]:
    """Make a picture small enough for a page or a notebook; a smaller one stays as it is.

    Args:
        picture: (H, W, 3) uint8 BGR, (H, W) or (H, W, 1) grey.
        longest: pixels of its longer side afterwards.

    Returns:
        the smaller picture, with the same channels.
    """
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
