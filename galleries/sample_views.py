"""A sample of views of good images, e.g. to calibrate INT8 before there is a gallery."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.bits import sample_bits
from spade_edge.galleries.images import find_images, read_image, read_picture
from spade_edge.runtime import DataError, UsageError
from spade_edge.runtime.geometry.layout import WHOLE, Canvas
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor

COUNT = 16
STEPS = 0.7548776662466927, 0.5698402909980532  # powers of the plastic number: the R2 low-discrepancy sequence


def sample_views(
    folder: Path,
    view: View,
    *,
    tile: tuple[int, int] | None = None,
    count: int = COUNT,
    follow_links: bool = False,
) -> NDArray[np.float32]:
    """Read some of the images of a folder, evenly spaced, as views.

    Args:
        folder: of images, with its subfolders.
        view: how a frame becomes the network's input.
        tile: (height, width) of the part that is taken from each image, at a different place in each; None for the
            whole image.
        count: of images, at most.
        follow_links: whether links to folders are followed, as for a build.

    Returns:
        (N, H, W, 3) float32 BGR, 0 to 255, one for each image.

    Raises:
        DataError: there are no images, or one cannot be read or is smaller than the tile.
        UsageError: a tile with a view that crops.
    """
    if tile is not None and view.cropped:
        raise UsageError("expected a model that sees all of a tile, found --resize and --crop; use --input instead")
    found = find_images(folder, follow_links=follow_links)
    preprocessor = Preprocessor(Canvas(WHOLE, view))
    views: list[NDArray[np.float32]] = []
    chosen = [found[number] for number in np.unique(np.linspace(0, len(found) - 1, count).round().astype(int))]
    bits = sample_bits(map(read_picture, chosen))  # as a build finds them
    for path in chosen:
        frame = read_image(path, bits=bits)
        if tile is not None:
            frame = _part(frame, tile, len(views), path=path)
        views.append(preprocessor(frame))
    return np.concatenate(views)


def _part(frame: NDArray[np.uint8], tile: tuple[int, int], number: int, *, path: Path) -> NDArray[np.uint8]:
    """A tile of a frame; tiles of consecutive numbers lie far apart and cover the frame evenly."""
    room = [have - want for have, want in zip(frame.shape[:2], tile, strict=True)]
    if min(room) < 0:
        raise DataError(
            f"{path}: expected an image of at least {tile[1]}x{tile[0]}, the size of the tiles, found "
            f"{frame.shape[1]}x{frame.shape[0]}"
        )
    top, left = (round(free * ((0.5 + number * step) % 1)) for free, step in zip(room, STEPS, strict=True))
    return frame[top : top + tile[0], left : left + tile[1]]
