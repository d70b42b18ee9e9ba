"""Clustered keys, HNSW index files, and what every answer of a search has to hold."""

from __future__ import annotations

from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint8]


def clustered(count: int, dimensions: int, seed: int = 0, *, centres: int = 40) -> Keys:
    middle = np.random.default_rng(99).uniform(20, 107, (centres, dimensions))
    rng = np.random.default_rng(seed)
    keys = middle[rng.integers(0, centres, count)] + rng.normal(0, 6, (count, dimensions))
    return np.clip(np.rint(keys), 0, 127).astype(np.uint8)


def written_by_hnswlib(keys: Keys, path: Path, *, M: int, ef_construction: int = 100) -> hnswlib.Index:
    index = hnswlib.Index(space="l2", dim=keys.shape[1])
    index.init_index(max_elements=len(keys) + 7, M=M, ef_construction=ef_construction, random_seed=1)
    index.add_items(keys.astype(np.float32), np.arange(len(keys)), num_threads=1)
    index.save_index(str(path))
    return index


def true_distances(keys: Keys, queries: Keys) -> NDArray[np.int64]:
    """(Q, n), every query to every key."""
    return np.array([((keys.astype(np.int64) - query) ** 2).sum(axis=1) for query in queries])


def check_answer(keys: Keys, queries: Keys, answer: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
    """What holds of every answer, however good: true whole distances, nearest first, no label twice, -1 at the end."""
    labels, distances = answer
    assert labels.dtype == distances.dtype == np.int64
    assert labels.shape == distances.shape
    assert len(labels) == len(queries)
    for query, row, found in zip(queries.astype(np.int64), labels, distances, strict=True):
        known = row >= 0
        assert (row[~known] == -1).all()
        assert (np.diff(known.astype(int)) <= 0).all()
        assert len(set(row[known].tolist())) == known.sum()
        assert np.array_equal(((keys[row[known]] - query) ** 2).sum(axis=1), found[known])
        assert (np.diff(found) >= 0).all()
