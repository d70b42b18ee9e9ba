"""Pictures of good images for a page: the image, and its leave-one-out map over it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import read_image
from spade_edge.galleries.leave_one_out import anomaly_map
from spade_edge.runtime.anomaly_map.regions import blobs
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.errors import DataError, FrameError
from spade_edge.runtime.matching.config import EXACT
from spade_edge.runtime.result import Region
from spade_edge.tools.drawing.good_image import good_image
from spade_edge.tools.drawing.overlay import in_colour, map_over
from spade_edge.tools.drawing.picture_size import LONGEST, shrink

LARGE = 480  # pixels of the longer side of a picture from an image file
STRIP = 3  # a strip, `WIDE` times wider than high or more, may be so many times longer
WIDE = 2

Extent = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class GoodPicture:
    """A good image, drawn.

    Attributes:
        plain: (h, w, 3) uint8 BGR, the image.
        mapped: (h, w, 3) uint8 BGR, with the map over it; None without a map.
        peak: largest value of the map; None without a map.
    """

    plain: NDArray[np.uint8]
    mapped: NDArray[np.uint8] | None = None
    peak: float | None = None


class GoodPictures:
    """Draws good images of a bundle. The network does not run.

    Args:
        bundle: the bundle.
        images: the folder that it was built from, for sharper pictures; None for the bundle's thumbnails.
        pixel_threshold: what the colours and the contour of the maps refer to.
        threads: of the matching; None for one per core.

    Attributes:
        slow: whether a map takes seconds.
        missing: names of the images drawn from the bundle because the folder does not have them as they were.

    Raises:
        DataError: none of the images is in the folder.
    """

    def __init__(self, bundle: Bundle, *, images: Path | None, pixel_threshold: float, threads: int | None) -> None:
        manifest = bundle.manifest
        if images is not None and not any((images / name).is_file() for name in manifest.names):
            raise DataError(
                f"{images}: expected the folder that {bundle.path} was built from, found none of its good images there"
            )
        self._bundle, self._images, self._limit = bundle, images, pixel_threshold
        self._matcher = bundle.matcher(threads=threads)
        self._stitching = Stitching(
            manifest.canvas, bundle.gallery.grid, sigma=manifest.matching.sigma, mask=bundle.mask, threads=threads
        )
        self.slow = self._matcher.matching.search == EXACT
        self.missing: list[str] = []

    def plain(self, image: int) -> GoodPicture:
        """A good image, by its number, without a map."""
        return GoodPicture(self._drawn(image)[0])

    def mapped(self, image: int, *, allowed: NDArray[np.bool_]) -> GoodPicture:
        """A good image and its map, matched with the allowed images, (N,) bool, only."""
        picture, extent = self._drawn(image)
        heatmap = anomaly_map(self._matcher, self._stitching, image, allowed=allowed)
        over = map_over(
            picture,
            heatmap,
            extent=extent,
            looked_at=self._stitching.kept,
            regions=_regions(heatmap, extent, self._limit),
            pixel_threshold=self._limit,
        )
        return GoodPicture(picture, over, float(heatmap.max()))

    def _drawn(self, image: int) -> tuple[NDArray[np.uint8], Extent]:
        """The picture, and the area that the map covers, in its pixels."""
        canvas = self._bundle.manifest.canvas
        if self._images is not None:
            name = self._bundle.manifest.names[image]
            try:
                frame = read_image(self._images / name, bits=self._bundle.manifest.format.bits)
                canvas.layout.check(frame.shape)
            except (DataError, FrameError):
                self.missing.append(name)
            else:
                height, width = frame.shape[:2]
                small = in_colour(shrink(frame, longest=longest_side(height, width, usual=LARGE)))
                return small, canvas.extent((small.shape[0], small.shape[1]))
        *_, width, height = canvas.field
        longest = longest_side(height, width, usual=LONGEST)
        picture = _enlarged(good_image(self._bundle, image, longest=longest), longest=longest)
        return picture, (0.0, 0.0, float(picture.shape[1]), float(picture.shape[0]))


def longest_side(height: int, width: int, *, usual: int) -> int:
    """Pixels of the longer side of a picture of something so high and wide; a strip is drawn longer."""
    return STRIP * usual if width >= WIDE * height else usual


def _enlarged(picture: NDArray[np.uint8], *, longest: int) -> NDArray[np.uint8]:
    """As large as on the page, so that a map over it is smooth."""
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _regions(heatmap: NDArray[np.float32], extent: Extent, limit: float) -> list[Region]:
    """The parts of the map over the limit, in pixels of the picture."""
    left, top, wide, high = extent
    across, down = wide / heatmap.shape[1], high / heatmap.shape[0]
    regions = []
    for blob in blobs(heatmap, limit):
        x, y, width, height = blob.box
        regions.append(
            Region(
                x=round(left + x * across),
                y=round(top + y * down),
                width=max(1, round(width * across)),
                height=max(1, round(height * down)),
                score=blob.score,
                mean=blob.mean,
                area=blob.area * across * down,
            )
        )
    return regions
