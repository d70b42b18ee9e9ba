"""Reads an HNSW index in hnswlib's file format, without hnswlib.

HNSW: Malkov & Yashunin 2016, arXiv 1603.09320. The format is little-endian and has no magic, version or checksum:

    header    u64 offsetLevel0 = 0, max_elements, count, record size, label offset, vector offset
              i32 highest layer, u32 entry point; u64 maxM, maxM0, M; f64 mult; u64 ef_construction    (96 bytes)
    records   count times: u16 links, u8 deleted, pad, maxM0 x u32 links | float32 vector | u64 label
    layers    count times: u32 bytes that follow, then per layer above 0: u32 links, maxM x u32 links

hnswlib's own loader trusts the file. This one checks every size, link and number before it is used.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.matching.coding import LARGEST

HEADER = struct.Struct("<6QiI3QdQ")
SEEDS = 8192  # largest layer whose nodes all serve as seeds; with more, the search for the nearest takes longest
MOST_LINKS = 1024  # of a node; the graph search numbers them with 10 bits
DIMENSIONS = 64  # at most; then a squared distance and a column number fit 31 bits


@dataclass(frozen=True)
class Index:
    """A graph over n keys.

    Attributes:
        keys: (n, D) uint8, 0 to 127, in the file's order, which is not that of the labels.
        labels: (n,) int64, the number of each key's cell; cells of excluded images have no key.
        links: (n, maxM0) int32, neighbours in layer 0; n for none.
        seeds: (S,) int64, nodes of which the nearest start the graph search: the whole of the lowest upper layer with
            at most `SEEDS` nodes. The paper descends through the upper layers link by link; one product over a layer
            finds better starting points in less time.
    """

    keys: NDArray[np.uint8]
    labels: NDArray[np.int64]
    links: NDArray[np.int32]
    seeds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def read(cls, path: Path, *, seeds: int = SEEDS) -> Index:
        """Read an index file.

        Args:
            path: the file.
            seeds: largest layer whose nodes all serve as seeds.

        Raises:
            BundleError: the file is not an index, is truncated, or contains an impossible size, link or number.
        """
        try:
            raw = path.read_bytes()
        except OSError as problem:
            raise BundleError(f"{path}: expected an index file, found: {problem.strerror}") from None
        return _parse(raw, str(path), most_seeds=seeds)


def record_type(links: int, dimension: int) -> np.dtype[np.void]:
    """A node in layer 0, with room for so many links, and a key of so many numbers."""
    vector_at = 4 + 4 * links
    label_at = vector_at + 4 * dimension
    return np.dtype(
        {
            "names": ["links", "deleted", "neighbours", "vector", "label"],
            "formats": ["<u2", "u1", ("<u4", (links,)), ("<f4", (dimension,)), "<u8"],
            "offsets": [0, 2, 4, vector_at, label_at],
            "itemsize": label_at + 8,
        }
    )


def _parse(raw: bytes, name: str, *, most_seeds: int) -> Index:
    def refuse(expected: str, found: object) -> BundleError:
        return BundleError(f"{name}: expected {expected}, found {found}; build the bundle again or copy it again")

    if len(raw) < HEADER.size:
        raise refuse(f"an index of at least {HEADER.size} bytes", f"{len(raw)} bytes")
    (start, _, count, record, label_at, vector_at, highest, start_node, max_m, max_m0, m, _, _) = HEADER.unpack_from(
        raw
    )
    dimension = (label_at - vector_at) // 4
    if start != 0 or vector_at != 4 + 4 * max_m0 or label_at <= vector_at or (label_at - vector_at) % 4:
        raise refuse("an hnswlib header", "sizes that do not fit together")
    if record != label_at + 8 or not 1 <= m <= max_m <= max_m0 <= MOST_LINKS or dimension > DIMENSIONS:
        raise refuse("an hnswlib header", "sizes that do not fit together")
    if not 0 < count < 2**31 or HEADER.size + count * record > len(raw):
        raise refuse(f"room for {count} records of {record} bytes", f"a file of {len(raw)} bytes")
    if start_node >= count or not 0 <= highest < 64:
        raise refuse(f"an entry point below {count} and a layer below 64", f"{start_node} and {highest}")

    records = np.ndarray(count, record_type(max_m0, dimension), raw, HEADER.size)
    vectors = records["vector"]
    keys = np.clip(np.nan_to_num(vectors), 0, LARGEST).astype(np.uint8)
    if not np.array_equal(keys, vectors):  # NaN and infinity too
        raise refuse(f"coordinates that are whole numbers from 0 to {LARGEST}", "others")
    if records["deleted"].any():
        raise refuse("no deleted records", f"{int((records['deleted'] != 0).sum())}")
    labels = records["label"]
    if len(np.unique(labels)) != count or labels.max() >= 2**31:
        raise refuse("labels below 2^31, each once", "others")
    links = _links(records["links"], records["neighbours"], count)
    if links is None:
        raise refuse(f"at most {max_m0} links to nodes below {count}", "others")

    layers, end = _layers(raw, HEADER.size + count * record, count, max_m, highest)
    if layers is None or end != len(raw):
        raise refuse(f"{len(raw)} bytes of upper layers that link within themselves", f"a fault before byte {end}")
    if highest and start_node not in layers[-1]:
        raise refuse(f"the entry point {start_node} in the highest layer", "it elsewhere")
    seeds = next((list(layer) for layer in layers if 0 < len(layer) <= most_seeds), [start_node])
    return Index(keys=keys, labels=labels.astype(np.int64), links=links, seeds=np.array(seeds, np.int64))


def _links(counts: NDArray[np.uint16], neighbours: NDArray[np.uint32], nodes: int) -> NDArray[np.int32] | None:
    """Neighbours as (n, maxM0) int32, n for none; None if a count or link is impossible."""
    used = np.arange(neighbours.shape[1]) < counts[:, None]
    if counts.max() > neighbours.shape[1] or (used & (neighbours >= nodes)).any():
        return None
    return np.where(used, neighbours, np.uint32(nodes)).astype(np.int32)


def _layers(raw: bytes, at: int, count: int, max_m: int, highest: int) -> tuple[list[dict[int, list[int]]] | None, int]:
    """The layers above 0, lowest first, as node to neighbours, and their end; None if something is impossible."""
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
    # A link may only lead to a node of the same layer.
    for layer in layers:
        if any(other not in layer for near in layer.values() for other in near):
            return None, at
    return layers, at
