"""Some views of a folder of good images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spade_edge.galleries.sample import sample_views
from spade_edge.runtime import DataError
from spade_edge.runtime.layout import WHOLE, Canvas
from spade_edge.runtime.view import View
from spade_edge.runtime.viewer import Viewer

VIEW = View(resize=(64, 64), size=(64, 64))


def folder_of(tmp_path: Path, count: int, *, size: tuple[int, int]) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        np.save(tmp_path / f"{number:02}.npy", rng.integers(0, 256, (*size, 3)).astype(np.uint8))
    return tmp_path


def test_evenly_spaced_and_seen_as_the_scorer_sees_them(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 9, size=(100, 128))
    views = sample_views(folder, VIEW, count=3)
    assert (views.shape, views.dtype) == ((3, 64, 64, 3), np.float32)
    viewer = Viewer(Canvas(WHOLE, VIEW))
    for view, number in zip(views, (0, 4, 8), strict=True):
        np.testing.assert_array_equal(view, viewer(np.load(folder / f"{number:02}.npy"))[0])
    assert len(sample_views(folder, VIEW)) == 9  # no image twice


@pytest.mark.parametrize(("size", "each"), [((128, 128), 1), ((129, 70), 2), ((40, 500), 1), ((64, 500), 2)])
def test_of_large_images_the_middle_too(size: tuple[int, int], each: int, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 2, size=size)
    views = sample_views(folder, VIEW)
    assert len(views) == 2 * each
    if each == 2:
        top, left = (size[0] - 64) // 2, (size[1] - 64) // 2
        middle = np.load(folder / "00.npy")[top : top + 64, left : left + 64]
        np.testing.assert_array_equal(views[1], middle.astype(np.float32))


def test_not_the_middle_where_the_model_crops(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 2, size=(300, 300))
    assert len(sample_views(folder, View(resize=(80, 80), size=(64, 64)))) == 2


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        sample_views(tmp_path, VIEW)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png"):
        sample_views(tmp_path, VIEW)
