"""An index of 6,000 keys in a file, for the tests of its reader and of the search."""

from __future__ import annotations

from pathlib import Path

import pytest
from indexes import Keys, clustered

from spade_edge.galleries.index_writer import write_index


@pytest.fixture(scope="session", params=[24, 64])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Keys, Keys]:
    """The file, its keys, and 150 queries; keys of 24 and of 64 numbers."""
    keys, queries = clustered(6000, request.param), clustered(150, request.param, seed=1)
    path = tmp_path_factory.mktemp("index") / "i.hnsw"
    write_index(keys, path)
    return path, keys, queries
