"""`spade-edge gallery add`, `remove` and `compact`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.manifest import FILE, Manifest

Capture = pytest.CaptureFixture[str]
Frames = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def copy(edge: Built, tmp_path: Path) -> Path:
    return Path(shutil.copytree(edge.path, tmp_path / "copy.spade"))


@pytest.fixture
def reject(tmp_path: Path, part: Frames) -> Path:
    path = tmp_path / "reject.npy"
    np.save(path, part(60, flaw=True))
    return path


def test_a_reject_is_taught_in_and_taken_out(capsys: Capture, copy: Path, reject: Path) -> None:
    before = Manifest.read(copy).threshold
    code, out, err = run(
        capsys, "gallery", "add", "--bundle", copy, reject, "--reason", "was good", "--even-so", "--who", "Ann"
    )
    assert code == 0 and out.startswith("added reject.npy; 9 images are matched, 1 of them taught in because")
    assert "the threshold stays at" in err and "history/" in err
    assert Scorer.open(copy)(np.load(reject)).verdict == "good"
    _, listed, _ = run(capsys, "gallery", "list", "--bundle", copy)
    assert "reject.npy  taught in because of its verdict on " in listed and ": was good" in listed
    code, out, _ = run(capsys, "gallery", "remove", "--bundle", copy, "reject.npy", "--json")
    told = json.loads(out)
    assert code == 0 and told["changed"] == ["reject.npy"] and told["done"] and told["selected"] == []
    assert Manifest.read(copy).threshold == before
    _, log, _ = run(capsys, "gallery", "log", "--bundle", copy)
    assert "add reject.npy: was good" in log and "remove reject.npy" in log and "Ann" in log


def test_the_effect_is_told_and_nothing_is_done(
    capsys: Capture, copy: Path, reject: Path, part: Frames, tmp_path: Path
) -> None:
    recent = tmp_path / "recent"
    recent.mkdir()
    for seed in range(3):
        np.save(recent / f"{seed}.npy", part(80 + seed))
    shutil.copy(reject, recent / "9.npy")
    (recent / "8.npy").write_bytes(b"no image")
    before = (copy / FILE).read_bytes()
    options = ("--even-so", "--recent", recent, "--dry-run")
    code, out, err = run(capsys, "gallery", "add", "--bundle", copy, reject, *options)
    assert code == 0 and out.startswith("would add reject.npy")
    assert "of the last 4 frames (1 more could not be read), 1 verdict changes: 1 from defect to good" in err
    assert (copy / FILE).read_bytes() == before
    code, out, _ = run(capsys, "gallery", "add", "--bundle", copy, reject, *options, "--json")
    told = json.loads(out)
    assert told["recent"] == {
        "frames": 4,
        "unread": 1,
        "changed": [{"name": "9.npy", "before": "defect", "after": "good"}],
    }
    assert not told["done"] and told["recall"] is None  # the index does not change
    code, out, err = run(capsys, "gallery", "add", "--bundle", copy, recent / "1.npy", "--unselected", "--json")
    told = json.loads(out)
    assert 0.9 < told["recall"] <= 1 and 0.9 < told["former_recall"] <= 1
    assert f"for {told['recall']:.2%} of cells, before for {told['former_recall']:.2%}" in err


def test_mistakes_are_one_line(capsys: Capture, copy: Path, reject: Path, tmp_path: Path) -> None:
    before = (copy / FILE).read_bytes()
    for words, exit_code in (
        ((reject,), 3),  # far over the threshold
        ((tmp_path / "absent.png",), 3),
        ((reject, "--even-so", "--part-of", "absent.npy"), 2),
        ((reject, "--same-part", "--part-of", "2.npy"), 2),
    ):
        code, out, err = run(capsys, "gallery", "add", "--bundle", copy, *words)
        assert code == exit_code and out == "" and "Traceback" not in err
    code, out, err = run(capsys, "gallery", "remove", "--bundle", copy, "absent.npy")
    assert code == 2 and out == "" and err.startswith("spade-edge: ") and err.count("\n") == 1
    assert (copy / FILE).read_bytes() == before


def test_an_index_is_built_anew_where_there_is_one(capsys: Capture, copy: Path, paper: Built) -> None:
    code, out, _ = run(capsys, "gallery", "compact", "--bundle", copy)
    assert code == 0 and out.startswith("built the index anew; the threshold stays at")
    code, out, _ = run(capsys, "gallery", "compact", "--bundle", paper.path)
    assert code == 0 and "no index" in out
