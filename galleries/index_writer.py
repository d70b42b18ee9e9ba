"""Building HNSW indexes with hnswlib. No other module imports it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.graph_edit import Graph
from spade_edge.galleries.progress import Progress
from spade_edge.galleries.staging import Staging
from spade_edge.runtime import BundleError, DeviceError, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.matching.entries import entries_of
from spade_edge.runtime.matching.graph_search import GraphSearch, farthest
from spade_edge.runtime.matching.hnsw import Index

LINKS = 10  # M of Malkov & Yashunin: links of a node in the upper layers; in the lowest layer twice as many
EF_CONSTRUCTION = 200  # more takes longer without better results; measured in docs/architecture.md
SEED = 100
MOST_EDITED = 4  # one node in so many may change before a graph is built anew


def write_index(keys: NDArray[np.uint8], path: Path, *, labels: NDArray[np.int64] | None = None) -> None:
    """Build an index over keys (n, D) uint8 and write it in hnswlib's file format. Labels are 0 to n - 1 unless given.

    hnswlib stores float32, which represents uint8 exactly. One thread adds the keys in order, so the same keys give the
    same file.

    Raises:
        DeviceError: hnswlib is not installed.
    """
    index = import_hnswlib().Index(space="l2", dim=keys.shape[1])
    index.init_index(max_elements=len(keys), M=LINKS, ef_construction=EF_CONSTRUCTION, random_seed=SEED)
    index.set_num_threads(1)
    index.add_items(keys.astype(np.float32), np.arange(len(keys)) if labels is None else labels, num_threads=1)
    index.save_index(str(path))


def write_indexes(
    stage: Staging, keys: NDArray[np.uint8], count: int, *, included: NDArray[np.bool_], progress: Progress
) -> tuple[list[Index], NDArray[np.int32]]:
    """Add the indexes of a bundle: one over all cells, or one per view over the cells of that view.

    Each key is in an index once, and the entries tell which cells it stands for.

    Args:
        stage: the bundle.
        keys: (items * cells, D) uint8; the cells of a view lie together.
        count: of indexes.
        included: (items,) bool; cells of other items are left out, and the labels of the rest stay.
        progress: wraps the parts of the keys, with a label.

    Returns:
        the indexes, and the entries, (items * cells,) int32: the label by which its index knows each cell.
    """
    indexes, entries = [], np.empty(len(keys), np.int32)
    kept = np.repeat(included, len(keys) // len(included))
    for number, own in enumerate(progress(np.split(np.arange(len(keys)), count), "indexing cells"), start=1):
        entries[own] = entries_of(keys[own], kept[own])
        labels = np.flatnonzero(entries[own] == np.arange(len(own)))
        scratch = stage.scratch("index.hnsw")
        write_index(keys[own[labels]], scratch, labels=labels)
        indexes.append(Index.read(stage.add("index" if count == 1 else f"index{number}", scratch)))
    stage.add_array("entries", entries)
    return indexes, entries


def edit_indexes(
    stage: Staging, opened: Bundle, keys: NDArray[np.uint8], *, included: NDArray[np.bool_], progress: Progress
) -> tuple[list[Index], NDArray[np.int32]]:
    """Change the indexes of a bundle so that they hold the keys of other cells; see `write_indexes`.

    Args:
        stage: the new generation.
        opened: the bundle as it was.
        keys: (items * cells, D) uint8, of all cells as they are now.
        included: (items,) bool.
        progress: wraps the indexes, with a label.

    Raises:
        DeviceError: so many keys change that hnswlib is needed, and it is not installed.
    """
    roles = opened.manifest.index_roles()
    indexes, entries = [], np.empty(len(keys), np.int32)
    kept = np.repeat(included, len(keys) // len(included))
    parts = np.split(np.arange(len(keys)), len(roles))
    for role, own in zip(roles, progress(parts, "indexing cells"), strict=True):
        entries[own] = entries_of(keys[own], kept[own])
        labels = np.flatnonzero(entries[own] == np.arange(len(own)))
        graph = Graph.read(opened.path / opened.manifest.files[role].name)
        wanted = dict(zip(map(bytes, keys[own[labels]]), labels.tolist(), strict=True))
        now = np.array([wanted.pop(bytes(key), -1) for key in graph.keys], np.int64)
        joining = np.array(sorted(wanted.values()), np.int64)
        scratch = stage.scratch("index.hnsw")
        if (int((now < 0).sum()) + len(joining)) * MOST_EDITED > len(graph.keys):
            write_index(keys[own[labels]], scratch, labels=labels)
        else:
            unchanged = not len(joining) and np.array_equal(graph.labels, now)
            graph.labels = now
            if (now < 0).any():
                graph.remove(now < 0)
            graph.add(keys[own[joining]], joining)
            if unchanged:
                shutil.copyfile(opened.path / opened.manifest.files[role].name, scratch)
            else:
                graph.write(scratch)
        indexes.append(Index.read(stage.add(role, scratch)))
    stage.add_array("entries", entries)
    return indexes, entries


class HnswlibSearch:
    """Finds a bundle's cells with hnswlib itself: `Scorer.open(path, searches=[HnswlibSearch(path)])`.

    It is faster than the runtime's own graph search, but hnswlib must be installed. The farthest cells of a view are
    compared with every key here, too, and not by hnswlib.

    Args:
        bundle: the bundle folder, built with the default --projection.
        threads: of hnswlib; None for one per core.

    Raises:
        BundleError: no index in the bundle, or a damaged one.
        DeviceError: hnswlib is not installed.
    """

    def __init__(self, bundle: str | os.PathLike[str], *, view: int = 0, threads: int | None = None) -> None:
        opened = Bundle.open(Path(bundle))  # hnswlib itself would trust a damaged file
        roles = opened.manifest.index_roles()
        if not roles:
            raise BundleError(
                f"{bundle}: expected an index, found none: it was built with --place N or with --projection none"
            )
        if not 0 <= view < len(roles):
            raise UsageError(f"{bundle}: expected a view from 0 to {len(roles) - 1}, found {view}")
        path = opened.path / opened.manifest.files[roles[view]].name
        known = opened.indexes[view]
        self._index = import_hnswlib().Index(space="l2", dim=known.keys.shape[1])
        self._index.load_index(str(path), max_elements=len(known))
        self._every = GraphSearch(known, threads=threads, exhaustive=len(known))
        if threads is not None:
            self._index.set_num_threads(threads)

    def __call__(
        self, queries: NDArray[np.uint8], *, count: int, ef: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """See `spade_edge.runtime.matching.hnsw.Search`."""
        known = min(count, len(self._every.index) if allowed is None else int(allowed.sum()))
        self._index.set_ef(max(ef, known))
        permitted = None if allowed is None else (lambda label: bool(allowed[label]))
        threads = -1 if allowed is None else 1  # a filter is called back in Python
        try:
            labels, distances = self._index.knn_query(
                queries.astype(np.float32), k=known, filter=permitted, num_threads=threads
            )
        except RuntimeError as problem:  # its search ended before it found as many
            raise BundleError(
                f"expected hnswlib to find {known} cells for each cell of a frame, found fewer ({problem}); "
                "raise --ef when building, or leave the search to the runtime"
            ) from None
        rest = ((0, 0), (0, count - known))
        found = np.pad(labels.astype(np.int64), rest, constant_values=-1)
        apart = np.pad(np.rint(distances).astype(np.int64), rest, constant_values=np.iinfo(np.int64).max)
        again = farthest(apart[:, 0])
        found[again], apart[again] = self._every(queries[again], count=count, ef=ef, allowed=allowed)
        return found, apart


def import_hnswlib() -> Any:
    """The package.

    Raises:
        DeviceError: it is not installed.
    """
    try:
        import hnswlib
    except ModuleNotFoundError:
        raise DeviceError(
            "expected hnswlib, found none: pip install 'spade-edge[galleries]' (it is compiled: a C++ compiler "
            "and Python's headers are needed)"
        ) from None
    return hnswlib


def index_bytes(count: int, dimensions: int) -> int:
    """Size of the file to within a percent: a record per key, and links in an upper layer for one node in M."""
    return count * (4 + 4 * 2 * LINKS + 4 * dimensions + 8 + 4) + count * 4 * (LINKS + 1) // (LINKS - 1)
