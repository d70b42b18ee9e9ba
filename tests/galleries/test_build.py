"""Building: what a bundle holds, and that a build which fails harms nothing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built, build
from spade_edge.runtime import DataError, ModelError, Scorer, SpadeError, UsageError
from spade_edge.runtime.bundle import Bundle
from spade_edge.runtime.manifest import FILE, HISTORY, Manifest
from spade_edge.runtime.view import View

Frames = Callable[..., NDArray[np.uint8]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_gallery_holds_what_the_session_says_of_each_image(edge: Built, good_images: Path) -> None:
    bundle = Bundle.open(edge.path)
    session = onnxruntime.InferenceSession(bundle.model)
    view = View(resize=(64, 64), size=(64, 64))
    assert bundle.manifest.names == ("0.npy", "1.npy", "2.npy", "4.npy", "5.npy", "6.npy", "7.npy", "nested/3.npy")
    for i, name in enumerate(bundle.manifest.names):
        frame = np.load(good_images / name)
        *levels, image = session.run(["level1", "level2", "level3", "image"], {"frames": view(frame)[None]})
        for stored, level in zip(bundle.gallery.levels, levels, strict=True):
            assert np.array_equal(stored[i], level[0])
        assert np.array_equal(bundle.gallery.images[i], image[0])
        assert np.abs(bundle.thumbnails[i].astype(float).mean() - frame.mean()) < 3


def test_the_threshold_is_the_largest_leave_one_out_score(
    edge: Built, paper: Built, model: Path, good_images: Path, tmp_path: Path
) -> None:
    """An image left out is an image that was never there: build without it, and score it as a frame."""
    for built in (edge, paper):
        threshold = built.manifest.threshold
        assert not threshold.calibrated
        assert threshold.score == max(threshold.scores) and len(threshold.scores) == 8
        out = built.manifest.names[2]
        others = tmp_path / f"others-{built.manifest.profile}"
        shutil.copytree(good_images, others)
        (others / out).unlink()
        without = build(
            others, model=model, output=tmp_path / f"{built.manifest.profile}.spade", profile=built.manifest.profile
        )
        # HNSW walks another graph, so "edge" is compared through exact search.
        result = Scorer.open(without.path, search="exact")(np.load(good_images / out))
        tolerance = 1e-4 if built.manifest.profile == "paper" else 0.1
        assert threshold.scores[2] == pytest.approx(result.score, rel=tolerance)
    assert edge.manifest.threshold.pixel == edge.manifest.threshold.score
    assert paper.manifest.threshold.pixel != paper.manifest.threshold.score


def test_the_size_is_known_beforehand(model: Path, good_images: Path, tmp_path: Path) -> None:
    plans = []
    built = build(good_images, model=model, output=tmp_path / "b.spade", announce=plans.append)
    assert plans[0].size == pytest.approx(built.manifest.size, rel=0.01)
    assert built.manifest.size == sum(path.stat().st_size for path in built.path.iterdir() if path.name != FILE)


def test_departures_from_the_paper_are_recorded(paper: Built, edge: Built) -> None:
    assert paper.manifest.departures == (
        "backbone resnet18 (paper: wide_resnet50_2)",
        "view 64x64, the whole frame (paper: 224x224, the middle of 256x256)",
        "image vector from level 3 (paper: level 4)",
    )
    assert "HNSW search over cells (paper: exact)" in edge.manifest.departures
    assert json.loads((edge.path / FILE).read_text())["departures"] == list(edge.manifest.departures)


def test_a_rebuild_switches_over_in_one_step_and_keeps_the_former(
    model: Path, good_images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "b.spade"
    first = build(good_images, model=model, output=output)
    frame = np.load(good_images / "1.npy")
    running = Scorer.open(output)
    before = running(frame).heatmap
    fewer = tmp_path / "fewer"
    shutil.copytree(good_images, fewer)
    (fewer / "0.npy").unlink()
    second = build(fewer, model=model, output=output)
    assert second.former is not None and second.former.parent == output / HISTORY
    assert len(Manifest.read(output).names) == 7
    assert np.array_equal(running(frame).heatmap, before)  # a scorer that is running keeps what it opened
    shutil.copyfile(second.former, output / FILE)  # back again, as the documents say
    assert Manifest.read(output) == first.manifest
    assert np.array_equal(Scorer.open(output)(frame).heatmap, before)


def test_building_twice_gives_the_same_files(model: Path, good_images: Path, tmp_path: Path, edge: Built) -> None:
    again = build(good_images, model=model, output=tmp_path / "b.spade")
    assert again.manifest.files == edge.manifest.files
    assert again.manifest.threshold == edge.manifest.threshold


@pytest.mark.parametrize("fails", ["_extract", "_matcher", "leave_one_out", "_verify", "publish"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_build_that_dies_leaves_what_was_there(
    model: Path,
    good_images: Path,
    tmp_path: Path,
    edge: Built,
    monkeypatch: pytest.MonkeyPatch,
    fails: str,
    existing: bool,
) -> None:
    output = tmp_path / "b.spade"
    if existing:
        shutil.copytree(edge.path, output)
    before = contents(tmp_path)

    def die(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["spade_edge.galleries.builder"], fails, die)
    with pytest.raises(DataError, match=r"b\.spade: the bundle cannot be written: No space left on device"):
        build(good_images, model=model, output=output)
    assert contents(tmp_path) == before
    assert output.exists() == existing


def test_a_killed_build_leaves_no_bundle_and_the_next_one_cleans_up(
    model: Path, good_images: Path, tmp_path: Path
) -> None:
    script = (
        "import sys, time, pathlib; from spade_edge.galleries import build\n"
        "def stall(items, label):\n"
        "    for item in items:\n"
        "        if label == 'leave-one-out': print('there', flush=True); time.sleep(60)\n"
        "        yield item\n"
        "images, model, output = map(pathlib.Path, sys.argv[1:])\n"
        "build(images, model=model, output=output, progress=stall)"
    )
    output = tmp_path / "b.spade"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(good_images), str(model), str(output)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline().strip() == b"there"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not output.exists()
    assert any(tmp_path.iterdir())  # the killed build's own folder
    build(good_images, model=model, output=output)
    assert [path.name for path in tmp_path.iterdir()] == ["b.spade"]


def test_bad_images_stop_the_build_or_are_skipped_by_name(model: Path, good_images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(good_images, folder)
    (folder / "zero.png").touch()
    (folder / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png: expected an image.*and 1 more of 10.*--skip-bad"):
        build(folder, model=model, output=tmp_path / "b.spade")
    assert not (tmp_path / "b.spade").exists()
    built = build(folder, model=model, output=tmp_path / "b.spade", skip_bad=True)
    assert len(built.manifest.names) == 8
    assert [name for name in ("text.png", "zero.png") if any(name in line for line in built.skipped)] == [
        "text.png",
        "zero.png",
    ]


def test_too_few_images_are_refused(model: Path, good_images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    with pytest.raises(DataError, match="expected images"):
        build(folder, model=model, output=tmp_path / "b.spade")
    shutil.copy(good_images / "0.npy", folder)
    with pytest.raises(DataError, match="expected at least 2 good images that can be read, found 1"):
        build(folder, model=model, output=tmp_path / "b.spade")
    shutil.copy(good_images / "1.npy", folder)
    assert len(build(folder, model=model, output=tmp_path / "b.spade").manifest.names) == 2


def test_identical_images_are_refused(model: Path, good_images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.npy", "b.npy", "c.npy"):
        np.save(folder / name, np.full((40, 40, 3), 90, np.uint8))  # zero variance: every key is the same
    with pytest.raises(DataError, match="found 3 that are the same to the network"):
        build(folder, model=model, output=tmp_path / "b.spade")
    assert not (tmp_path / "b.spade").exists()


def test_outputs_that_are_something_else_are_refused(model: Path, good_images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    before = contents(tmp_path)
    for name in ("file", "folder", "link"):
        with pytest.raises(UsageError, match="choose another --output"):
            build(good_images, model=model, output=tmp_path / name)
    assert contents(tmp_path) == before
    (tmp_path / "empty").mkdir()
    assert build(good_images, model=model, output=tmp_path / "empty").manifest.names


def test_a_model_that_is_none_stops_the_build(good_images: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nonsense")
    for name in ("m.onnx", "absent.onnx"):
        with pytest.raises(ModelError, match="expected"):
            build(good_images, model=tmp_path / name, output=tmp_path / "b.spade")
    assert not (tmp_path / "b.spade").exists()


def test_a_full_disk_is_noticed_before_the_work(
    model: Path, good_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(SpadeError, match="MB of free disk"):
        build(good_images, model=model, output=tmp_path / "b.spade")
