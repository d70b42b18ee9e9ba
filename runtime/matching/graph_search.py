"""Graph search: finds the nearest keys in an HNSW graph, for all queries in parallel, without hnswlib.

HNSW: Malkov & Yashunin 2016, arXiv 1603.09320.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.kernels.kernel import Kernel
from spade_edge.runtime.kernels.workers import Workers
from spade_edge.runtime.matching.entries import squares_of_keys
from spade_edge.runtime.matching.hnsw import MOST_LINKS, Index

STARTS = 8  # starting points of a query: the nearest seed in each of so many parts of the seeds
BEAM = 8  # nodes that a query opens in one round
ROUNDS = 6  # largest number of rounds, unless opening the whole list takes more; later rounds find little
PATIENCE = 4  # a query stops when the nearest 1 / PATIENCE of its list are all open
EXHAUSTIVE = 16384  # up to so many allowed nodes, comparing with each is faster than graph search
RARE = 4  # up to twice as many if a filter allows less than one node in RARE: graph search would meet too few of them
REVISED = 16  # one query in so many, the farthest from what was found, is compared with each node
RUN = 16  # nodes of a set, which are reduced to the nearest of them
SETS = 1024  # sets that are compared together: 6 MB of distances for 98 queries
QUERIES = 98  # queries that are compared with every key together, where there are many
BLOCK = MOST_LINKS  # nodes whose distances are sorted together; their numbers fit COLUMN_BITS
COLUMN_BITS = 10
FAR = 1 << 20  # larger than every squared distance of two keys
# A record of a list is one integer, so that sorting a list orders it by distance: distance << 32 | node << 1 | closed.
# Distances in lists lack the squared length of the query, which is the same for all nodes.
CLOSED = np.int64(1)
NOTHING = np.int64(np.iinfo(np.int64).max)  # an empty record


class Search(Protocol):
    """Finds the nearest keys: `GraphSearch`, or a search object that is passed to `Scorer.open`."""

    def __call__(
        self, queries: NDArray[np.uint8], *, count: int, ef: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Find the `count` nearest keys of each query.

        Args:
            queries: (Q, D) uint8, 0 to 127, the cells of one view.
            count: number of keys to find.
            ef: length of the list of best keys kept during the search; raised to `count` if smaller.
            allowed: (n,) bool, the labels that may be found, all of which are in the index; None for all.

        Returns:
            labels and squared distances, (Q, count) int64 each, nearest first; label -1 if there are fewer.
        """
        ...


