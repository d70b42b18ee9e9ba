"""What matching a frame costs in arithmetic and memory access."""

from __future__ import annotations

from dataclasses import dataclass

from spade_edge.runtime import Scorer
from spade_edge.runtime.matching.coding import windows
from spade_edge.runtime.matching.config import HNSW, PLACE
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.runtime.matching.graph_search import BEAM, EXHAUSTIVE, REVISED
from spade_edge.runtime.matching.hnsw import Index


@dataclass(frozen=True)
class MatchingCost:
    """The cost of matching a frame, counted and not timed, so that the time on another machine can be estimated.

    Attributes:
        byte_products: multiplications of two 8-bit numbers, in millions.
        float_products: multiplications of two float32 numbers, in millions.
        gathered: megabytes read from the gallery in random access, a few hundred to a few thousand bytes at a time.
        keys_gathered: megabytes of keys read: by the graph search, 64 bytes at a time, an estimate; by place, the keys
            of all images in sequence.
    """

    byte_products: float
    float_products: float
    gathered: float
    keys_gathered: float


def matching_cost(scorer: Scorer) -> MatchingCost | None:
    """The cost of matching a frame, summed over its views; None for exact search."""
    gallery, matching, indexes = scorer.matcher.gallery, scorer.matcher.matching, scorer.bundle.indexes
    if not isinstance(gallery, CodedGallery):
        return None
    if matching.search == PLACE and matching.place is not None:
        compared, opened = _by_place(gallery, matching.place)
    elif matching.search == HNSW and indexes:
        compared, opened = _by_graph(gallery, indexes[0])
    else:
        return None
    cells, places = gallery.cells_per_item * gallery.views, gallery.side**2
    pairs = cells * matching.candidates
    dimensions = gallery.coding.key_weights.shape[1]
    products = gallery.coding.key_weights.size * cells + compared * dimensions
    floats, gathered = 0, 0
    for level, window in zip(gallery.card.levels, windows(gallery.card), strict=True):
        taps, padded = window.taps.shape[1], window.padded()[1].shape[1]
        products += (pairs * taps + cells * padded) * padded * level.channels
        gathered += pairs * taps * level.channels
        floats += cells * padded**2 * places
        if taps != places or level is not gallery.card.levels[0]:
            floats += pairs * (taps * padded * places + places * taps * places)
    return MatchingCost(products / 1e6, floats / 1e6, gathered / 1e6, opened * dimensions / 1e6)


def _by_graph(gallery: CodedGallery, index: Index) -> tuple[int, int]:
    """Keys that the cells of a frame are compared with in all, and how many of these the graph reads one by one."""
    cells = gallery.cells_per_item * gallery.views
    opened = cells * BEAM * 5 * index.links.shape[1]  # about five rounds
    revised = -(-gallery.cells_per_item // REVISED) * gallery.views if len(index) > EXHAUSTIVE else 0
    return opened + cells * len(index.seeds) + revised * len(index), opened


def _by_place(gallery: CodedGallery, reach: int) -> tuple[int, int]:
    """Keys that the cells of a frame are compared with in all, and how many are read, each once.

    At the border, places beyond it are compared too, and left out afterwards.
    """
    around = 1
    for length in gallery.card.grid(gallery.card.levels[-1]):
        around *= 2 * min(reach, length - 1) + 1
    known = gallery.cells_per_item * gallery.views * len(gallery)  # a view is compared with its own items only
    return known * around, known
