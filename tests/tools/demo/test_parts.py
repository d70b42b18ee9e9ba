"""The sample parts: the same seed draws the same part, and a mask lies where its defect is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.tools.demo.parts import DEFECTS, SCREWS, pose, render_defect, render_good, write_dataset


def test_a_seed_decides_every_pixel() -> None:
    image = render_good(3)
    assert image.shape == (320, 320, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, render_good(3))
    for kind in DEFECTS:
        first, second = render_defect(kind, 3, size=160), render_defect(kind, 3, size=160)
        assert np.array_equal(first[0], second[0])
        assert np.array_equal(first[1], second[1])


def test_good_parts_differ_as_real_ones_do() -> None:
    images = [render_good(seed, size=160).astype(np.float32) for seed in range(6)]
    for number, image in enumerate(images):
        for other in images[number + 1 :]:
            assert np.abs(image - other).mean() > 2  # more than the sensor's noise
            assert np.abs(image - other).mean() < 25  # and still the same kind of part


def test_parts_lie_up_to_three_pixels_and_one_and_a_half_degrees_off() -> None:
    scenes = [pose(seed) for seed in range(40)]
    middles = np.array([(scene.x[159:161, 159:161].mean(), scene.y[159:161, 159:161].mean()) for scene in scenes])
    pixels = middles / scenes[0].pixel
    assert (np.abs(pixels).max(axis=0) < 3.2).all()
    assert (np.ptp(pixels, axis=0) > 4).all()
    turns = [np.rad2deg(np.arctan2(s.y[0, -1] - s.y[0, 0], s.x[0, -1] - s.x[0, 0])) for s in scenes]
    assert np.abs(turns).max() < 1.51
    assert np.ptp(turns) > 2


def test_an_image_is_exposed_like_a_photograph() -> None:
    image = render_good(5)
    assert 90 < image.mean() < 160
    assert np.mean(image == 255) < 0.01
    assert np.mean(image == 0) < 0.01


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_mask_lies_where_the_part_differs_from_its_good_twin(kind: str) -> None:
    for seed in range(5):
        image, mask = render_defect(kind, seed)
        assert mask.shape == (320, 320)
        assert mask.dtype == bool
        assert 40 < mask.sum() < 0.05 * mask.size
        difference = np.abs(image.astype(np.int16) - render_good(seed)).max(axis=2)
        assert difference[mask].mean() > 10
        # Shadows and highlights reach a little further than the defect; 12 pixels away there is nothing.
        near = cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), dtype=np.uint8)).astype(bool)
        assert difference[~near].max() <= 3, seed
        assert difference[mask].sum() > 0.4 * difference.sum(), seed


def test_a_missing_screw_is_missing_at_one_of_the_screw_holes() -> None:
    bare = set()
    for seed in range(12):
        scene = pose(seed, size=64)
        _, mask = render_defect("missing_screw", seed, size=64)
        middle = scene.x[mask].mean(), scene.y[mask].mean()
        away = [np.hypot(middle[0] - x, middle[1] - y) for x, y in SCREWS]
        assert min(away) < 0.03
        bare.add(int(np.argmin(away)))
    assert len(bare) >= 3


def test_each_kind_comes_subtle_and_clear() -> None:
    for kind in DEFECTS:
        strength = []
        for seed in range(8):
            image, _ = render_defect(kind, seed, size=160)
            strength.append(np.abs(image.astype(np.int16) - render_good(seed, size=160)).sum())
        assert max(strength) > 1.3 * min(strength)


def test_a_dataset_has_the_layout_of_mvtec(tmp_path: Path) -> None:
    write_dataset(tmp_path, good=3, test_good=2, per_defect=2, seed=4, size=96)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    expected = {f"train/good/{number:03d}.png" for number in range(3)}
    expected |= {f"test/good/{number:03d}.png" for number in range(2)}
    expected |= {f"test/{kind}/{number:03d}.png" for kind in DEFECTS for number in range(2)}
    expected |= {f"ground_truth/{kind}/{number:03d}_mask.png" for kind in DEFECTS for number in range(2)}
    assert found == expected
    assert len(DEFECTS) >= 5

    images = {path: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(tmp_path.rglob("*.png"))}
    for path, image in images.items():
        if path.name.endswith("_mask.png"):
            assert image.shape == (96, 96)
            assert set(np.unique(image)) == {0, 255}
        else:
            assert image.shape == (96, 96, 3)
    frames = [image.astype(np.float32) for path, image in images.items() if not path.name.endswith("_mask.png")]
    for number, frame in enumerate(frames):
        for other in frames[number + 1 :]:
            assert np.abs(frame - other).mean() > 1.5  # no part is shown twice, not even with a defect


def test_a_dataset_is_the_same_files_again_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        write_dataset(tmp_path / name, good=1, test_good=1, per_defect=1, seed=seed, size=64)
    files = [path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.png")]
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    frame = "train/good/000.png"
    assert (tmp_path / "first" / frame).read_bytes() != (tmp_path / "other" / frame).read_bytes()


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="scratch"):
        render_defect("rust", 0)
    with pytest.raises(UsageError, match="32"):
        render_good(0, size=16)
    with pytest.raises(UsageError, match="-1"):
        render_good(-1)
    (tmp_path / "train").write_text("a file in the way")
    with pytest.raises(DataError, match="cannot write"):
        write_dataset(tmp_path, good=1, test_good=0, per_defect=0, size=32)
