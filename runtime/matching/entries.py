"""Entries: the keys of an index, each once. One entry stands for all cells of the gallery that have its key.

Cells with equal keys look the same to a search by keys, and an even background has thousands of them. In a graph they
would be linked to each other only, and hide everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def entries_of(keys: NDArray[np.uint8], included: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The entry that stands for each cell: the first included cell with the same key.

    Args:
        keys: (n, D) uint8, the keys of all cells of an index.
        included: (n,) bool; the other cells have no entry.

    Returns:
        (n,) int32, numbers of cells; -1 for none.
    """
    cells = np.flatnonzero(included)
    entries = np.full(len(keys), -1, np.int32)
    if len(cells):
        entries[cells] = cells[_first_alike(keys[cells])]
    return entries


def belong_together(entries: NDArray[np.int32], labels: NDArray[np.int64], included: NDArray[np.bool_]) -> bool:
    """Whether entries are those of an index: of each included cell and of no other, and each a label of the index.

    Args:
        entries: (n,) int32, as from `entries_of`, but from a file.
        labels: the labels of the index, each once.
        included: (n,) bool.
    """
    own = entries[included]
    if (entries[~included] != -1).any() or not len(own) or own.max() >= len(entries):
        return False
    # Every entry stands for itself too, so no cell is lost and none is there twice.
    return np.array_equal(np.unique(own), np.sort(labels)) and bool((entries[labels] == labels).all())


def variants_of(entries: NDArray[np.int32], squares: NDArray[np.float32]) -> NDArray[np.int32]:
    """The cells that are the same: with one key, and embeddings of the same lengths.

    A key does not see all of a cell: fine detail is averaged, and embeddings depend on the positions around the cell.
    So cells with one key may differ, and a frame is compared with all that do.

    Args:
        entries: (n,) int32, as from `entries_of`.
        squares: (n, side * side) float32, squared lengths of the embeddings of each cell.

    Returns:
        (n,) int32, the first cell that is the same; -1 for cells without an entry.
    """
    variants = np.where(entries >= 0, np.arange(len(entries)), -1).astype(np.int32)
    shared = np.flatnonzero((entries >= 0) & (np.bincount(entries[entries >= 0], minlength=len(entries))[entries] > 1))
    if len(shared):
        whole = np.concatenate([entries[shared, np.newaxis].view(np.float32), squares[shared]], axis=1)  # bytes, unread
        variants[shared] = shared[_first_alike(whole)]
    return variants


def copies_of(keys: NDArray[np.uint8], squares: NDArray[np.float32]) -> NDArray[np.int32]:
    """The first cell that is the same as each: with its key, and embeddings of the same lengths.

    Args:
        keys: (n, D) uint8.
        squares: (n, side * side) float32, squared lengths of the embeddings of each cell.

    Returns:
        (n,) int32.
    """
    copies = np.arange(len(keys), dtype=np.int32)
    # Few cells share even one length, so few are compared as a whole.
    _, group, counts = np.unique(squares[:, 0].view(np.int32), return_inverse=True, return_counts=True)
    shared = np.flatnonzero(counts[group.ravel()] > 1)
    if len(shared):
        copies[shared] = shared[_first_alike(np.concatenate([keys[shared], squares[shared].view(np.uint8)], axis=1))]
    return copies


def _first_alike(rows: NDArray[Any]) -> NDArray[np.intp]:
    """For each of (n, C) rows the number of the first that is the same, byte by byte."""
    whole = np.ascontiguousarray(rows).view(f"V{rows.shape[1] * rows.itemsize}")[:, 0]  # one item for a row sorts fast
    _, first, group = np.unique(whole, return_index=True, return_inverse=True)
    return np.asarray(first[group.ravel()], np.intp)


def squares_of_keys(keys: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Squared lengths of (n, D) keys, (n,) int32."""
    wide = keys.astype(np.int32)
    return np.einsum("nd,nd->n", wide, wide)


@dataclass(frozen=True)
class Members:
    """The cells that the entries of an index stand for; of cells that are the same, the first that may be found.

    Attributes:
        cells: (m,) int64, numbers of cells, entry by entry, in ascending order of their variants.
        starts: (n,) int64, by label, where the cells of an entry begin in `cells`.
        counts: (n,) int64, by label, the number of its cells; 0 for entries none of whose cells may be found.
    """

    cells: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(
        cls, entries: NDArray[np.int32], variants: NDArray[np.int32], *, allowed: NDArray[np.bool_] | None = None
    ) -> Members:
        """The members of each entry.

        Args:
            entries: (n,) int32, as from `entries_of`.
            variants: (n,) int32, as from `variants_of`.
            allowed: (n,) bool, the included cells that may be found; None for all.
        """
        known = np.flatnonzero(entries >= 0 if allowed is None else allowed)[::-1]
        stand = np.full(len(entries), -1, np.int64)
        stand[variants[known]] = known  # of several cells that are the same, the first is written last
        found = np.flatnonzero(stand >= 0)
        own = entries[found]
        counts = np.bincount(own, minlength=len(entries))
        return cls(cells=stand[found[np.argsort(own, kind="stable")]], starts=np.cumsum(counts) - counts, counts=counts)

    def of_nodes(
        self, keys: NDArray[np.uint8], labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All cells, node by node of an index, in the order in which a search of it finds them.

        Args:
            keys: (m, D) uint8, of the nodes.
            labels: (m,), of the nodes.

        Returns:
            for each cell its key, (n, D) uint8, and its number, (n,) int64.
        """
        counts = self.counts[labels]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(keys, counts, axis=0), self.cells[np.repeat(self.starts[labels], counts) + within]

    def __call__(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The cells of the nearest entries, as many as there are labels: all of the first entry, then the next.

        Args:
            labels: (Q, T) labels, nearest first; -1 for none.

        Returns:
            (Q, T) numbers of cells, nearest first; -1 for none.
        """
        wanted = labels.shape[1]
        counts = np.where(labels >= 0, np.minimum(self.counts[labels], wanted), 0)
        ends = np.cumsum(counts, axis=1)
        # For each place the first entry that ends behind it, in all rows at once: each row has numbers of its own.
        row = np.arange(len(labels))[:, np.newaxis]
        shift = row * (wanted**2 + 1)
        places = np.arange(wanted)
        entry = np.searchsorted((ends + shift).ravel(), (places + shift).ravel(), side="right")
        entry = entry.reshape(labels.shape) - row * wanted
        there = entry < wanted
        entry = np.where(there, entry, 0)
        within = places - (ends - counts)[row, entry]
        return np.where(there, self.cells[np.where(there, self.starts[labels[row, entry]] + within, 0)], -1)
