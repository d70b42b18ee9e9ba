"""Anomaly maps as .npy files: numpy reads them, and they are told from those that numpy writes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from spade_edge.tools.scoring.heatmap_file import is_heatmap_of_ours, write_heatmap


@pytest.mark.parametrize("shape", [(64, 64), (1, 7), (8192, 3), (0, 0)])
def test_numpy_reads_what_was_written(shape: tuple[int, int], tmp_path: Path) -> None:
    heatmap = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        write_heatmap(file, heatmap)
    found = np.load(path, allow_pickle=False)
    assert found.dtype == np.float32 and np.array_equal(found, heatmap)
    assert is_heatmap_of_ours(path.read_bytes()[:64])


def test_a_view_of_an_array_is_written_in_its_own_order(tmp_path: Path) -> None:
    heatmap = np.arange(60, dtype=np.float32).reshape(6, 10)[::2, ::-1]
    with (tmp_path / "a.npy").open("wb") as file:
        write_heatmap(file, heatmap)
    assert np.array_equal(np.load(tmp_path / "a.npy"), heatmap)


@pytest.mark.parametrize("shape", [(64, 64), (10_000, 10_000, 1), (1,)])
def test_files_of_numpy_are_not_taken_for_ours(shape: tuple[int, ...]) -> None:
    for array in (np.broadcast_to(np.float32(0), shape), np.broadcast_to(np.uint8(0), shape)):
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        assert not is_heatmap_of_ours(file.getvalue())
    assert not is_heatmap_of_ours(b"")
