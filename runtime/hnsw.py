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
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import BundleError

HEADER = struct.Struct("<6QiI3QdQ")
BEAM = 8  # nodes a query opens in one round: wide enough that a round is one large gather and one product
CHUNK = 64 << 20  # bytes of the table of visited nodes
SEEDS = 4096  # size of a layer up to which all of it is looked at for a start
LARGEST = 1e15  # a coordinate whose square and sums still fit float32
FEW = 16384  # allowed nodes up to which looking at each of them beats walking the graph


@dataclass(frozen=True)
class Index:
    """A graph over n vectors.

    Attributes:
        vectors: (n, D) float32, in the file's order, which is not that of the labels.
        labels: (n,) int64, what the builder calls each vector.
        links: (n, maxM0) int32, neighbours in layer 0; -1 where there is none.
        seeds: (S,) int64, nodes from which the best is taken to start a walk: all of the lowest upper layer that is
            small enough to look through. The paper descends through the upper layers link by link; one product over
            a layer finds a better start in less time.
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    links: NDArray[np.int32]
    seeds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def _squares(self) -> NDArray[np.float32]:
        return np.einsum("nd,nd->n", self.vectors, self.vectors)

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

    def search(
        self, queries: NDArray[np.float32], *, count: int, ef: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the nearest vectors, approximately: the best `ef` that a walk over the graph meets.

        Args:
            queries: (Q, D) float32.
            count: how many to find for each query; at most as many as are allowed.
            ef: length of the list of best vectors kept during the walk; raised to `count` if smaller.
            allowed: (n,) bool, the labels that may be found; others are walked over but never found.

        Returns:
            labels (Q, count) int64 and squared distances (Q, count) float32, nearest first. Where a walk finds fewer
            than `count`, the label is -1 and the distance infinite.
        """
        if allowed is not None:
            allowed = allowed[self.labels]
        if allowed is not None and allowed.sum() <= FEW:
            nodes, distances = self._look_at_each(queries, np.flatnonzero(allowed), count)
        else:
            rows = max(1, CHUNK // len(self))
            parts = [
                self._walk(queries[start : start + rows], max(ef, count), allowed)
                for start in range(0, len(queries), rows)
            ]
            nodes = np.concatenate([nodes[:, :count] for nodes, _ in parts])
            distances = np.concatenate([distances[:, :count] for _, distances in parts])
        return np.where(nodes < 0, -1, self.labels[nodes]), distances

    def _look_at_each(
        self, queries: NDArray[np.float32], nodes: NDArray[np.intp], count: int
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        table = self._squares[nodes] - 2 * queries @ self.vectors[nodes].T
        count = min(count, len(nodes))
        best = np.argpartition(table, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(table, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        squares = np.einsum("qd,qd->q", queries, queries)[:, None]
        return nodes[best], np.maximum(np.take_along_axis(table, best, axis=1) + squares, 0)

    def _starts(self, queries: NDArray[np.float32]) -> NDArray[np.intp]:
        """The seed nearest to each query: where its walk starts."""
        table = self._squares[self.seeds] - 2 * queries @ self.vectors[self.seeds].T
        return self.seeds[table.argmin(axis=1)]

    def _walk(
        self,
        queries: NDArray[np.float32],
        ef: int,
        allowed: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Best-first search in layer 0, all queries in step: (Q, ef) nodes and squared distances, nearest first.

        Each round every query opens its `BEAM` nearest unopened nodes and looks at their neighbours. A query is done
        when its nearest unopened node is farther than the worst of its `ef` best, as in the paper's algorithm 2.
        """
        width = ef + BEAM  # an unopened node beyond the ef best is never opened, unless a filter thins them out
        if allowed is not None:
            width += ef * 4
        count, rows = len(queries), np.arange(len(queries))[:, None]
        query_squares = np.einsum("qd,qd->q", queries, queries)
        visited = np.zeros((count, len(self) + 1), bool)  # the last column stands for "no link"
        start = self._starts(queries)
        difference = self.vectors[start] - queries
        found = np.full((count, ef), -1, np.intp)
        found_at = np.full((count, ef), np.inf, np.float32)
        open_ = np.full((count, width), -1, np.intp)
        open_at = np.full((count, width), np.inf, np.float32)
        open_[:, 0] = start
        open_at[:, 0] = np.einsum("qd,qd->q", difference, difference)
        visited[rows[:, 0], start] = True
        visited[:, -1] = True
        keep = np.ones(count, bool) if allowed is None else allowed[start]
        found[keep, 0], found_at[keep, 0] = start[keep], open_at[keep, 0]

        active = np.arange(count)
        while len(active):
            row = np.arange(len(active))[:, None]
            nodes, at = open_[active, :BEAM], open_at[active, :BEAM]
            nodes = np.where(at <= found_at[active, -1:], nodes, -1)
            near = np.where(nodes[:, :, None] < 0, -1, self.links[nodes]).reshape(len(active), -1)
            # A node may be a neighbour of several opened ones: keep its first mention only.
            fresh = ~visited[active[:, None], near]
            visited[active[:, None], near] = True
            order = np.argsort(near, axis=1, kind="stable")
            ordered = np.take_along_axis(near, order, axis=1)
            repeated = np.zeros_like(fresh)
            repeated[row, order[:, 1:]] = ordered[:, 1:] == ordered[:, :-1]
            fresh &= ~repeated
            products = np.matmul(self.vectors[near], queries[active][:, :, None])[:, :, 0]
            distances = self._squares[near] - 2 * products + query_squares[active, None]
            distances = np.where(fresh, np.maximum(distances, 0), np.inf).astype(np.float32)

            found[active], found_at[active] = _merge(
                found[active],
                found_at[active],
                near,
                distances if allowed is None else np.where(allowed[near], distances, np.inf),
            )
            open_[active], open_at[active] = _merge(
                np.pad(open_[active, BEAM:], ((0, 0), (0, BEAM)), constant_values=-1),
                np.pad(open_at[active, BEAM:], ((0, 0), (0, BEAM)), constant_values=np.inf),
                near,
                distances,
            )
            nearest = open_at[active, 0]
            active = active[np.isfinite(nearest) & (nearest <= found_at[active, -1])]
        found[~np.isfinite(found_at)] = -1
        return found, found_at


def _merge(
    nodes: NDArray[np.intp], at: NDArray[np.float32], new: NDArray[np.int32], new_at: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Merge two lists of nodes per query, keeping the nearest of both, as many as the first list has."""
    nodes, at = np.concatenate([nodes, new], axis=1), np.concatenate([at, new_at], axis=1)
    width = nodes.shape[1] - new.shape[1]
    order = np.argsort(at, axis=1, kind="stable")[:, :width]
    return np.take_along_axis(nodes, order, axis=1), np.take_along_axis(at, order, axis=1)


def _parse(raw: bytes, name: str) -> Index:
    def refuse(expected: str, found: object) -> BundleError:
        return BundleError(f"{name}: expected {expected}, found {found}; build the bundle again or copy it anew")

    if len(raw) < HEADER.size:
        raise refuse(f"an index of at least {HEADER.size} bytes", f"{len(raw)} bytes")
    (start, _, count, record, label_at, vector_at, highest, entry, max_m, max_m0, m, _, _) = HEADER.unpack_from(raw)
    dimension = (label_at - vector_at) // 4
    if start != 0 or vector_at != 4 + 4 * max_m0 or label_at <= vector_at or (label_at - vector_at) % 4:
        raise refuse("an hnswlib header", "sizes that do not fit together")
    if record != label_at + 8 or not 1 <= m <= max_m <= max_m0 <= 4096 or dimension > 65536:
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
    vectors = np.ascontiguousarray(records["vector"], np.float32)
    if not (np.abs(vectors) < LARGEST).all():  # NaN is not smaller either
        raise refuse(f"finite vectors below {LARGEST:g}", "NaN, infinity or larger ones")
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
    return Index(
        vectors=vectors, labels=records["label"].astype(np.int64), links=links, seeds=np.array(seeds, np.int64)
    )


def _links(counts: NDArray[np.uint16], neighbours: NDArray[np.uint32], nodes: int) -> NDArray[np.int32] | None:
    """Neighbours as (n, maxM0) int32 with -1 where there is none; None if a count or link cannot be."""
    used = np.arange(neighbours.shape[1]) < counts[:, None]
    if counts.max() > neighbours.shape[1] or (used & (neighbours >= nodes)).any():
        return None
    return np.where(used, neighbours, np.uint32(0xFFFFFFFF)).view(np.int32)


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
