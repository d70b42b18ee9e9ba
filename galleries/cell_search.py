"""How the cells of a bundle are found: by an HNSW index over their keys, or by the keys of each place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.index_writer import edit_indexes, write_indexes
from spade_edge.galleries.progress import Progress
from spade_edge.galleries.staging import Staging
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.matching.config import Matching
from spade_edge.runtime.matching.gallery import Features
from spade_edge.runtime.matching.graph_search import GraphSearch
from spade_edge.runtime.matching.hnsw import Index
from spade_edge.runtime.matching.matcher import Matcher


@dataclass(frozen=True)
class CellSearch:
    """What a matcher needs to find cells; nothing for exact search without codes.

    Attributes:
        indexes: HNSW indexes, if cells are matched at any place.
        entries: (items * cells,) int32, the label by which they know each cell; None without indexes.
        keys: (items * cells, D) uint8, if cells are matched by place; else None.
    """

    indexes: tuple[Index, ...] = ()
    entries: NDArray[np.int32] | None = None
    keys: NDArray[np.uint8] | None = None

    def matcher(
        self,
        gallery: Features,
        matching: Matching,
        *,
        included: NDArray[np.bool_],
        selected: NDArray[np.bool_] | None = None,
        threads: int | None,
    ) -> Matcher:
        """A matcher with this search.

        Args:
            gallery: the good images.
            matching: how to compare.
            included: (N,) bool, the good images that are matched at all, and found by this search.
            selected: (N,) bool, others that are matched on top of those; None for none.
            threads: threads of onnxruntime; None for one per core.
        """
        return Matcher(
            gallery,
            matching,
            searches=[GraphSearch(index, threads=threads) for index in self.indexes],
            entries=self.entries,
            keys=self.keys,
            included=included,
            selected=selected,
            threads=threads,
        )


def edit_cell_search(
    stage: Staging,
    opened: Bundle,
    keys: NDArray[np.uint8] | None,
    matching: Matching,
    *,
    views: int,
    included: NDArray[np.bool_],
    progress: Progress,
) -> CellSearch:
    """The same for a bundle whose images have changed: nodes join its graphs and leave them, without hnswlib.

    If more than a quarter of the nodes changes, or the bundle had no graph, the graph is built anew with hnswlib.

    Args:
        stage: the new generation.
        opened: the bundle as it was.
        keys: (items * cells, D) uint8, of all cells as they are now; None without codes.
        matching: how cells are matched.
        views: per good image.
        included: (N,) bool, the good images that are matched at all.
        progress: wraps the indexes, with a label.

    Raises:
        DeviceError: hnswlib is needed and not installed.
    """
    if keys is None or matching.place is not None or not opened.indexes:
        return write_cell_search(stage, keys, matching, views=views, included=included, progress=progress)
    items = np.tile(included, views)
    indexes, entries = edit_indexes(stage, opened, keys, included=items, progress=progress)
    return CellSearch(indexes=tuple(indexes), entries=entries)


def write_cell_search(
    stage: Staging,
    keys: NDArray[np.uint8] | None,
    matching: Matching,
    *,
    views: int,
    included: NDArray[np.bool_],
    progress: Progress,
) -> CellSearch:
    """Add the files by which cells are found to a bundle.

    Args:
        stage: the bundle.
        keys: (items * cells, D) uint8, the keys of all cells; None without codes, where none are searched.
        matching: how cells are matched.
        views: per good image.
        included: (N,) bool, the good images that are matched at all.
        progress: wraps the parts of the keys, with a label.
    """
    if keys is None:
        return CellSearch()
    if matching.place is not None:
        stage.add_array("keys", keys)
        return CellSearch(keys=keys)
    items = np.tile(included, views)
    indexes, entries = write_indexes(stage, keys, matching.indexes(views), included=items, progress=progress)
    return CellSearch(indexes=tuple(indexes), entries=entries)
