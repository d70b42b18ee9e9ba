"""Writing an HNSW index. The only module that imports hnswlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DeviceError

LINKS = 16  # M of the paper: links of a node in the upper layers, twice as many in the lowest
EF_CONSTRUCTION = 200
SEED = 100


def write_index(keys: NDArray[np.float32], path: Path) -> None:
    """Build an index over keys (n, D) float32, labelled 0 to n - 1, and write it in hnswlib's file format.

    One thread adds the keys in order, so the same keys give the same file.

    Raises:
        DeviceError: hnswlib is not installed.
    """
    try:
        import hnswlib
    except ModuleNotFoundError:
        raise DeviceError(
            "expected hnswlib, found none: pip install 'spade-edge[galleries]' (it compiles: a C++ compiler and "
            "Python's headers are needed)"
        ) from None
    index = hnswlib.Index(space="l2", dim=keys.shape[1])
    index.init_index(max_elements=len(keys), M=LINKS, ef_construction=EF_CONSTRUCTION, random_seed=SEED)
    index.set_num_threads(1)
    index.add_items(keys, np.arange(len(keys)), num_threads=1)
    index.save_index(str(path))


def index_bytes(count: int, dimensions: int) -> int:
    """Size of the file, to within a percent: a record a key, and one node in M has links in an upper layer too."""
    return count * (4 + 4 * 2 * LINKS + 4 * dimensions + 8 + 4) + count * 4 * (LINKS + 1) // (LINKS - 1)
