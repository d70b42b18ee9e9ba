"""Leave-one-out distances of the good images, and what a change of the gallery changes in them.

A cell's distances depend on its T candidates alone: the cells of other parts with the nearest keys. So when images join
or leave, only cells change that have a cell of such an image at least as near as their last candidate. These are
matched again, and everything else stays, bit for bit. What is kept for this is small: the distances, and for each cell
how far its last candidate is, together 13 KB for a view of 224x224.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.progress import Progress
from spade_edge.galleries.staging import Staging
from spade_edge.runtime import BundleError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.matching.config import CODES, EXACT, FROM_MAP, PER_VIEW, PLACE, Matching
from spade_edge.runtime.matching.distances import CellMatches
from spade_edge.runtime.matching.entries import squares_of_keys
from spade_edge.runtime.matching.gallery import Features
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.matching.place_search import around
from spade_edge.runtime.network.pyramid import by_cell, from_cells

UNLIMITED = np.iinfo(np.int32).max  # the reach of a cell with fewer candidates than T: any cell may become one
MANY = 4  # if more than one image in so many changes, most cells change, and all are matched again
PORTION = 2048  # cells that are matched between two steps of the progress
BLOCK = 1 << 22  # distances of keys that are held at a time


@dataclass(frozen=True)
class LeftOut:
    """Distances of every good image to the other parts.

    Attributes:
        distances: (items * cells, side * side) float32, Eq. 3 at each position of each cell.
        reach: (items * cells,) int32, the squared distance of the keys of each cell and its last candidate.
        included: (N,) bool, the images that were matched with: those that count.
    """

    distances: NDArray[np.float32]
    reach: NDArray[np.int32]
    included: NDArray[np.bool_]

    def of_image(self, image: int, gallery: Features) -> list[NDArray[np.float32]]:
        """The distances of the views of an image, (h, w) float32 each."""
        by_item = self.distances.reshape(len(gallery.descriptors), gallery.cells_per_item, -1)
        return [from_cells(own, gallery.side, gallery.grid) for own in by_item[image :: len(gallery)]]


def can_be_kept(matching: Matching) -> bool:
    """Whether distances depend on candidates alone, each on its own cell's, and scores on every image's distances."""
    return (
        matching.projection == CODES
        and matching.search != EXACT
        and matching.kappa == 1
        and matching.neighbours is None
        and matching.image_score == FROM_MAP
    )


def leave_out(
    matcher: Matcher,
    keys: NDArray[np.uint8],
    *,
    groups: Sequence[int],
    included: NDArray[np.bool_],
    progress: Progress,
    label: str = "leave-one-out",
) -> LeftOut:
    """Match every good image with the other parts.

    Args:
        matcher: of the gallery, see `can_be_kept`.
        keys: (items * cells, D) uint8, the keys of all cells.
        groups: for each image, the number of the part that it shows.
        included: (N,) bool, the images that may be matched with.
        progress: wraps the images still to do, with the label.
        label: of this work.
    """
    gallery, allowed = matcher.gallery, _allowed(groups, included)
    count, each = len(gallery), gallery.cells_per_item
    distances = np.empty((len(gallery.descriptors) * each, gallery.side**2), np.float32)
    reach = np.empty(len(gallery.descriptors) * each, np.int32)
    for image in progress(range(count), label):
        for item in range(image, len(gallery.descriptors), count):
            matches = matcher.match_item(item, view=item // count, allowed=allowed[image])
            assert isinstance(matches, CellMatches)  # noqa: S101  (see can_be_kept)
            own = slice(item * each, (item + 1) * each)
            distances[own] = by_cell(matches.distances[:, :, np.newaxis], gallery.side)[:, :, 0]
            reach[own] = _reach(keys, np.arange(own.start, own.stop), matches.candidates)
    return LeftOut(distances=distances, reach=reach, included=included)


def changed(
    former: LeftOut,
    matcher: Matcher,
    keys: NDArray[np.uint8],
    *,
    groups: Sequence[int],
    included: NDArray[np.bool_],
    new: NDArray[np.bool_] | None = None,
    gone: NDArray[np.uint8] | None = None,
    progress: Progress,
    label: str = "leave-one-out",
) -> LeftOut:
    """The same after images have joined or left.

    Args:
        former: as it was, with an entry for each image of the gallery as it is; whatever for new ones.
        matcher: of the gallery as it is.
        keys: (items * cells, D) uint8, the keys of all cells of the gallery as it is.
        groups: for each image, the number of the part that it shows.
        included: (N,) bool, the images that may be matched with now.
        new: (N,) bool, images that were not in the gallery; None for none.
        gone: (views, X, cells, D) uint8, the keys of images that are no longer in the gallery, but were included.
        progress: wraps the work still to do, with the label.
        label: of this work.
    """
    gallery = matcher.gallery
    count, each, views = len(gallery), gallery.cells_per_item, gallery.views
    fresh = np.zeros(count, bool) if new is None else new
    by_image = keys.reshape(views, count, each, -1)
    other = by_image[:, (included != former.included) & ~fresh | fresh & included]
    if gone is not None:
        other = np.concatenate([other, gone], axis=1)
    if other.shape[1] * MANY > count:
        return leave_out(matcher, keys, groups=groups, included=included, progress=progress, label=label)
    nearer = np.zeros((views, count, each), bool)
    for view in range(views):
        pool = slice(view, view + 1) if matcher.matching.gallery == PER_VIEW else slice(0, views)
        apart = _nearest(matcher, by_image[view], other[pool])
        nearer[view] = apart <= former.reach.reshape(views, count, each)[view]
    nearer[:, fresh] = True
    cells = np.flatnonzero(nearer)
    candidates = matcher.candidates_of_cells(cells, keys, allowed=_allowed(groups, included))
    reach = former.reach.copy()
    reach[cells] = _reach(keys, cells, candidates)
    distances = former.distances.copy()
    for some in progress(np.array_split(np.arange(len(cells)), max(1, len(cells) // PORTION)), label):
        distances[cells[some]] = matcher.distances_of_cells(cells[some], candidates[some])
    return LeftOut(distances=distances, reach=reach, included=included)


@dataclass(frozen=True)
class Former:
    """The distances of a gallery before it was changed.

    Attributes:
        left_out: with an entry for each image of the gallery as it is now; whatever for new ones.
        new: (N,) bool, the images that were not in it.
        gone: (views, X, cells, D) uint8, the keys of images that are no longer in it.
    """

    left_out: LeftOut
    new: NDArray[np.bool_]
    gone: NDArray[np.uint8]

    def now(
        self,
        matcher: Matcher,
        keys: NDArray[np.uint8],
        *,
        groups: Sequence[int],
        included: NDArray[np.bool_],
        progress: Progress,
    ) -> LeftOut:
        """The distances of the gallery as it is now; see `changed`."""
        return changed(
            self.left_out,
            matcher,
            keys,
            groups=groups,
            included=included,
            new=self.new,
            gone=self.gone,
            progress=progress,
        )


def add_left_out(stage: Staging, left_out: LeftOut | None) -> None:
    """Add the distances to a bundle, for the next change of its gallery."""
    if left_out is not None:
        stage.add_array("left_out", left_out.distances)
        stage.add_array("reach", left_out.reach)


def read_left_out(opened: Bundle) -> LeftOut | None:
    """The distances of a bundle; None if it has none.

    Raises:
        BundleError: they are not those of its gallery.
    """
    distances, reach = opened.left_out, opened.reach
    if distances is None or reach is None:
        return None
    if not (np.isfinite(distances).all() and distances.min() >= 0 and reach.min() >= 0):
        name = opened.manifest.files["left_out"].name
        raise BundleError(
            f"{opened.path / name}: expected finite distances of 0 and more, found others; copy the bundle again or "
            "rebuild it"
        )
    return LeftOut(distances=distances, reach=reach, included=opened.manifest.counts)


def _allowed(groups: Sequence[int], included: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N, N) bool: which images each may be matched with."""
    parts = np.array(groups)
    return np.asarray(included & (parts[:, np.newaxis] != parts))


