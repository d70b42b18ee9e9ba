"""The place in a good image that a region resembles most, as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.result import Match

PARTS = 3  # a patch is 1 / PARTS of the view along each axis


def nearest_patch(bundle: Bundle, match: Match) -> NDArray[np.uint8]:
    """The surroundings of a match, cut out of the thumbnail of the good image: (h, w, 3) uint8 BGR."""
    thumbnail = bundle.thumbnails[match.item]
    cut = []
    for side, centre in zip(
        thumbnail.shape[:2], bundle.manifest.canvas.in_view(match.view, match.y, match.x), strict=True
    ):
        length = max(1, side // PARTS)
        start = min(max(0, int(centre * side) - length // 2), side - length)
        cut.append(slice(start, start + length))
    return np.array(thumbnail[cut[0], cut[1]])
