"""Candidates among images that were taught in because of their verdict, on top of those among the other good images.

They never take the place of another candidate. So a frame is compared with all that it would be compared with without
them, and its distances can only become smaller, whatever was taught in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.matching.entries import copies_of
from spade_edge.runtime.matching.graph_search import GraphSearch
from spade_edge.runtime.matching.hnsw import Index
from spade_edge.runtime.matching.place_search import PlaceSearch

CANDIDATES = 2  # of each cell, so many more; measured in docs/architecture.md


class TaughtSearch:
    """Compares the keys of a view's cells with all keys of some taught-in items, or with those at about their place.

    Args:
        keys: (m * cells, D) uint8, of the items.
        squares: (m * cells, side * side) float32, squared lengths of the embeddings of the same cells.
        numbers: (m * cells,) int64, their numbers in the gallery.
        grid: (rows, columns) of the cells of an item.
        reach: cells in each direction; None for any place.
        threads: threads of onnxruntime; None for one per core.

    Attributes:
        keys, numbers: of the cells that may be found.
        place: the search by place; None for any place.
    """

    def __init__(
        self,
        keys: NDArray[np.uint8],
        squares: NDArray[np.float32],
        numbers: NDArray[np.int64],
        *,
        grid: tuple[int, int],
        reach: int | None,
        threads: int | None,
    ) -> None:
        self.place = self._all = None
        if reach is None:  # of cells that are the same, the first; by place they are told apart below
            first = np.unique(copies_of(keys, squares))
            keys, numbers = keys[first], numbers[first]
        self.keys, self.numbers = keys, numbers
        if reach is not None:
            self.place = PlaceSearch(keys, squares, grid=grid, reach=reach, threads=threads)
        else:
            count = len(keys)
            unlinked = np.full((count, 1), count, np.int32)  # each is compared, so no link is followed
            index = Index(keys=keys, labels=np.arange(count), links=unlinked, seeds=np.zeros(1, np.int64))
            self._all = GraphSearch(index, threads=threads, exhaustive=count)

    def __call__(self, queries: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The nearest cells of each cell of a view: (cells, CANDIDATES) numbers in the gallery; -1 if there are fewer.

        Args:
            queries: (cells, D) uint8, the keys of the view.
        """
        if self.place is not None:
            found = self.place(queries, count=CANDIDATES)
        else:
            assert self._all is not None  # noqa: S101  (one of the two is there)
            found, _ = self._all(queries, count=CANDIDATES, ef=CANDIDATES)
        return np.where(found >= 0, self.numbers[found], -1)
