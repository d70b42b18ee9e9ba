"""The measurement of promises, on a small rendered set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from quality.certificate import rows, shots

from spade_edge.galleries import BuildOptions


def test_every_condition_is_split_counted_and_promised(
    tiny_model: Path, part: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    data, scratch = tmp_path / "set", tmp_path / "scratch"
    for folder, seeds in (("train/good", range(12)), ("test/good", range(12, 16)), ("test/spot", range(20, 28))):
        (data / folder).mkdir(parents=True)
        for seed in seeds:
            cv2.imwrite(str(data / folder / f"{seed}.png"), part(seed, flaw=seed >= 20))
    scratch.mkdir()
    found = list(rows(data, scratch, tiny_model, BuildOptions(threads=1), splits=2))
    kinds = ["clean", "defects", "defects, excluded", "repeats", "repeats as images"]
    assert {(row["kind"], row["split"]) for row in found} == {(kind, split) for kind in kinds for split in (0, 1)}
    for row in found:
        assert 0 < row["promised"] < 1 and 0 <= row["rejected"] <= row["good"] == 8
        assert row["promised"] >= 1 / (row["parts"] + 1) - 1e-9
        if row["kind"] == "repeats as images":
            assert row["parts"] == 32  # four shots of eight parts
        if row["kind"] == "clean":
            assert row["parts"] == 8 and row["defects"] == 8
        if row["kind"].startswith("defects"):
            assert row["defects"] == 7  # one is among the good images


def test_four_shots_differ_from_each_other_and_from_the_part(part: Callable[..., NDArray[np.uint8]]) -> None:
    image = part(3)
    made = [image, *shots(image, seed=3)]
    assert len(made) == 5 and {shot.shape for shot in made} == {image.shape}
    for one in range(5):
        for other in range(one):
            assert np.abs(made[one].astype(float) - made[other]).mean() > 2
    assert all(np.array_equal(a, b) for a, b in zip(shots(image, seed=3), made[1:], strict=True))
