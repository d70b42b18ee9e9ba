"""Search of an HNSW graph for the nearest keys, all queries in step, without hnswlib.

HNSW: Malkov & Yashunin 2016, arXiv 1603.09320.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.kernels.kernel import Kernel
from spade_edge.runtime.matching.hnsw import MOST_LINKS, Index

STARTS = 8  # for each query, the best of so many parts of that layer
BEAM = 8  # nodes that a query opens in one round
ROUNDS = 4  # at most, or as many as open the list once; what few queries go on to find is not worth the wait
PATIENCE = 8  # a walk goes on while some of the best 1 / PATIENCE of its list are not open
FEW = 16384  # nodes, or nodes that a filter allows, up to which looking at each of them beats walking the graph;
RARE = 4  # twice as many if less than one in so many is allowed: a walk would meet too few of them
RUN = 16  # nodes in a run
TABLE = 4 << 20  # distances in a table, 16 MB
BLOCK = MOST_LINKS  # nodes whose distances are looked at together: their numbers fit COLUMN_BITS
COLUMN_BITS = 10
FAR = 1 << 20  # beyond every squared distance of two keys
# An entry of a list is one whole number, so that sorting a list orders it by distance:
# distance << 32 | node << 1 | closed. Distances in lists lack the square of the query, which is the same for all.
CLOSED = np.int64(1)
NOTHING = np.int64(np.iinfo(np.int64).max)  # an empty place


class Search(Protocol):
    """What finds the nearest keys: `GraphSearch`, or another one that is handed to `Scorer.open`."""

    def __call__(
        self, queries: NDArray[np.uint8], *, count: int, ef: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Find the `count` nearest keys of each query.

        Args:
            queries: (Q, D) uint8, 0 to 127.
            count: how many to find.
            ef: length of the list of best keys kept during the search; raised to `count` if smaller.
            allowed: (n,) bool, the labels that may be found; None for all.

        Returns:
            labels and squared distances, (Q, count) int64 each, nearest first; label -1 where there are fewer.
        """
        ...


