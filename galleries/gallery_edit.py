"""Images join the gallery of a bundle, and leave it: its arrays are written anew, without running the network again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.disk import open_reserved
from spade_edge.galleries.left_out import UNLIMITED, Former, LeftOut, read_left_out
from spade_edge.galleries.staging import Staging
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.good_image import GoodImage
from spade_edge.runtime.matching.gallery import CodedGallery, Features, Gallery

IMAGES = 64  # that are copied together


@dataclass(frozen=True)
class Joining:
    """Images that join a gallery, with what the gallery keeps of each; views lie together, view by view.

    Attributes:
        images: them, not scored yet.
        levels: per level, (views * X, …), as the gallery has them.
        descriptors: (views * X, C) float32.
        squares: (views * X, …) float32, squared lengths of the embeddings of each item, as the gallery has them.
        keys: (views * X * cells, D) uint8; None without codes.
        thumbnails: (views * X, h, w, 3) uint8 BGR.
    """

    images: tuple[GoodImage, ...]
    levels: tuple[NDArray[Any], ...]
    descriptors: NDArray[np.float32]
    squares: NDArray[np.float32]
    keys: NDArray[np.uint8] | None
    thumbnails: NDArray[np.uint8]


@dataclass(frozen=True)
class EditedGallery:
    """A gallery after images have joined or left.

    Attributes:
        images: the good images, not scored anew yet.
        gallery: their features.
        keys: (items * cells, D) uint8, the keys of all cells; None without codes.
        thumbnails: (items, h, w, 3) uint8 BGR.
        former: the leave-one-out distances before; None if they are not kept.
    """

    images: tuple[GoodImage, ...]
    gallery: Features
    keys: NDArray[np.uint8] | None
    thumbnails: NDArray[np.uint8]
    former: Former | None

    @property
    def counts(self) -> NDArray[np.bool_]:
        """(N,) bool, the images that something is learned from."""
        return np.array([image.counts for image in self.images], bool)

    @property
    def selected(self) -> NDArray[np.bool_]:
        """(N,) bool, the others that frames are matched with, which were taught in because of their verdict."""
        return np.array([image.included and image.selected for image in self.images], bool)


def unedited(opened: Bundle, images: Sequence[GoodImage], keys: NDArray[np.uint8] | None) -> EditedGallery:
    """The gallery of a bundle as it is.

    Args:
        opened: the bundle.
        images: its images; which of them are included may have changed.
        keys: of all its cells.
    """
    left_out = read_left_out(opened)
    former = None
    if left_out is not None and keys is not None:
        views, cells = opened.gallery.views, opened.gallery.cells_per_item
        nothing = np.empty((views, 0, cells, keys.shape[1]), np.uint8)
        former = Former(left_out, new=np.zeros(len(images), bool), gone=nothing)
    return EditedGallery(tuple(images), opened.gallery, keys, opened.thumbnails, former)


def edited(
    stage: Staging,
    opened: Bundle,
    keys: NDArray[np.uint8] | None,
    *,
    kept: NDArray[np.bool_],
    joining: Joining | None,
) -> EditedGallery:
    """Write the arrays of a bundle without some images, and with some new ones behind the others.

    Args:
        stage: the new generation.
        opened: the bundle as it is.
        keys: (items * cells, D) uint8, the keys of all its cells; None without codes.
        kept: (N,) bool, the images that stay.
        joining: the images that join; None for none.
    """
    before, views = opened.gallery, opened.gallery.views
    roles = [level.output for level in before.card.levels]
    assert isinstance(before, (Gallery, CodedGallery))  # noqa: S101  (there are no others)
    arrays: dict[str, tuple[NDArray[Any], NDArray[Any] | None]] = {
        "descriptors": (before.descriptors, None if joining is None else joining.descriptors),
        "squares": (before.squares, None if joining is None else joining.squares),
        "thumbnails": (opened.thumbnails, None if joining is None else joining.thumbnails),
    }
    for number, role in enumerate(roles):
        arrays[role] = before.levels[number], None if joining is None else joining.levels[number]
    mapped = {}
    for role, (old, new) in arrays.items():
        path = stage.scratch(f"{role}.npy")
        _write(path, old, new, kept=kept, views=views)
        mapped[role] = np.load(stage.add(role, path), mmap_mode="r", allow_pickle=False)
    images = tuple(image for image, stays in zip(opened.manifest.images, kept, strict=True) if stays)
    if joining is not None:
        images += joining.images
    gallery = replace(
        before,
        levels=tuple(mapped[role] for role in roles),
        descriptors=np.asarray(mapped["descriptors"]),
        names=tuple(image.name for image in images),
        squares=mapped["squares"],
    )
    together = None
    if keys is not None:
        together = _together(keys, None if joining is None else joining.keys, kept=kept, views=views)
    former = _former(opened, keys, kept=kept, joining=len(images) - int(kept.sum()))
    return EditedGallery(images, gallery, together, mapped["thumbnails"], former)


def _former(opened: Bundle, keys: NDArray[np.uint8] | None, *, kept: NDArray[np.bool_], joining: int) -> Former | None:
    """The leave-one-out distances of the images that stay, with room for those that join."""
    known = read_left_out(opened)
    if known is None or keys is None:
        return None
    views, cells = opened.gallery.views, opened.gallery.cells_per_item
    new = views * joining * cells
    distances = np.zeros((new, known.distances.shape[1]), np.float32)
    reach = np.full(new, UNLIMITED, np.int32)
    by_image = keys.reshape(views, len(kept), cells, -1)
    return Former(
        left_out=LeftOut(
            distances=_together(known.distances, distances, kept=kept, views=views),
            reach=_together(known.reach, reach, kept=kept, views=views),
            included=np.append(known.included[kept], np.zeros(joining, bool)),
        ),
        new=np.append(np.zeros(int(kept.sum()), bool), np.ones(joining, bool)),
        gone=by_image[:, ~kept & known.included],
    )


def _together(old: NDArray[Any], new: NDArray[Any] | None, *, kept: NDArray[np.bool_], views: int) -> NDArray[Any]:
    """The rows of the images that stay and, behind them in each view, those of the images that join."""
    rows = [np.concatenate(list(_blocks(old, new, view, kept=kept, views=views))) for view in range(views)]
    return np.concatenate(rows)


def _write(path: Path, old: NDArray[Any], new: NDArray[Any] | None, *, kept: NDArray[np.bool_], views: int) -> None:
    """The same, into a file whose disk space is reserved at once, some images at a time."""
    stay = len(old) // len(kept) * int(kept.sum())
    written = open_reserved(path, old.dtype.type, (stay + (0 if new is None else len(new)), *old.shape[1:]))
    at = 0
    for view in range(views):
        for block in _blocks(old, new, view, kept=kept, views=views):
            written[at : at + len(block)] = block
            at += len(block)
    written.flush()  # type: ignore[attr-defined]


def _blocks(
    old: NDArray[Any], new: NDArray[Any] | None, view: int, *, kept: NDArray[np.bool_], views: int
) -> Iterator[NDArray[Any]]:
    """Rows of a view: those of the images that stay, then those of the images that join."""
    of_view = np.split(old, views)[view]
    each = len(of_view) // len(kept)  # rows of an image
    for start in range(0, len(kept), IMAGES):
        some = kept[start : start + IMAGES]
        rows = of_view[start * each : (start + len(some)) * each]
        yield rows if some.all() else rows[np.repeat(some, each)]
    if new is not None:
        yield np.split(new, views)[view]
