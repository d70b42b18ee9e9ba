"""A good image as a bundle keeps it: the thumbnails of its views, put together."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.bundle.bundle import Bundle

_NOT_SEEN = 110  # grey level of what no view covers


def good_image(bundle: Bundle, image: int, *, longest: int) -> NDArray[np.uint8]:
    """The part of a good image that views cover, at the resolution of the sharpest thumbnail.

    Args:
        bundle: the bundle.
        image: its number in the gallery.
        longest: pixels of the longer side at most.

    Returns:
        (h, w, 3) uint8 BGR, which covers the same area as the anomaly map. Where views overlap, the last one is shown.
    """
    canvas, count = bundle.manifest.canvas, len(bundle.manifest.images)
    left, top, width, height = canvas.field
    high, wide = bundle.thumbnails.shape[1:3]
    sharpest = max(max(high / box[3], wide / box[2]) for box in canvas.boxes)
    scale = min(sharpest, longest / max(width, height))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    picture = np.full((*size, 3), _NOT_SEEN, np.uint8)
    for view, (x, y, box_width, box_height) in enumerate(canvas.boxes):
        rows = _pixels(y - top, box_height, scale, size[0])
        columns = _pixels(x - left, box_width, scale, size[1])
        thumbnail = np.ascontiguousarray(bundle.thumbnails[view * count + image])
        fitted = cv2.resize(
            thumbnail, (columns.stop - columns.start, rows.stop - rows.start), interpolation=cv2.INTER_AREA
        )
        picture[rows, columns] = fitted
    return picture


def _pixels(start: int, length: int, scale: float, most: int) -> slice:
    """The pixels of the picture that a view covers along one axis, one at least."""
    first = min(round(start * scale), most - 1)
    return slice(first, max(first + 1, min(round((start + length) * scale), most)))