class GraphSearch:
    """Best-first search over the graph, all queries in step.

    Each round every query opens the `BEAM` nearest nodes of its list that are not open yet, and looks at their
    neighbours. Algorithm 2 of the paper opens all of the `ef` best, one by one; opening several at once finds as good
    ones when it stops at the best eighth, or after a few rounds. A round is one gather, one product of bytes and a few
    sorts of short lists, whatever the number of queries. Distances are whole numbers, so a node met twice has the same
    distance twice, lies beside itself in a sorted list and is dropped there: no table of visited nodes is needed, and
    the cost hardly grows with the index.

    Args:
        index: the graph.
        threads: of onnxruntime; None for one a core.
    """

    def __init__(self, index: Index, *, threads: int | None) -> None:
        self.index = index
        count = len(index)
        # Node n stands for "no link": far from everything, linked to itself.
        self._keys = np.concatenate([index.keys, np.zeros((1, index.keys.shape[1]), np.uint8)])
        self._squares = _squares(self._keys)
        self._squares[-1] = FAR
        self._links = np.concatenate([index.links, np.full((1, index.links.shape[1]), count, np.int32)])
        self._each = Kernel(_each_graph(), threads=threads)
        self._all = Kernel(_all_graph(), threads=threads)
        # Parts of seeds, in portions whose column numbers fit COLUMN_BITS.
        portion = -(-min(len(index.seeds), STARTS * BLOCK) // STARTS) * STARTS
        seeds = np.concatenate([index.seeds, np.full(-len(index.seeds) % portion, count)])
        self._seeds = [
            (part.reshape(STARTS, -1), self._keys[part], self._squares[part][:, np.newaxis])
            for part in seeds.reshape(-1, portion)
        ]
        self._columns = np.tile(np.arange(portion // STARTS, dtype=np.int32), STARTS)[:, np.newaxis]

    def __call__(
        self, queries: NDArray[np.uint8], *, count: int, ef: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Find the nearest keys; see `Search`. Few are all looked at; else what a filter forbids is walked over."""
        permitted = None if allowed is None else np.append(allowed[self.index.labels], False)
        known = len(self.index) if permitted is None else int(np.count_nonzero(permitted))
        if known <= FEW or (known <= 2 * FEW and known * RARE < len(self.index)):
            nodes = np.arange(known) if permitted is None else np.flatnonzero(permitted)
            found = self._look_at_each(queries, nodes, count)
        else:
            found = self._walk(queries, max(ef, count), permitted)[:, :count]
        found = np.pad(found, ((0, 0), (0, count - found.shape[1])), constant_values=NOTHING)
        there = found != NOTHING
        labels = self.index.labels[np.where(there, _node(found), 0)]
        return np.where(there, labels, -1), (found >> 32) + _squares(queries)[:, np.newaxis]

    def _look_at_each(self, queries: NDArray[np.uint8], nodes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Exhaustive search among some nodes: (Q, at most `count`) entries, nearest first.

        The `count` nearest lie in the `count` runs of `RUN` nodes whose nearest is nearest: a minimum over runs is far
        faster than looking for more than one.
        """
        best = [np.full((len(queries), 1), NOTHING)]
        every = np.arange(len(queries))[:, np.newaxis, np.newaxis]
        size = min(max(TABLE // max(1, len(queries)) // RUN, 1), BLOCK) * RUN
        for start in range(0, len(nodes), size):
            block = nodes[start : start + size]
            block = np.append(block, np.full(-len(block) % RUN, len(self.index)))  # the last run, filled up
            (products,) = self._all(left=self._keys[block], right=queries.view(np.int8))
            runs = _distances(products, self._squares[block, np.newaxis]).reshape(-1, RUN, len(queries))
            numbered = np.ascontiguousarray(runs.min(axis=1).T) << COLUMN_BITS | np.arange(len(runs), dtype=np.int32)
            few = min(count, len(runs))
            chosen = np.partition(numbered, few - 1, axis=1)[:, :few] & BLOCK - 1
            near = runs[chosen[:, :, np.newaxis], np.arange(RUN), every]
            best.append(_as_entries(near, block.reshape(-1, RUN)[chosen]).reshape(len(queries), -1))
        merged = np.concatenate(best, axis=1)
        merged.sort(axis=1)
        return merged[:, :count]

    def _starts(self, queries: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The seed nearest to each query in each part of the seeds: (Q, parts) entries."""
        parts = []
        for seeds, keys, squares in self._seeds:  # (STARTS, m), (STARTS * m, D), (STARTS * m, 1)
            (products,) = self._all(left=keys, right=queries.view(np.int8))
            first = _numbered(products, squares, self._columns).reshape(*seeds.shape, -1).min(axis=1)  # (STARTS, Q)
            parts.append(_as_entries(first >> COLUMN_BITS, np.take_along_axis(seeds, first & BLOCK - 1, axis=1)))
        return np.concatenate(parts).T

    def _walk(self, queries: NDArray[np.uint8], ef: int, permitted: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """GraphSearch in layer 0: (Q, ef) entries, nearest first."""
        turned = queries[:, :, np.newaxis].view(np.int8)
        width = max(ef, BEAM, STARTS)
        beam = max(1, min(BEAM, ef, BLOCK // self._links.shape[1]))
        pool = _merged(np.full((len(queries), width), NOTHING), self._starts(queries))
        found = None if permitted is None else np.where(permitted[_node(pool) % len(permitted)], pool, NOTHING)
        active = np.arange(len(queries))
        for _ in range(max(ROUNDS, -(-ef // beam))):
            here = pool[active]
            closed = (here[:, :ef] & CLOSED != 0) & (here[:, :ef] != NOTHING)
            working = closed[:, : -(-ef // PATIENCE)].any(axis=1)
            if not working.all():
                active, here, closed = active[working], here[working], closed[working]
            if not len(active):
                break
            columns = np.where(closed, np.arange(ef), width)  # of the nearest closed entries; `width` stands for none
            columns = np.partition(columns, beam - 1, axis=1)[:, :beam]
            rows, places = np.nonzero(columns < width)
            nodes = np.full(columns.shape, len(self.index))
            nodes[rows, places] = _node(here[rows, columns[rows, places]])
            here[rows, columns[rows, places]] &= ~CLOSED

            near = self._links.take(nodes, axis=0).reshape(len(active), -1)
            (products,) = self._each(left=self._keys.take(near, axis=0), right=turned[active])
            own, squares = products[:, :, 0], self._squares.take(near)
            if found is not None and permitted is not None:
                allowed_here = permitted.take(near)
                masked = np.where(allowed_here, own, 0), np.where(allowed_here, squares, FAR)
                found[active] = _merged(found[active], _entries(*masked, near, 2 * width))
            pool[active] = _merged(here, _entries(own, squares, near, 2 * width))
        return (pool if found is None else found)[:, :ef] | CLOSED


def _squares(keys: NDArray[np.uint8]) -> NDArray[np.int32]:
    wide = keys.astype(np.int32)
    return np.einsum("nd,nd->n", wide, wide)


def _node(entries: NDArray[np.int64]) -> NDArray[np.int64]:
    return entries >> 1 & 0x7FFFFFFF


def _distances(products: NDArray[np.int32], squares: NDArray[np.int32]) -> NDArray[np.int32]:
    """Distances, less the square of the query, in the memory of `products`."""
    products *= -2
    products += squares
    return products


def _numbered(products: NDArray[np.int32], squares: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.int32]:
    """The same with a column number in the last bits."""
    numbered = _distances(products, squares)
    numbered <<= COLUMN_BITS
    numbered |= columns
    return numbered


def _entries(
    products: NDArray[np.int32], squares: NDArray[np.int32], nodes: NDArray[np.int32], count: int
) -> NDArray[np.int64]:
    """The `count` nearest of some nodes, in any order.

    Args:
        products: (Q, m) of queries and keys, m up to BLOCK; overwritten.
        squares: (Q, m), of the keys.
        nodes: (Q, m).
        count: how many.
    """
    numbered = _numbered(products, squares, np.arange(products.shape[1], dtype=np.int32))
    if count < numbered.shape[1]:  # 32 bits are parted far faster than 64
        numbered = np.partition(numbered, count - 1, axis=1)[:, :count]
    return _as_entries(numbered >> COLUMN_BITS, np.take_along_axis(nodes, numbered & BLOCK - 1, axis=1))


def _as_entries(distances: NDArray[np.int32], nodes: NDArray[Any]) -> NDArray[np.int64]:
    entries = distances.astype(np.int64) << 32 | nodes.astype(np.int64) << 1 | CLOSED
    return np.where(distances < FAR, entries, NOTHING)


def _merged(best: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nearest of two lists per query, each node once, as many as the first list has."""
    merged = np.concatenate([best, new], axis=1)
    merged.sort(axis=1)
    # The same node has the same distance, so it lies beside itself; an open entry comes first and stays.
    again = merged[:, 1:] >> 1 == merged[:, :-1] >> 1
    merged[:, 1:][again] = NOTHING
    merged.sort(axis=1)
    return merged[:, : best.shape[1]]


def _each_graph() -> Graph:
    """(Q, m, D) uint8 by (Q, D, 1) int8: each query with keys of its own."""
    graph = Graph()
    left = graph.input("left", np.uint8, ("queries", "keys", "dimensions"))
    right = graph.input("right", np.int8, ("queries", "dimensions", 1))
    graph.output("products", graph.node("MatMulInteger", left, right), np.int32)
    return graph


def _all_graph() -> Graph:
    """(m, D) uint8 by (n, D) int8, transposed: all with all."""
    graph = Graph()
    left = graph.input("left", np.uint8, ("left", "dimensions"))
    right = graph.node("Transpose", graph.input("right", np.int8, ("right", "dimensions")), perm=(1, 0))
    graph.output("products", graph.node("MatMulInteger", left, right), np.int32)
    return graph
