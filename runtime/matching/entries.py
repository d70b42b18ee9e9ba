"""Entries: the keys of an index, each once. One entry stands for all cells of the gallery that have its key.

Cells with equal keys are copies of each other as far as a search by keys can tell: even backgrounds have thousands. In
a graph they would be linked to each other only, and hide everything else.
"""

from __future__ import annotations

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
        whole = np.ascontiguousarray(keys[cells]).view(f"V{keys.shape[1]}")[:, 0]  # a key as one item sorts fast
        _, first, group = np.unique(whole, return_index=True, return_inverse=True)
        entries[cells] = cells[first[group.ravel()]]
    return entries


def belong_together(entries: NDArray[np.int32], labels: NDArray[np.int64], included: NDArray[np.bool_]) -> bool:
    """Whether entries are those of an index: of each included cell and of no other, and each a label of the index.

    Args:
        entries: (n,) int32, as from `entries_of`, but from a file.
        labels: the labels of the index, each once.
        included: (n,) bool.
    """
    own = entries[included]
    if (entries[~included] != -1).any() or not len(own) or own.min() < 0 or own.max() >= len(entries):
        return False
    # Every entry stands for itself too, so no cell is lost and none is there twice.
    return np.array_equal(np.unique(own), np.sort(labels)) and bool((entries[labels] == labels).all())


def stand_ins(entries: NDArray[np.int32], allowed: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The cell that each entry stands for if only some cells may be found: the first of those with its key.

    Args:
        entries: (n,) int32, as from `entries_of`.
        allowed: (n,) bool, included cells.

    Returns:
        (n,) int32, by label; -1 for entries none of whose cells is allowed, and for cells that are no entry.
    """
    cells = np.flatnonzero(allowed)[::-1]  # of several cells with one entry, the first is written last
    stand = np.full(len(entries), -1, np.int32)
    stand[entries[cells]] = cells
    return stand
