"""`set_threshold`: what it writes, what it returns and what it refuses; the command line is tested elsewhere."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from spade_edge.galleries import Built, set_threshold
from spade_edge.galleries.conformal import limit
from spade_edge.runtime import BundleError, UsageError
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, Manifest


@pytest.fixture
def copy(edge: Built, tmp_path: Path) -> Path:
    """A bundle that may be changed."""
    return Path(shutil.copytree(edge.path, tmp_path / "copy.spade"))


def test_a_rate_and_an_area_are_set_in_one_step(copy: Path) -> None:
    former = (copy / FILE).read_bytes()
    change = set_threshold(copy, rate=0.25, area=4.0, reason="  dust ")
    manifest = Manifest.read(copy)
    assert manifest.threshold == change.threshold and change.former.read_bytes() == former
    assert change.former.parent == copy / HISTORY
    assert change.threshold.score == limit(manifest.evidence, rate=0.25).value
    assert (change.threshold.area, change.threshold.reason) == (4.0, "dust")
    with pytest.raises(AttributeError):
        change.threshold = manifest.threshold  # type: ignore[misc]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"score": 5.0, "reason": " "},
        {"rate": 0.25, "pixel": 5.0},
        {"rate": 0.01},
        {"rate": 0.0},
        {"score": math.nan},
        {"pixel": 0.0},
        {"area": -1.0},
        {"area": math.inf},
        {"area": math.nan},
    ],
)
def test_what_does_not_fit_changes_nothing(copy: Path, given: dict[str, Any]) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(UsageError):
        set_threshold(copy, **{"reason": "x", **given})
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_where_there_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        set_threshold(tmp_path, score=1.0, reason="x")
    assert list(tmp_path.iterdir()) == []
