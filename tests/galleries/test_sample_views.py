"""Some views of a folder of good images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spade_edge.galleries.sample_views import sample_views
from spade_edge.runtime import DataError, UsageError
from spade_edge.runtime.geometry.layout import WHOLE, Canvas
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor

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
    viewer = Preprocessor(Canvas(WHOLE, VIEW))
    for view, number in zip(views, (0, 4, 8), strict=True):
        np.testing.assert_array_equal(view, viewer(np.load(folder / f"{number:02}.npy"))[0])
    assert len(sample_views(folder, VIEW)) == 9  # no image twice


def test_tiles_lie_all_over_the_images(tmp_path: Path) -> None:
    down, right = np.mgrid[:200, :400]
    places = np.stack([down, right // 2, np.zeros_like(down)], axis=-1).astype(np.uint8)  # each pixel says where it is
    for number in range(16):
        np.save(tmp_path / f"{number:02}.npy", places)
    views = sample_views(tmp_path, VIEW, tile=(64, 64))
    corners = views[:, 0, 0, :2] * [1, 2]
    for view, (top, left) in zip(views, corners.astype(int), strict=True):
        assert 0 <= top <= 136
        assert 0 <= left <= 336
        np.testing.assert_array_equal(view[:, :, 0], np.tile(np.arange(top, top + 64)[:, np.newaxis], 64))
    # One in each quarter at least, and no two close by.
    assert {(top > 68, left > 168) for top, left in corners} == {(a, b) for a in (False, True) for b in (False, True)}
    apart = np.abs(corners[:, np.newaxis] - corners).max(axis=2) + 1000 * np.eye(16)
    assert apart.min() > 10


def test_tiles_are_resampled_to_the_view(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1, size=(128, 128))
    (view,) = sample_views(folder, VIEW, tile=(128, 128))
    np.testing.assert_array_equal(view, sample_views(folder, VIEW)[0])


def test_tiles_that_do_not_fit(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1, size=(100, 60))
    with pytest.raises(DataError, match=r"00\.npy: .*64x64.* found 60x100"):
        sample_views(folder, VIEW, tile=(64, 64))
    with pytest.raises(UsageError, match="use --input"):
        sample_views(folder, View(resize=(80, 80), size=(64, 64)), tile=(32, 32))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        sample_views(tmp_path, VIEW)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png"):
        sample_views(tmp_path, VIEW)
