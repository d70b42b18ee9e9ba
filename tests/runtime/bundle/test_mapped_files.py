"""A file that is cut while it is mapped: an error instead of the end of the process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import BundleError, Scorer

Frames = Callable[..., NDArray[np.uint8]]


@pytest.mark.parametrize("role", ["level1", "level3", "thumbnails"])
@pytest.mark.parametrize("left", [0, 4096, -1])
def test_a_file_that_is_cut_is_named_before_it_is_read(
    role: str, left: int, edge: Built, part: Frames, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(edge.path, tmp_path / "part.spade"))
    scorer = Scorer.open(path)
    expected = scorer(part(20)).score
    file = path / scorer.bundle.manifest.files[role].name
    content = file.read_bytes()
    os.truncate(file, left % len(content))
    with pytest.raises(BundleError, match=f"{file.name}.*cut"):
        scorer(part(20))
    file.write_bytes(content)  # in place
    assert scorer(part(20)).score == expected


def test_what_is_not_mapped_any_more_may_be_cut(edge: Built, part: Frames, tmp_path: Path) -> None:
    path = Path(shutil.copytree(edge.path, tmp_path / "part.spade"))
    scorer = Scorer.open(path)
    expected = Scorer.open(edge.path)(part(20))
    mapped = [*(level.output for level in scorer.bundle.manifest.model.levels), "thumbnails", "golden_frames"]
    for role, payload in scorer.bundle.manifest.files.items():
        if role not in mapped:
            os.truncate(path / payload.name, 0)
    found = scorer(part(20))
    assert found.score == expected.score and np.array_equal(found.heatmap, expected.heatmap)


def test_files_that_are_deleted_or_replaced_stay_readable(edge: Built, part: Frames, tmp_path: Path) -> None:
    path = Path(shutil.copytree(edge.path, tmp_path / "part.spade"))
    scorer = Scorer.open(path)
    expected = scorer(part(20)).score
    names = [payload.name for payload in scorer.bundle.manifest.files.values()]
    for name in names[::2]:
        (path / name).unlink()
    for name in names[1::2]:
        (tmp_path / "short").write_bytes(b"short")
        (tmp_path / "short").replace(path / name)
    assert scorer(part(20)).score == expected
