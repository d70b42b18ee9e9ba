"""An HNSW index in hnswlib's file format, read and searched without hnswlib.

HNSW: Malkov & Yashunin 2016, arXiv 1603.09320. The format, little-endian, without magic, version or checksum:

    header    u64 offsetLevel0 = 0, max_elements, count, record size, label offset, vector offset
              i32 highest layer, u32 entry point; u64 maxM, maxM0, M; f64 mult; u64 ef_construction    (96 bytes)
    records   count times: u16 links, u8 deleted, pad, maxM0 x u32 links | float32 vector | u64 label
    layers    count times: u32 bytes that follow, then for each layer above 0: u32 links, maxM x u32 links

hnswlib's own loader trusts the file; this one checks every size, link and number before it is used.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.coding import LARGEST
from spade_edge.runtime.engine import Kernel
from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.graph import Graph

HEADER = struct.Struct("<6QiI3QdQ")
DIMENSIONS = 64  # at most: a squared distance and a column number then fit 31 bits
SEEDS = 32768  # size of a layer up to which all of it is looked at for starts
STARTS = 8  # for each query, the best of so many parts of that layer
BEAM = 8  # nodes that a query opens in one round
ROUNDS = 4  # at most, or as many as open the list once; what few queries go on to find is not worth the wait
PATIENCE = 8  # a walk goes on while some of the best 1 / PATIENCE of its list are not open
FEW = 16384  # nodes, or nodes that a filter allows, up to which looking at each of them beats walking the graph;
RARE = 4  # twice as many if less than one in so many is allowed: a walk would meet too few of them
RUN = 16  # nodes in a run
TABLE = 4 << 20  # distances in a table, 16 MB
BLOCK = 1024  # nodes whose distances are looked at together: their numbers fit COLUMN_BITS
COLUMN_BITS = 10
FAR = 1 << 20  # beyond every squared distance of two keys
# An entry of a list is one whole number, so that sorting a list orders it by distance:
# distance << 32 | node << 1 | closed. Distances in lists lack the square of the query, which is the same for all.
CLOSED = np.int64(1)
NOTHING = np.int64(np.iinfo(np.int64).max)  # an empty place


class Search(Protocol):
    """What finds the nearest keys: `Walk`, or another one that is handed to `Scorer.open`."""

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


@dataclass(frozen=True)
class Index:
    """A graph over n keys.

    Attributes:
        keys: (n, D) uint8, 0 to 127, in the file's order, which is not that of the labels.
        labels: (n,) int64, what the builder calls each key.
        links: (n, maxM0) int32, neighbours in layer 0; n where there is none.
        seeds: (S,) int64, nodes from which the best are taken to start a walk: all of the lowest upper layer that is
            small enough to look through. The paper descends through the upper layers link by link; one product over
            a layer finds better starts in less time.
    """

    keys: NDArray[np.uint8]
    labels: NDArray[np.int64]
    links: NDArray[np.int32]
    seeds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def read(cls, path: Path) -> Index:
        """Read an index file.

        Raises:
            BundleError: the file is not an index, is truncated, or holds a size, link or number that cannot be.
        """
        try:
            raw = path.read_bytes()
        except OSError as problem:
            raise BundleError(f"{path}: expected an index file, found: {problem.strerror}") from None
        return _parse(raw, str(path))


class Walk:
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
        """Walk in layer 0: (Q, ef) entries, nearest first."""
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


def _parse(raw: bytes, name: str) -> Index:
    def refuse(expected: str, found: object) -> BundleError:
        return BundleError(f"{name}: expected {expected}, found {found}; build the bundle again or copy it anew")

    if len(raw) < HEADER.size:
        raise refuse(f"an index of at least {HEADER.size} bytes", f"{len(raw)} bytes")
    (start, _, count, record, label_at, vector_at, highest, entry, max_m, max_m0, m, _, _) = HEADER.unpack_from(raw)
    dimension = (label_at - vector_at) // 4
    if start != 0 or vector_at != 4 + 4 * max_m0 or label_at <= vector_at or (label_at - vector_at) % 4:
        raise refuse("an hnswlib header", "sizes that do not fit together")
    if record != label_at + 8 or not 1 <= m <= max_m <= max_m0 <= BLOCK or dimension > DIMENSIONS:
        raise refuse("an hnswlib header", "sizes that do not fit together")
    if not 0 < count < 2**31 or HEADER.size + count * record > len(raw):
        raise refuse(f"room for {count} records of {record} bytes", f"a file of {len(raw)} bytes")
    if entry >= count or not 0 <= highest < 64:
        raise refuse(f"an entry point below {count} and a layer below 64", f"{entry} and {highest}")

    records = np.ndarray(
        count,
        np.dtype(
            {
                "names": ["links", "deleted", "neighbours", "vector", "label"],
                "formats": ["<u2", "u1", ("<u4", (max_m0,)), ("<f4", (dimension,)), "<u8"],
                "offsets": [0, 2, 4, vector_at, label_at],
                "itemsize": record,
            }
        ),
        raw,
        HEADER.size,
    )
    vectors = records["vector"]
    keys = np.clip(np.nan_to_num(vectors), 0, LARGEST).astype(np.uint8)
    if not np.array_equal(keys, vectors):  # NaN and infinity, too
        raise refuse(f"coordinates that are whole numbers from 0 to {LARGEST}", "others")
    if records["deleted"].any():
        raise refuse("no deleted records", f"{int((records['deleted'] != 0).sum())}")
    if not np.array_equal(np.sort(records["label"]), np.arange(count, dtype=np.uint64)):
        raise refuse(f"the labels 0 to {count - 1}, each once", "others")
    links = _links(records["links"], records["neighbours"], count)
    if links is None:
        raise refuse(f"at most {max_m0} links to nodes below {count}", "others")

    layers, end = _layers(raw, HEADER.size + count * record, count, max_m, highest)
    if layers is None or end != len(raw):
        raise refuse(f"{len(raw)} bytes of upper layers that link within themselves", f"a fault before byte {end}")
    if highest and entry not in layers[-1]:
        raise refuse(f"the entry point {entry} in the highest layer", "it elsewhere")
    seeds = next((list(layer) for layer in layers if 0 < len(layer) <= SEEDS), [entry])
    return Index(keys=keys, labels=records["label"].astype(np.int64), links=links, seeds=np.array(seeds, np.int64))


def _links(counts: NDArray[np.uint16], neighbours: NDArray[np.uint32], nodes: int) -> NDArray[np.int32] | None:
    """Neighbours as (n, maxM0) int32 with n where there is none; None if a count or link cannot be."""
    used = np.arange(neighbours.shape[1]) < counts[:, None]
    if counts.max() > neighbours.shape[1] or (used & (neighbours >= nodes)).any():
        return None
    return np.where(used, neighbours, np.uint32(nodes)).astype(np.int32)


def _layers(raw: bytes, at: int, count: int, max_m: int, highest: int) -> tuple[list[dict[int, list[int]]] | None, int]:
    """The layers above 0, lowest first, node to neighbours, and where they end; None if something cannot be."""
    size = 4 * (1 + max_m)
    layers: list[dict[int, list[int]]] = [{} for _ in range(highest)]
    for node in range(count):
        if at + 4 > len(raw):
            return None, at
        length = int.from_bytes(raw[at : at + 4], "little")
        at += 4
        if length % size or length // size > highest or at + length > len(raw):
            return None, at
        for layer in layers[: length // size]:
            links, *near = struct.unpack_from(f"<{1 + max_m}I", raw, at)
            at += size
            if links > max_m:
                return None, at
            layer[node] = near[:links]
    # A link may only lead to a node of the same layer, or a walk would fall out of it.
    for layer in layers:
        if any(other not in layer for near in layer.values() for other in near):
            return None, at
    return layers, at
