"""Whether cells are matched at their place or at any place, chosen from the good images alone.

Where parts always lie alike, good images are as near to each other at their own place as anywhere, and a defect is
often something that would be good elsewhere: a lead in the wrong hole, a part that is turned. Where the place means
nothing, as in a texture, good images become strangers to each other if each cell may look around its own place only.
So some good images are matched with each other both ways, and the rise of their mean distance decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.progress import Progress
from spade_edge.runtime.bundle.place_choice import PlaceChoice
from spade_edge.runtime.matching.config import AUTO, CODES, EXACT, PER_VIEW, Matching
from spade_edge.runtime.matching.gallery import CodedGallery, Features
from spade_edge.runtime.matching.graph_search import GraphSearch
from spade_edge.runtime.matching.hnsw import Index
from spade_edge.runtime.matching.matcher import Matcher

NEAR = 1  # cells around the own place: with four positions a cell, a part may wander by a fourteenth of the view
MOST_RISE = 1.02  # measured in docs/architecture.md: parts that lie alike rise by up to .008, a fine texture by .13
COMPARED = 48  # good images at most, evenly spaced; their keys are few enough to compare all of them
FEWEST = 5  # different parts; with fewer, the place of a part is hardly known
CANDIDATES = 6  # by place; 12 find nothing nearer, because few cells of a part are like another


@dataclass(frozen=True)
class Placed:
    """How cells are matched, and why.

    Attributes:
        matching: with the place, and the search that goes with it.
        choice: why.
    """

    matching: Matching
    choice: PlaceChoice


def check_place(matching: Matching, wanted: str | int, *, views: int) -> None:
    """Refuse a place that cannot be, before the work.

    Raises:
        UsageError: a number of cells for views that share a gallery.
    """
    if isinstance(wanted, int):
        matching.placed(wanted).check_views(views)


def choose_place(
    gallery: Features,
    keys: NDArray[np.uint8] | None,
    matching: Matching,
    *,
    wanted: str | int,
    included: NDArray[np.bool_],
    groups: Sequence[int],
    threads: int | None,
    progress: Progress,
) -> Placed:
    """Choose the place, or take the one that is wanted.

    Args:
        gallery: the good images.
        keys: (items * cells, D) uint8, the keys of its cells; None without codes.
        matching: how else cells are matched.
        wanted: AUTO, FREE or a number of cells.
        included: (N,) bool, the good images that count.
        groups: for each image, the number of the part that it shows.
        threads: of the matching; None for one per core.
        progress: wraps the images that are compared, with a label.

    Raises:
        UsageError: a place for views that share a gallery.
    """
    if wanted != AUTO:
        place = None if isinstance(wanted, str) else wanted
        matching = matching.placed(place)
        matching.check_views(gallery.views)
        return Placed(matching, PlaceChoice(False, None, None, 0, f"{_words(place)}, as asked for"))
    if without := _not_measured(gallery, matching, included, groups):
        return Placed(matching.placed(None), PlaceChoice(True, None, None, 0, f"{_words(None)}: {without}"))
    assert isinstance(gallery, CodedGallery) and keys is not None  # noqa: S101  (the search is not exact)
    rise, images = _rise(gallery, keys, matching, included=included, groups=groups, threads=threads, progress=progress)
    by_place = rise <= MOST_RISE
    place = NEAR if by_place else None
    apart = max(0.0, rise - 1)
    reason = (
        f"{_words(place)}: good images are {apart:.1%} farther from each other there than at any place; up to "
        f"{MOST_RISE - 1:.0%} means that parts lie alike"
    )
    placed = matching.placed(place)
    if by_place and matching.candidates == Matching().candidates:
        placed = replace(placed, candidates=CANDIDATES)
    return Placed(placed, PlaceChoice(True, rise, MOST_RISE, images, reason))


def _words(place: int | None) -> str:
    if place is None:
        return "cells are matched at any place"
    return f"cells are matched at most {place} cell{'' if place == 1 else 's'} from their place"


def _not_measured(gallery: Features, matching: Matching, included: NDArray[np.bool_], groups: Sequence[int]) -> str:
    """Why it is not worth measuring or cannot be; empty if it is."""
    if matching.projection != CODES or matching.search == EXACT:
        return "exact search looks everywhere unless --place N is given"
    if gallery.views > 1 and matching.gallery != PER_VIEW:
        return f"{gallery.views} views of a frame share the gallery"
    parts = len({group for group, kept in zip(groups, included, strict=True) if kept})
    if parts < FEWEST:
        return f"images of {parts} different parts do not show where parts lie, {FEWEST} would"
    return ""


def _rise(
    gallery: CodedGallery,
    keys: NDArray[np.uint8],
    matching: Matching,
    *,
    included: NDArray[np.bool_],
    groups: Sequence[int],
    threads: int | None,
    progress: Progress,
) -> tuple[float, int]:
    """The rise of the mean distance, in the middle view, and the number of images that were compared."""
    kept = np.flatnonzero(included)
    images = kept[np.unique(np.linspace(0, len(kept) - 1, COMPARED).round().astype(int))]
    items = gallery.views // 2 * len(gallery) + images
    cells = gallery.cells_per_item
    own_cells = (items[:, np.newaxis] * cells + np.arange(cells)).ravel()
    sample = CodedGallery(
        card=gallery.card,
        levels=tuple(np.asarray(level[items]) for level in gallery.levels),
        descriptors=gallery.descriptors[items],
        names=tuple(gallery.names[image] for image in images),
        coding=gallery.coding,
        squares=gallery.squares[own_cells],
    )
    own = keys[own_cells]
    near = Matcher(sample, matching.placed(NEAR), keys=own, threads=threads)
    free = Matcher(sample, matching.placed(None), searches=[_every(own, threads)], threads=threads)
    parts = np.array([groups[image] for image in images])
    total = np.zeros(2)
    for number in progress(range(len(images)), "where parts lie"):
        allowed = parts != parts[number]
        if not allowed.any():
            continue
        for way, matcher in enumerate((near, free)):
            found = matcher.match_item(number, view=0, allowed=allowed)
            total[way] += float(found.distances.mean(dtype=np.float64))
    return (float(total[0] / total[1]) if total[1] > 0 else 1.0), len(images)


def _every(keys: NDArray[np.uint8], threads: int | None) -> GraphSearch:
    """A search that compares with every key, so that no graph is needed."""
    count = len(keys)
    index = Index(
        keys=keys, labels=np.arange(count), links=np.full((count, 1), count, np.int32), seeds=np.zeros(1, np.int64)
    )
    return GraphSearch(index, threads=threads, exhaustive=count)
