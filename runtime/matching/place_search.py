"""Search by place: for each cell of a view, the good cells with the nearest keys among those at about the same place.

Where a part always lies alike, what is good in one place is a defect in another, for example a lead that is not in its
hole. So a cell is compared only with good cells a few rows and columns away. These are few enough to compare all of
them, so no index is needed, and the nearest keys are always found.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.kernels.graph_writer import FLOAT, Graph
from spade_edge.runtime.kernels.kernel import Kernel
from spade_edge.runtime.matching.entries import copies_of, squares_of_keys

FAR = 1 << 23  # larger than any squared distance of two keys, and exact in float32
NOTHING = np.int64(np.iinfo(np.int64).max)


class PlaceSearch:
    """Compares the keys of each cell of a view with the keys of all good cells at most `reach` cells away.

    The keys lie place by place. For each place, one product compares all its keys with the cells of the view around it;
    then each cell of the view merges what was found at the places around it. Distances are whole numbers, so every
    machine finds the same cells.

    Args:
        keys: (N * cells, D) uint8, 0 to 127, the keys of the items that a view may match.
        squares: (N * cells, side * side) float32, squared lengths of the embeddings of the same cells.
        grid: (rows, columns) of the cells of an item.
        reach: cells in each direction.
        threads: threads of onnxruntime; None for one per core.

    Attributes:
        keys: (cells, D, N) int8, the same keys place by place.
        around: (cells, slots), the cells around each cell, itself too; `there` says which of them are there, and not
            beyond the border. The cell in slot j sees the first one in its slot -1 - j.
        copies: (N, cells), for each cell the first that is the same, item * cells + cell; None if no two are.
    """

    def __init__(
        self,
        keys: NDArray[np.uint8],
        squares: NDArray[np.float32],
        *,
        grid: tuple[int, int],
        reach: int,
        threads: int | None,
    ) -> None:
        cells = grid[0] * grid[1]
        by_item = keys.reshape(-1, cells, keys.shape[1])
        self._items = len(by_item)
        self.keys = np.ascontiguousarray(by_item.transpose(1, 2, 0)).view(np.int8)  # (cells, D, N)
        lengths = squares_of_keys(keys).astype(np.float32).reshape(-1, cells).T
        self._squares = np.ascontiguousarray(lengths[:, np.newaxis])  # (cells, 1, N)
        copies = copies_of(keys, squares)
        self.copies = None if np.array_equal(copies, np.arange(len(copies))) else copies.reshape(-1, cells)
        self._every = self.lengths(None)  # once, as most frames may be matched with every item
        self.around, self.there = around(grid, reach)
        self._kernels: dict[int, Kernel] = {}
        self._threads = threads

    def __call__(
        self, queries: NDArray[np.uint8], *, count: int, allowed: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """Find the `count` nearest cells of each cell of a view; of cells that are the same, the first.

        Args:
            queries: (cells, D) uint8, the keys of a view.
            count: number of cells to find.
            allowed: (N,) bool, the items that may be matched; None for all.

        Returns:
            (cells, count) int64, item * cells + cell, nearest first; -1 if there are fewer.
        """
        cells, slots = self.around.shape
        few = min(count, self._items)
        if few not in self._kernels:
            self._kernels[few] = Kernel(_graph(self.around, few), threads=self._threads)
        squares = self._every if allowed is None else self.lengths(allowed)
        near, items = self._kernels[few](queries=queries, keys=self.keys, squares=squares)
        # What place p found for the cell of the view in its slot j, as what that cell found at its place p.
        back, slot = self.around[:, ::-1], np.arange(slots)
        near, items = near[back, slot], items[back, slot]  # (cells, slots, few)
        distances = near.reshape(cells, -1).astype(np.int64) + squares_of_keys(queries)[:, np.newaxis]
        numbers = (items * cells + back[:, :, np.newaxis]).reshape(cells, -1)
        known = ((near < FAR // 2) & self.there[:, ::-1, np.newaxis]).reshape(cells, -1)
        if self.copies is not None:
            known &= self._first(distances, numbers, known)
        records = np.where(known, distances << 32 | numbers, NOTHING)
        records.sort(axis=1)
        records = records[:, :count]
        found = np.where(records == NOTHING, -1, records & 0xFFFFFFFF)
        return np.pad(found, ((0, 0), (0, count - found.shape[1])), constant_values=-1)

    def of_cells(
        self,
        queries: NDArray[np.uint8],
        cells: NDArray[np.int64],
        *,
        count: int,
        allowed: NDArray[np.bool_],
    ) -> NDArray[np.int64]:
        """The same for some cells of many views, each with items of its own. It needs `copies` to be None.

        Args:
            queries: (m, D) uint8, the keys of the cells.
            cells: (m,), their places.
            count: number of cells to find.
            allowed: (m, N) bool, the items that each may be matched with.

        Returns:
            (m, count) int64, as above.
        """
        found = np.full((len(queries), count), -1, np.int64)
        lengths = squares_of_keys(queries)
        for place in np.unique(cells):
            own = np.flatnonzero(cells == place)
            near = self.around[place][self.there[place]]
            keys = self.keys[near].astype(np.float32).transpose(1, 0, 2).reshape(queries.shape[1], -1)  # (D, near * N)
            # Whole numbers below 2^24, so float32 is exact.
            apart = self._squares[near].reshape(1, -1) - 2 * (queries[own].astype(np.float32) @ keys)
            apart = apart.astype(np.int64) + lengths[own, np.newaxis]
            numbers = np.arange(self._items) * len(self.around) + near[:, np.newaxis]
            records = np.where(np.tile(allowed[own], len(near)), apart << 32 | numbers.ravel(), NOTHING)
            few = min(count, records.shape[1])
            nearest = np.sort(np.partition(records, few - 1, axis=1)[:, :few], axis=1)
            found[own, :few] = np.where(nearest == NOTHING, -1, nearest & 0xFFFFFFFF)
        return found

    def lengths(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """Squared lengths of the keys, (cells, 1, N) float32; those of cells that may not be found are `FAR`.

        At each place only the first of several cells that are the same may be found, as the nearest few would otherwise
        be one cell many times over.
        """
        if self.copies is None and allowed is None:
            return self._squares
        lengths = self._squares.copy()
        if allowed is not None:
            lengths[:, :, ~allowed] = FAR
        if self.copies is not None:
            items = np.arange(self._items) if allowed is None else np.flatnonzero(allowed)
            cells = len(lengths)
            apart = self.copies[items].astype(np.int64) * cells + np.arange(cells)  # the same at another place differs
            again = np.ones(apart.size, bool)
            again[np.unique(apart, return_index=True)[1]] = False
            rows, places = np.divmod(np.flatnonzero(again), cells)
            lengths[places, 0, items[rows]] = FAR
        return lengths

    def _first(
        self, distances: NDArray[np.int64], numbers: NDArray[np.int64], known: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Which of the cells that were found are not the same as another one at a place nearby."""
        assert self.copies is not None  # noqa: S101  (the caller has checked)
        kinds = np.where(known, distances << 32 | self.copies.ravel()[np.where(known, numbers, 0)], NOTHING)
        order = np.argsort(kinds, axis=1, kind="stable")
        sorted_kinds = np.take_along_axis(kinds, order, axis=1)
        new = np.ones_like(known)
        new[:, 1:] = sorted_kinds[:, 1:] != sorted_kinds[:, :-1]
        first = np.empty_like(new)
        np.put_along_axis(first, order, new, axis=1)
        return first


