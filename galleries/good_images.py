"""Reading the good images: each is read once, before the long work, so that all bad ones are named at the start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.bits import Bits
from spade_edge.galleries.grouping import parts_of
from spade_edge.galleries.images import file_of, name_of
from spade_edge.galleries.plan import THUMBNAIL, Plan
from spade_edge.galleries.progress import Progress
from spade_edge.galleries.requirements import check_content, check_count
from spade_edge.galleries.sameness import Shape, check_alike
from spade_edge.galleries.staging import Staging
from spade_edge.runtime import DataError, FrameError
from spade_edge.runtime.bundle.good_image import Exclusion, GoodImage, unscored
from spade_edge.runtime.geometry.resample import resample, resampling_weights
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.preprocessing.condition import Condition
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor


@dataclass(frozen=True)
class GoodImages:
    """The images that could be read.

    Attributes:
        names: relative to their folder.
        paths: of the images.
        skipped: what is wrong with each of the others.
        first: the first image that is not excluded, (H, W, 3) or (H, W) uint8.
        views: a file without a header, (N, views, H, W, 3) float32 BGR, 0 to 255.
        groups: for each image, the number of the part that it shows.
        conditions: exposure, contrast, focus and colour of each image.
        shapes: name, size, depth and colour of each image.
        bits: that the camera uses of 16; None for all, or where no image has 16.
        thumbnails: (views * N, h, w, 3) uint8 BGR, the reduced views, view by view.
        remarks: what a user should know about them, a line each.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    skipped: tuple[str, ...]
    first: NDArray[np.uint8]
    views: Path
    groups: tuple[int, ...]
    conditions: tuple[Condition, ...]
    shapes: tuple[Shape, ...]
    bits: int | None
    thumbnails: NDArray[np.uint8]
    remarks: tuple[str, ...]

    def images(self, exclusions: Sequence[Exclusion | None]) -> tuple[GoodImage, ...]:
        """What a bundle keeps of each, before it is scored."""
        return tuple(
            unscored(name, group=group, condition=condition, size=shape.size, depth=shape.depth, exclusion=exclusion)
            for name, group, condition, shape, exclusion in zip(
                self.names, self.groups, self.conditions, self.shapes, exclusions, strict=True
            )
        )


def read_good_images(
    stage: Staging,
    plan: Plan,
    preprocessor: Preprocessor,
    folder: Path,
    *,
    groups: str | None,
    exclude: Sequence[str],
    skip_bad: bool,
    bits: int | None,
    even_so: bool,
    progress: Progress,
) -> GoodImages:
    """Read the images of a plan. Their views stay in the staging folder, their thumbnails become part of the bundle.

    Args:
        stage: the bundle.
        plan: of the build.
        preprocessor: turns images into views.
        folder: of the images.
        groups: which images show the same part; None to find repeats.
        exclude: names of images that are read, but not used.
        skip_bad: leave out images that cannot be read.
        bits: that the camera uses of 16; None to find them.
        even_so: accept images of different kinds.
        progress: wraps the items of each long loop, with its label.

    Raises:
        UsageError, DeviceError: as for `parts_of`.
        DataError: an image that cannot be read, is not to be skipped and has not been deleted meanwhile, fewer than
            two that can, images of different kinds, or images without content.
    """
    names: list[str] = []
    paths: list[Path] = []
    complaints: list[str] = []
    gone: list[str] = []
    first: NDArray[np.uint8] | None = None
    conditions: list[Condition] = []
    shapes: list[Shape] = []
    turned = 0
    camera = Bits(bits)
    thumbnails: list[list[NDArray[np.uint8]]] = []
    shrink = Thumbnails(plan.card.view)
    path_of_views = stage.scratch("views")
    with path_of_views.open("wb") as file:
        for path in progress(plan.images, "reading images"):
            name = name_of(path, folder)
            try:
                picture = camera.read(path)
                views = preprocessor(picture.frame)
            except DataError as problem:
                (complaints if os.path.lexists(file_of(path)) else gone).append(str(problem))
                continue
            except FrameError as problem:
                complaints.append(f"{path}: {problem}")
                continue
            views.tofile(file)
            condition = Condition.of(views, preprocessor.painted)
            conditions.append(condition)
            height, width = picture.frame.shape[:2]
            shapes.append(Shape(name, (height, width), picture.depth, condition.colour))
            turned += picture.turned
            thumbnails.append([shrink(view) for view in views])
            names.append(name)
            paths.append(path)
            if first is None and name not in exclude:
                first = picture.frame
    if complaints and not skip_bad:
        raise DataError(f"{_first(complaints, len(plan.images))}; fix or remove, or leave out with --skip-bad")
    check_count(folder, len(names))
    used = [i for i, name in enumerate(names) if name not in exclude]
    remarks = [camera.check(folder), *check_alike(folder, [shapes[i] for i in used], even_so=even_so)]
    if turned:
        remarks.append(f"{turned} of {len(names)} good images were turned as their Exif data say")
    if preprocessor.painted is None or not preprocessor.painted.all():  # else the mask is refused later
        check_content(folder, [conditions[i] for i in used])
    by_view = np.array(thumbnails).swapaxes(0, 1)  # (N, views, …) -> (views, N, …)
    items = by_view.reshape(-1, *by_view.shape[2:])
    stage.add_array("thumbnails", items)
    shape = (len(names), by_view.shape[0], *plan.card.view.size, 3)
    views = np.memmap(path_of_views, np.float32, "r", shape=shape)
    return GoodImages(
        names=tuple(names),
        paths=tuple(paths),
        skipped=(*gone, *complaints),
        first=np.zeros((0, 0), np.uint8) if first is None else first,  # too few images, which is refused later
        views=path_of_views,
        groups=parts_of(views, names, groups, folder=folder, progress=progress),
        conditions=tuple(conditions),
        shapes=tuple(shapes),
        bits=camera.used,
        thumbnails=items,
        remarks=tuple(filter(None, remarks)),
    )


def _first(complaints: Sequence[str], images: int) -> str:
    more = f" (and {len(complaints) - 1} more of {images})" if len(complaints) > 1 else ""
    return complaints[0] + more


class Thumbnails:
    """Shrinks views, (H, W, 3) float32, to thumbnails, (H / 2, W / 2, 3) uint8."""

    def __init__(self, view: View) -> None:
        self._rows, self._columns = (resampling_weights(side, side // THUMBNAIL) for side in view.size)

    def __call__(self, view: NDArray[np.float32]) -> NDArray[np.uint8]:
        return np.rint(resample(view, rows=self._rows, columns=self._columns)).astype(np.uint8)