class GraphSearch:
    """Best-first search over the graph, for all queries in parallel.

    In each round every query opens the `BEAM` nearest nodes of its list that are not open yet, and computes the
    distances of their neighbours. Algorithm 2 of the paper opens all `ef` nearest nodes one by one; opening several at
    once finds equally near keys even if it stops at the nearest eighth of the list, or after a few rounds. A round is
    one gather, one 8-bit product and a few sorts of short lists, for any number of queries. Distances are integers,
    so a node that is met twice has the same distance, is its own neighbour in the sorted list, and is dropped there. No
    table of visited nodes is needed, and the cost hardly grows with the index.

    A search in a graph may end beside the nearest keys. It matters where the distance decides the score, and a query
    that missed is one of the farthest. So the farthest sixteenth of a view's queries is compared with every node.

    Args:
        index: the graph.
        threads: threads for the products, or that share the queries; None for one per core.
        exhaustive: number of allowed nodes up to which each is compared, which is exact and faster for few nodes.
    """

    def __init__(self, index: Index, *, threads: int | None, exhaustive: int = EXHAUSTIVE) -> None:
        self.index = index
        self.exhaustive = exhaustive
        count = len(index)
        # Node n stands for "no link": it is far from everything and linked to itself. Those after it fill up a run.
        self._keys = np.concatenate([index.keys, np.zeros((RUN, index.keys.shape[1]), np.uint8)])
        self._squares = squares_of_keys(self._keys)
        self._squares[count:] = FAR
        self._links = np.concatenate([index.links, np.full((1, index.links.shape[1]), count, np.int32)])
        self._each = Kernel(_each_graph(), threads=threads)
        self._all = Kernel(_all_graph(), threads=1)  # threads share queries and keys
        self._workers = Workers.of(threads)
        self._blocks = self._blocks_of(np.arange(count))
        self._sets = np.concatenate([block.nodes for block in self._blocks])
        # The seeds in portions of STARTS parts each; the column numbers of a portion fit COLUMN_BITS.
        portion = -(-min(len(index.seeds), STARTS * BLOCK) // STARTS) * STARTS
        seeds = np.concatenate([index.seeds, np.full(-len(index.seeds) % portion, count)])
        self._seeds = [
            (part.reshape(STARTS, -1), _turned(self._keys[part]), self._squares[part])
            for part in seeds.reshape(-1, portion)
        ]
        self._columns = np.tile(np.arange(portion // STARTS, dtype=np.int32), STARTS)

    def __call__(
        self, queries: NDArray[np.uint8], *, count: int, ef: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Find the nearest keys, see `Search`. A few keys are searched exhaustively, more by graph search."""
        permitted, known = self._permitted(allowed)
        squares = squares_of_keys(queries)[:, np.newaxis]
        if known <= self.exhaustive or (known <= 2 * self.exhaustive and known * RARE < len(self.index)):
            found = self._search_exhaustively(queries, permitted, known, count)
        else:
            found = self._search_graph(queries, max(ef, count), permitted)
            again = farthest(np.where(found[:, 0] == NOTHING, FAR, (found[:, 0] >> 32) + squares[:, 0]))
            # Many near nodes that are not allowed, an even background for example, may keep a query from the rest.
            again |= found[:, min(found.shape[1], known) - 1] == NOTHING
            found = found[:, :count]
            exactly = self._search_exhaustively(queries[again], permitted, known, count)
            found[again, : exactly.shape[1]] = exactly
        return self._labelled(found, squares, count)

    def exhaustively(
        self, queries: NDArray[np.uint8], *, count: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The nearest keys themselves, by comparing with each; see `Search`."""
        permitted, known = self._permitted(allowed)
        found = self._search_exhaustively(queries, permitted, known, count)
        return self._labelled(found, squares_of_keys(queries)[:, np.newaxis], count)

    def _permitted(self, allowed: NDArray[np.bool_] | None) -> tuple[NDArray[np.bool_] | None, int]:
        """The nodes that may be found, (nodes + 1,) bool, None for all; and their number."""
        if allowed is None:
            return None, len(self.index)
        permitted = np.append(allowed[self.index.labels], False)
        return permitted, int(np.count_nonzero(permitted))

    def _labelled(
        self, found: NDArray[np.int64], squares: NDArray[np.int32], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Labels and squared distances of records, `count` for each query."""
        found = np.pad(found, ((0, 0), (0, count - found.shape[1])), constant_values=NOTHING)
        there = found != NOTHING
        labels = self.index.labels[np.where(there, _node(found), 0)]
        return np.where(there, labels, -1), (found >> 32) + squares

    def _search_exhaustively(
        self, queries: NDArray[np.uint8], permitted: NDArray[np.bool_] | None, known: int, count: int
    ) -> NDArray[np.int64]:
        """Exhaustive search: (Q, at most `count`) records, nearest first.

        Threads share what there is: queries, and blocks of nodes.

        Args:
            queries: (Q, D).
            permitted: (nodes + 1,) bool, the nodes that may be found; None for all.
            known: their number.
            count: number of nodes to find.
        """
        if not known:
            return np.empty((len(queries), 0), np.int64)
        blocks = self._blocks
        if permitted is not None and known * RARE < len(self.index):
            blocks = self._blocks_of(np.flatnonzero(permitted))
        squares = self._squares if permitted is None else np.where(permitted, self._squares[: -RUN + 1], 4 * FAR)

        def minima(part: tuple[slice, _Block]) -> NDArray[np.int32]:
            band, block = part
            (products,) = self._all(left=queries[band], right=block.keys)
            lengths = block.squares if permitted is None else squares.take(block.turned)
            sets = _distances(products, lengths).reshape(len(products), RUN, -1)
            return sets.min(axis=1)

        def nearest(part: tuple[slice, list[NDArray[np.int32]]]) -> NDArray[np.int64]:
            band, found = part
            return self._nearest_of_sets(queries[band], np.concatenate(found, axis=1), sets, squares, count)

        bands = [slice(0, len(queries))]
        if len(queries) >= QUERIES:
            bands = self._workers.bands(len(queries), usual=QUERIES)
        each = len(blocks)
        found = self._workers.map(minima, [(band, block) for band in bands for block in blocks])
        sets = np.concatenate([block.nodes for block in blocks]) if blocks is not self._blocks else self._sets
        of_bands = [(band, found[i * each : (i + 1) * each]) for i, band in enumerate(bands)]
        return np.concatenate(self._workers.map(nearest, of_bands))

    def _nearest_of_sets(
        self,
        queries: NDArray[np.uint8],
        minima: NDArray[np.int32],
        sets: NDArray[np.intp],
        squares: NDArray[np.int32],
        count: int,
    ) -> NDArray[np.int64]:
        """The `count` nearest nodes, which lie in the `count` sets with the smallest minima: records, nearest first.

        Taking minima of sets is far faster than partially sorting all distances. Of sets with equal minima the first is
        taken, and so the first of equally near nodes.
        """
        few = min(count, minima.shape[1])
        numbered = minima.astype(np.int64) << 32 | np.arange(minima.shape[1])
        chosen = np.partition(numbered, few - 1, axis=1)[:, :few] & 0xFFFFFFFF
        nodes = sets[chosen].reshape(len(queries), -1)
        (products,) = self._each(left=self._keys.take(nodes, axis=0), right=queries[:, :, np.newaxis].view(np.int8))
        records = _records_of(_distances(products[:, :, 0], squares.take(nodes)), nodes)
        records.sort(axis=1)
        return records[:, :count]

    def _blocks_of(self, nodes: NDArray[np.intp]) -> list[_Block]:
        """Some nodes in blocks, the last one filled up to whole sets."""
        blocks = []
        for start in range(0, len(nodes), SETS * RUN):
            own = nodes[start : start + SETS * RUN]
            own = np.append(own, np.full(-len(own) % RUN, len(self.index)))
            # One node of each set after the other, so that minima of sets are minima of long rows.
            turned = own.reshape(-1, RUN).T.ravel()
            blocks.append(_Block(own.reshape(-1, RUN), turned, _turned(self._keys[turned]), self._squares[turned]))
        return blocks

    def _starts(self, queries: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The seed nearest to each query in each part of the seeds: (Q, parts) records."""

        def nearest(part: tuple[slice, int]) -> NDArray[np.int64]:
            band, portion = part
            seeds, keys, squares = self._seeds[portion]  # (STARTS, m), (D, STARTS * m), (STARTS * m,)
            (products,) = self._all(left=queries[band], right=keys)
            numbered = _numbered(products, squares, self._columns)
            first = numbered.reshape(len(numbered), *seeds.shape).min(axis=2)  # (Q, STARTS)
            return _records_of(first >> COLUMN_BITS, seeds[np.arange(STARTS), first & BLOCK - 1])

        bands = self._workers.bands(len(queries), usual=QUERIES)
        portions = range(len(self._seeds))
        found = self._workers.map(nearest, [(band, portion) for band in bands for portion in portions])
        each = len(portions)
        return np.concatenate([np.concatenate(found[i * each : (i + 1) * each], axis=1) for i in range(len(bands))])

    def _search_graph(
        self, queries: NDArray[np.uint8], ef: int, permitted: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        """Best-first search in layer 0: (Q, ef) records, nearest first. Excluded nodes are opened too."""
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
            columns = np.where(closed, np.arange(ef), width)  # of the nearest closed records; `width` stands for none
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
                found[active] = _merged(found[active], _nearest_records(*masked, near, 2 * width))
            pool[active] = _merged(here, _nearest_records(own, squares, near, 2 * width))
        return (pool if found is None else found)[:, :ef] | CLOSED


@dataclass(frozen=True)
class _Block:
    """Some nodes that are compared with each query.

    Attributes:
        nodes: (sets, RUN), the nodes, in ascending order.
        turned: (RUN * sets,), the same, one of each set after the other.
        keys: (D, RUN * sets) int8, their keys in this order.
        squares: (RUN * sets,) int32, squared lengths of these.
    """

    nodes: NDArray[np.intp]
    turned: NDArray[np.intp]
    keys: NDArray[np.int8]
    squares: NDArray[np.int32]


def farthest(distances: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The queries of a view to compare with every key: one in `REVISED`, those farthest from the nearest key found.

    Args:
        distances: (Q,) squared distances.

    Returns:
        (Q,) bool.
    """
    chosen = np.zeros(len(distances), bool)
    chosen[np.argsort(-distances, kind="stable")[: -(-len(distances) // REVISED)]] = True
    return chosen


def _node(records: NDArray[np.int64]) -> NDArray[np.int64]:
    return records >> 1 & 0x7FFFFFFF


def _distances(products: NDArray[np.int32], squares: NDArray[np.int32]) -> NDArray[np.int32]:
    """Squared distances less the squared length of the query; overwrites `products`."""
    products *= -2
    products += squares
    return products


def _numbered(products: NDArray[np.int32], squares: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.int32]:
    """The same distances, each with a column number in its last bits."""
    numbered = _distances(products, squares)
    numbered <<= COLUMN_BITS
    numbered |= columns
    return numbered


def _nearest_records(
    products: NDArray[np.int32], squares: NDArray[np.int32], nodes: NDArray[np.int32], count: int
) -> NDArray[np.int64]:
    """Records of the `count` nearest of some nodes, in any order.

    Args:
        products: (Q, m) products of queries and keys, m up to BLOCK; overwritten.
        squares: (Q, m), squared lengths of the keys.
        nodes: (Q, m).
        count: number of records.
    """
    numbered = _numbered(products, squares, np.arange(products.shape[1], dtype=np.int32))
    if count < numbered.shape[1]:  # partitioning 32-bit numbers is far faster than 64-bit ones
        numbered = np.partition(numbered, count - 1, axis=1)[:, :count]
    return _records_of(numbered >> COLUMN_BITS, np.take_along_axis(nodes, numbered & BLOCK - 1, axis=1))


def _records_of(distances: NDArray[np.int32], nodes: NDArray[Any]) -> NDArray[np.int64]:
    records = distances.astype(np.int64) << 32 | nodes.astype(np.int64) << 1 | CLOSED
    return np.where(distances < FAR, records, NOTHING)


def _merged(best: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.int64]:
    """Merge two lists per query: the nearest records, each node once, as many as the first list has."""
    merged = np.concatenate([best, new], axis=1)
    merged.sort(axis=1)
    # Records of one node have the same distance and are adjacent; an open one sorts first and is kept.
    again = merged[:, 1:] >> 1 == merged[:, :-1] >> 1
    merged[:, 1:][again] = NOTHING
    merged.sort(axis=1)
    return merged[:, : best.shape[1]]


def _turned(keys: NDArray[np.uint8]) -> NDArray[np.int8]:
    """(n, D) keys as (D, n), the right side of a product."""
    return np.ascontiguousarray(keys.T).view(np.int8)


def _each_graph() -> Graph:
    """Products of (Q, m, D) uint8 and (Q, D, 1) int8: each query with its own keys."""
    graph = Graph()
    left = graph.input("left", np.uint8, ("queries", "keys", "dimensions"))
    right = graph.input("right", np.int8, ("queries", "dimensions", 1))
    graph.output("products", graph.node("MatMulInteger", left, right), np.int32)
    return graph


def _all_graph() -> Graph:
    """Products of (Q, D) uint8 and (D, n) int8: every query with every key."""
    graph = Graph()
    left = graph.input("left", np.uint8, ("queries", "dimensions"))
    right = graph.input("right", np.int8, ("dimensions", "keys"))
    graph.output("products", graph.node("MatMulInteger", left, right), np.int32)
    return graph