def around(grid: tuple[int, int], reach: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The cells around each cell, (cells, slots): their numbers, and whether they are there or beyond the border.

    The slots are in such an order that the cell in slot j sees the first one in its slot -1 - j.
    """
    down, right = (np.arange(-min(reach, length - 1), min(reach, length - 1) + 1) for length in grid)
    rows = np.arange(grid[0])[:, None, None, None] + down[None, None, :, None]
    columns = np.arange(grid[1])[None, :, None, None] + right[None, None, None, :]
    there = (rows >= 0) & (rows < grid[0]) & (columns >= 0) & (columns < grid[1])
    numbers = np.clip(rows, 0, grid[0] - 1) * grid[1] + np.clip(columns, 0, grid[1] - 1)
    cells, slots = grid[0] * grid[1], len(down) * len(right)
    return numbers.reshape(cells, slots), there.reshape(cells, slots)


def _graph(around: NDArray[np.int64], few: int) -> Graph:
    """Products of the keys at each place with the cells of a view around it, and the nearest few of each."""
    graph = Graph()
    queries = graph.input("queries", np.uint8, ("cells", "dimensions"))
    keys = graph.input("keys", np.int8, ("cells", "dimensions", "items"))
    squares = graph.input("squares", np.float32, ("cells", 1, "items"))
    seen = graph.node("Gather", queries, graph.constant(around), axis=0)  # (cells, slots, D)
    products = graph.node("Cast", graph.node("MatMulInteger", seen, keys), to=FLOAT)
    distances = graph.node("Add", graph.node("Mul", products, graph.constant(np.array(-2, np.float32))), squares)
    near, items = graph.node(
        "TopK", distances, graph.constant(np.array([few], np.int64)), results=2, axis=-1, largest=0, sorted=1
    )
    graph.output("near", near, np.float32)
    graph.output("items", items, np.int64)
    return graph
