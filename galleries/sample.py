"""Some views of good images, for what needs to see a few of them before there is a gallery."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import find_images, read_image
from spade_edge.runtime.layout import WHOLE, Canvas
from spade_edge.runtime.view import View
from spade_edge.runtime.viewer import Viewer

COUNT = 16


def sample_views(folder: Path, view: View, *, count: int = COUNT) -> NDArray[np.float32]:
    """Look at some of the images of a folder, evenly spaced.

    Args:
        folder: nested folders count.
        view: how a frame becomes the network's input.
        count: of images, at most.

    Returns:
        (N, H, W, 3) float32 BGR, 0 to 255: the whole of each image, and, where it is more than twice as large as the
        view, also its middle at its own resolution, as tiles show it.

    Raises:
        DataError: no images, or one that cannot be read.
    """
    found = find_images(folder)
    viewer = Viewer(Canvas(WHOLE, view))
    views = []
    for number in np.unique(np.linspace(0, len(found) - 1, count).round().astype(int)):
        frame = read_image(found[number])
        views.append(viewer(frame))
        room = [have - want for have, want in zip(frame.shape[:2], view.size, strict=True)]
        large = any(have > 2 * want for have, want in zip(frame.shape[:2], view.resize, strict=True))
        if large and min(room) >= 0 and not view.cropped:
            top, left = room[0] // 2, room[1] // 2
            views.append(viewer(frame[top : top + view.size[0], left : left + view.size[1]]))
    return np.concatenate(views)