def _reach(keys: NDArray[np.uint8], cells: NDArray[np.int64], candidates: NDArray[np.int64]) -> NDArray[np.int32]:
    """How far the last candidate of each cell is."""
    last = candidates[:, -1]
    apart = keys[cells].astype(np.int32) - keys[last]
    return np.where(last >= 0, np.einsum("md,md->m", apart, apart), UNLIMITED).astype(np.int32)


def _nearest(matcher: Matcher, own: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The squared distance of the nearest key of other images that a cell may match.

    Args:
        matcher: whose search it is.
        own: (N, cells, D) uint8, the keys of the images in one view.
        other: (views, X, cells, D) uint8.

    Returns:
        (N, cells).
    """
    each, dimensions = own.shape[1:]
    if not other.size:
        return np.full(own.shape[:2], np.iinfo(np.int64).max)
    if matcher.matching.search == PLACE:
        assert matcher.matching.place is not None  # noqa: S101
        nearby, there = around(matcher.gallery.card.grid(matcher.gallery.card.levels[-1]), matcher.matching.place)
        found = np.empty(own.shape[:2], np.int64)
        for cell in range(each):
            known = other[:, :, nearby[cell][there[cell]]].reshape(-1, dimensions)
            found[:, cell] = _least(own[:, cell], known)
        return found
    return _least(own.reshape(-1, dimensions), other.reshape(-1, dimensions)).reshape(own.shape[:2])


def _least(queries: NDArray[np.uint8], known: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The squared distance of each query from the nearest of some keys; products below 2^24 are exact in float32."""
    right, lengths = known.astype(np.float32).T, squares_of_keys(known).astype(np.float32)
    least = np.empty(len(queries), np.int64)
    rows = max(1, BLOCK // len(known))
    for start in range(0, len(queries), rows):
        some = queries[start : start + rows].astype(np.float32)
        least[start : start + rows] = (lengths - 2 * (some @ right)).min(axis=1)
    return least + squares_of_keys(queries)
