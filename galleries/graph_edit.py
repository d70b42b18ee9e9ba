"""Nodes join an HNSW graph and leave it, in hnswlib's file format and without hnswlib.

HNSW: Malkov & Yashunin 2016, arXiv 1603.09320. A node that joins is linked as hnswlib would link it (algorithms 1, 3
and 4), only that the nearest nodes are found by comparing with each, which is exact and one product. Where a node
leaves, its neighbours are linked anew among what they and it were linked to. hnswlib reads the result and may add to
it.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import BundleError
from spade_edge.runtime.matching.entries import squares_of_keys
from spade_edge.runtime.matching.hnsw import HEADER, record_type

SEED = 100
LEAST_LINKS = 2  # M; with one link, every node would be in every layer
BLOCK = 64  # joining nodes whose distances to all others are held at a time


@dataclass
class Graph:
    """An HNSW graph that can be changed.

    Attributes:
        keys: (n, D) uint8.
        labels: (n,) int64.
        layers: for each layer, lowest first, node to its neighbours; layer 0 has every node.
        entry: the node that hnswlib starts from, in the highest layer.
        most: links of a node in the layers above 0; in layer 0 twice as many.
        ef_construction: number of nearest nodes that links are chosen from.
    """

    keys: NDArray[np.uint8]
    labels: NDArray[np.int64]
    layers: list[dict[int, list[int]]]
    entry: int
    most: int
    ef_construction: int

    @classmethod
    def read(cls, path: Path) -> Graph:
        """Read a file that `hnsw.Index.read` has accepted.

        Raises:
            BundleError: its nodes have other numbers of links than those of hnswlib.
        """
        raw = path.read_bytes()
        (_, _, count, record, label_at, vector_at, highest, entry, most_above, most0, most, _, ef_construction) = (
            HEADER.unpack_from(raw)
        )
        if most < LEAST_LINKS or most_above != most or most0 != 2 * most:
            raise BundleError(
                f"{path}: expected nodes with M links, 2 M in the lowest layer, M at least {LEAST_LINKS}, found M = "
                f"{most}, {most_above} and {most0}; build the index anew with 'spade-edge gallery compact'"
            )
        records = np.ndarray(count, record_type(most0, (label_at - vector_at) // 4), raw, HEADER.size)
        ground = {
            node: near[:links]
            for node, (links, near) in enumerate(
                zip(records["links"].tolist(), records["neighbours"].tolist(), strict=True)
            )
        }
        layers: list[dict[int, list[int]]] = [ground, *({} for _ in range(highest))]
        at = HEADER.size + count * record
        for node in range(count):
            (length,) = struct.unpack_from("<I", raw, at)
            at += 4
            for layer in layers[1 : 1 + length // (4 * (1 + most))]:
                links, *near = struct.unpack_from(f"<{1 + most}I", raw, at)
                layer[node] = near[:links]
                at += 4 * (1 + most)
        return cls(
            keys=records["vector"].astype(np.uint8),
            labels=records["label"].astype(np.int64),
            layers=layers,
            entry=entry,
            most=most,
            ef_construction=ef_construction,
        )

    def write(self, path: Path) -> None:
        """Write the graph in hnswlib's format."""
        count, dimension = self.keys.shape
        most0 = 2 * self.most
        vector_at = 4 + 4 * most0
        label_at = vector_at + 4 * dimension
        records = np.zeros(count, record_type(most0, dimension))
        for node, near in self.layers[0].items():
            records["links"][node] = len(near)
            records["neighbours"][node, : len(near)] = near
        records["vector"], records["label"] = self.keys, self.labels
        upper = []
        for node in range(count):
            own = [layer[node] for layer in self.layers[1:] if node in layer]
            upper.append(struct.pack("<I", len(own) * 4 * (1 + self.most)))
            for near in own:
                padded = near + [0] * (self.most - len(near))
                upper.append(struct.pack(f"<{1 + self.most}I", len(near), *padded))
        header = HEADER.pack(
            0,
            count,
            count,
            label_at + 8,
            label_at,
            vector_at,
            len(self.layers) - 1,
            self.entry,
            self.most,
            most0,
            self.most,
            1 / math.log(self.most),
            self.ef_construction,
        )
        path.write_bytes(header + records.tobytes() + b"".join(upper))

    def remove(self, gone: NDArray[np.bool_]) -> None:
        """Remove nodes, not all of them.

        Args:
            gone: (n,) bool.
        """
        left = set(np.flatnonzero(gone).tolist())
        for number, layer in enumerate(self.layers):
            most = self.most if number else 2 * self.most
            former = {node: layer.pop(node) for node in left if node in layer}
            for node, near in layer.items():
                if left.isdisjoint(near):
                    continue
                beyond = [other for lost in near if lost in former for other in former[lost]]
                known = {other for other in (*near, *beyond) if other not in left and other != node}
                layer[node] = self._chosen(node, sorted(known), most)
        self.layers = [self.layers[0], *filter(None, self.layers[1:])]
        if self.entry in left or self.entry not in self.layers[-1]:
            self.entry = min(self.layers[-1])
        numbers = np.cumsum(~gone) - 1
        renumbered = numbers.tolist()
        self.layers = [
            {renumbered[node]: [renumbered[other] for other in near] for node, near in layer.items()}
            for layer in self.layers
        ]
        self.entry = renumbered[self.entry]
        self.keys, self.labels = self.keys[~gone], self.labels[~gone]

    def add(self, keys: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Add nodes one after the other.

        Args:
            keys: (m, D) uint8, none of which is in the graph.
            labels: (m,).
        """
        first = len(self.keys)
        self.keys = np.concatenate([self.keys, keys])
        self.labels = np.concatenate([self.labels, labels])
        lengths = squares_of_keys(self.keys).astype(np.float32)
        turned = self.keys.astype(np.float32).T
        for start in range(first, len(self.keys), BLOCK):
            block = np.arange(start, min(start + BLOCK, len(self.keys)))
            # Whole numbers below 2^24, so float32 is exact.
            apart = lengths - 2 * (self.keys[block].astype(np.float32) @ turned) + lengths[block, np.newaxis]
            for node, distances in zip(block.tolist(), apart, strict=True):
                self._join(node, distances[:node])

    def _join(self, node: int, distances: NDArray[np.float32]) -> None:
        """Link a node with those before it (algorithm 1)."""
        highest = len(self.layers) - 1
        level = _level(int(self.labels[node]), self.most)
        for number in range(min(level, highest), -1, -1):
            layer = self.layers[number]
            if number:
                others = np.array(sorted(layer), np.int64)
                nearest = others[_few_nearest(distances[others], self.ef_construction)]
            else:
                nearest = _few_nearest(distances, self.ef_construction)
            layer[node] = self._chosen(node, nearest.tolist(), self.most)
            most = self.most if number else 2 * self.most
            for other in layer[node]:
                near = [*layer[other], node]
                layer[other] = near if len(near) <= most else self._chosen(other, near, most)
        for _ in range(highest, level):
            self.layers.append({node: []})
            self.entry = node

    def _chosen(self, node: int, others: list[int], most: int) -> list[int]:
        """Links of a node among some others: in each direction the nearest (algorithm 4, as hnswlib has it)."""
        if len(others) < most:
            return others
        keys = self.keys[[node, *others]].astype(np.int32)
        products = keys @ keys.T
        lengths = np.diagonal(products)
        apart = lengths - 2 * products + lengths[:, np.newaxis]
        own, between = apart[0, 1:], apart[1:, 1:]
        chosen: list[int] = []
        open_ = np.ones(len(others), bool)
        for place in np.argsort(own, kind="stable").tolist():
            if not open_[place]:
                continue
            chosen.append(others[place])
            if len(chosen) == most:
                break
            open_ &= between[place] >= own  # the others are nearer to this one than to the node
        return chosen


def _few_nearest(distances: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """The `count` smallest, in any order."""
    if len(distances) <= count:
        return np.arange(len(distances))
    return np.argpartition(distances, count - 1)[:count]


def _level(label: int, most: int) -> int:
    """The highest layer of a node, at random, but always the same for a label."""
    return int(-math.log(1 - np.random.default_rng([SEED, label]).random()) / math.log(most))
