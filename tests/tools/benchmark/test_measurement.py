"""`spade-edge bench`: what it counts is right, what it times is there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from altered import altered
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.geometry.motion import Motion
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.matching.coding import Coding
from spade_edge.runtime.matching.config import Matching
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.runtime.matching.hnsw import Index
from spade_edge.runtime.network.card import Level, ModelCard
from spade_edge.runtime.network.session import Session
from spade_edge.runtime.preprocessing.aligner import Located
from spade_edge.runtime.preprocessing.moved import Moved
from spade_edge.tools.benchmark import measurement
from spade_edge.tools.benchmark.machine import machine, resident_bytes
from spade_edge.tools.benchmark.matching_cost import matching_cost
from spade_edge.tools.benchmark.measurement import measure
from spade_edge.tools.benchmark.recall import recall
from spade_edge.tools.benchmark.sample_frames import frames_like
from spade_edge.tools.cli.commands import bench as command_bench
from spade_edge.tools.cli.main import main

Frames = Callable[..., NDArray[np.uint8]]
Capture = pytest.CaptureFixture[str]

GROWING = {"level1", "level2", "level3", "squares", "descriptors", "thumbnails", "index", "entries"}


def bench(capsys: Capture, bundle: Path, *arguments: object) -> tuple[str, str]:
    """Stdout and stderr of a bench that succeeds."""
    code = main(["bench", f"--bundle={bundle}", *map(str, arguments)])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out, printed.err


def as_json(capsys: Capture, bundle: Path, *arguments: object) -> dict[str, Any]:
    out, _ = bench(capsys, bundle, "--json", *arguments)
    assert out.count("\n") == 1
    return dict(json.loads(out))


def test_a_table_says_what_was_measured(capsys: Capture, edge: Built) -> None:
    out, err = bench(capsys, edge.path, "--count", 4)
    assert err == ""
    lines = out.splitlines()
    assert max(len(line) for line in lines if str(edge.path) not in line) <= 100
    at = lines.index(f"bundle       {edge.path}")
    machine_line = " ".join(" ".join(lines[:at]).split())  # one or more lines, as the names are long
    assert machine_line.startswith("processor ") and " cores, " in machine_line
    assert "; threads: one a core runs on CPUExecutionProvider, onnxruntime " in machine_line
    each = sum(payload.size for role, payload in edge.manifest.files.items() if role in GROWING) / 8e6
    assert lines[at + 1].strip().startswith(f"8 good images, {each:.2f} MB each, search hnsw; opened in ")
    assert lines[at + 3] == "4 frames of 64x64, in milliseconds"
    lines = lines[at - 2 :]
    assert lines[6].split() == ["p50", "p90", "p99", "p99.9", "longest"]
    for line, label in zip(lines[7:9], ("network alone", "frame to result"), strict=True):
        median, *missing, longest = line.removeprefix(label).split()
        assert line.startswith(label) and 0 < float(median) <= float(longest) and missing == ["-"] * 3
    assert lines[10].startswith("ratio        a frame takes ")
    needed = "p90 (needs 10), p99 (needs 100) and p99.9 (needs 1,024)"
    assert f"too few      frames for {needed}: give --count 1024" in lines
    stages = lines[lines.index(next(line for line in lines if line.startswith("by stage"))) :][1:10]
    assert [line[:19].rstrip() for line in stages[:8]] == [
        "view", "network", "matching", "  codes and keys", "  candidates", "  comparison", "map and verdict",
        "frame to result",
    ]  # fmt: skip
    assert all(line.endswith("%") and float(line[19:28]) >= 0 for line in stages[:8])
    assert stages[8].startswith("What is indented was measured apart, on 3 frames")
    labels = [line.split("  ")[0] for line in lines]
    assert not set(labels) & {"batches", "recall", "camera", "late"} and labels[-1].strip() == ""
    assert " ".join(out.split()).endswith(" MB of keys read")


def test_json_has_the_same_and_more(capsys: Capture, edge: Built) -> None:
    value = as_json(capsys, edge.path, "--count", 3, "--threads", 1)
    assert list(value) == [
        "machine", "bundle", "open_seconds", "frame_size", "measured", "conditions", "memory", "work", "recall",
    ]  # fmt: skip
    assert set(value["machine"]) == set(machine(1)) | {"provider", "providers", "matched_on"}
    assert value["machine"]["threads"] == 1 and value["machine"]["provider"] == "CPUExecutionProvider"
    assert value["machine"]["numpy"] == np.__version__ and value["machine"]["cores"] == os.cpu_count()
    bundle = value["bundle"]
    assert (bundle["path"], bundle["images"], bundle["search"]) == (str(edge.path), 8, "hnsw")
    assert (bundle["candidates"], bundle["ef"]) == (Matching().candidates, Matching().ef)
    files = edge.manifest.files
    assert bundle["megabytes"] == pytest.approx(sum(payload.size for payload in files.values()) / 1e6)
    gallery = sum(payload.size for role, payload in files.items() if role in GROWING)
    assert bundle["gallery_megabytes_an_image"] == pytest.approx(gallery / 8 / 1e6)
    assert value["frame_size"] == [64, 64] and value["open_seconds"] > 0
    measured = value["measured"]
    assert set(measured) == {
        "frames", "frame", "network", "stages", "by_stage", "ratio", "spread", "batch", "camera", "late", "not_good",
    }  # fmt: skip
    assert measured["frames"] == 3
    assert [measured[name] for name in ("spread", "batch", "camera", "late")] == [None] * 4
    assert set(measured["stages"]) == {"view", "network", "matching", "map"}
    assert set(measured["by_stage"]) == {*measured["stages"], "codes", "candidates", "comparison"}
    for name, stage in measured["by_stage"].items():
        assert stage["times"]["p50"] == measured["stages"].get(name, stage["times"]["p50"])
        assert stage["of_network"] == pytest.approx(stage["times"]["p50"] / measured["network"]["p50"])
    for times in (measured["frame"], measured["network"]):
        assert times["count"] == 3 and 0 < times["p50"] <= times["largest"]
        assert [times[name] for name in ("p90", "p99", "p999")] == [None] * 3
    assert measured["ratio"] == pytest.approx(measured["frame"]["p50"] / measured["network"]["p50"])
    assert value["recall"] is None
    assert value["work"] == asdict(matching_cost(Scorer.open(edge.path)))  # type: ignore[arg-type]
    if value["memory"] is not None:
        resident, beyond = value["memory"]["resident_megabytes"], value["memory"]["beyond_bundle_megabytes"]
        assert resident - beyond == pytest.approx(bundle["megabytes"])


def test_size_batch_and_exact_search(capsys: Capture, edge: Built) -> None:
    value = as_json(capsys, edge.path, "--count", 2, "--size", "50x120", "--batch", 3)
    assert value["frame_size"] == [120, 50] and value["measured"]["batch"] > 0
    value = as_json(capsys, edge.path, "--count", 2, "--search", "exact", "--recall")
    assert value["work"] is None and value["recall"] is None and value["bundle"]["search"] == "exact"
    out, _ = bench(capsys, edge.path, "--count", 2, "--size", "30", "--batch", 2)
    assert "2 frames of 30x30, in milliseconds" in out and "\nbatches      " in out


def test_frames_beside_a_camera_thread_and_late_ones(capsys: Capture, edge: Built) -> None:
    value = as_json(capsys, edge.path, "--count", 12, "--camera", 200, "--deadline", "0.001")
    camera, late = value["measured"]["camera"], value["measured"]["late"]
    assert set(camera) == {"frame", "rate", "delivered", "ratio"} and camera["rate"] == 200
    assert camera["frame"]["count"] == 12 and camera["delivered"] > 0
    assert camera["ratio"] == pytest.approx(camera["frame"]["p50"] / value["measured"]["frame"]["p50"])
    every = {"frames": 12, "count": 12, "in_a_row": 12}
    assert late == {"deadline": 0.001, "without_camera": every, "beside_camera": every}
    assert value["conditions"]["blocks"] == 4 and len(value["conditions"]) == 6
    late = as_json(capsys, edge.path, "--count", 1, "--deadline", "1e6")["measured"]["late"]
    assert late["without_camera"] == {"frames": 1, "count": 0, "in_a_row": 0} and late["beside_camera"] is None
    out, err = bench(capsys, edge.path, "--count", 1, "--camera", 30, "--deadline", 1e6)
    assert err == "" and "\n  beside a camera " in out and "\ncamera       beside a thread that decodes " in out
    said = "over 1,000,000 ms: none of 1 frame; beside the camera: none of 1 frame"
    assert f"late         {said}" in out


def test_a_bundle_without_codes_is_measured_too(capsys: Capture, paper: Built) -> None:
    value = as_json(capsys, paper.path, "--count", 2, "--recall")
    assert value["work"] is None and value["recall"] is None and value["bundle"]["search"] == "exact"
    out, _ = bench(capsys, paper.path, "--count", 2)
    assert "\nmatching    " in out and "\nmatching     per frame" not in out and "codes and keys" not in out


def test_recall_compares_with_exact_search(capsys: Capture, edge: Built, tmp_path: Path) -> None:
    path = altered(edge.path, tmp_path / "many.spade", "matching", candidates=48)
    out, err = bench(capsys, path, "--count", 6, "--recall", "--json")
    found = json.loads(out)["recall"]
    assert err.splitlines() == [f"exact search, frame {i} of 4" for i in (1, 2, 3, 4)]
    assert set(found) == {"frames", "images", "distance", "same", "score"}
    assert found["frames"] == 4 and found["images"] is None
    assert -1e-3 <= found["distance"] <= 0.05 and 0.9 <= found["same"] <= 1 and 0 <= found["score"] <= 0.15
    out, _ = bench(capsys, path, "--count", 1, "--recall")
    assert "recall       against exact search, 1 frame: mean distance " in out


def test_recall_tells_a_bad_search_from_a_good_one(edge: Built, part: Frames, tmp_path: Path) -> None:
    def first(queries: NDArray[np.uint8], *, count: int, ef: int, allowed: object = None) -> tuple[Any, Any]:
        labels = np.tile(np.arange(count), (len(queries), 1))  # cells at the top of the first image, whatever is asked
        return labels, np.zeros_like(labels)

    def each(frames: Any) -> Iterator[Any]:
        asked.append(len(frames))
        yield from frames

    asked: list[int] = []
    frames = [part(60), part(61, flaw=True)]
    path = altered(edge.path, tmp_path / "many.spade", "matching", candidates=48)
    good = recall(path, Scorer.open(path), frames, threads=None, progress=each)
    bad = recall(edge.path, Scorer.open(edge.path, searches=[first]), frames, threads=None, progress=each)
    assert asked == [2, 2] and good.frames == bad.frames == 2
    assert abs(good.distance) < 0.01 and good.same > 0.95 and good.score < 0.05
    assert bad.distance > 0.05 and bad.same < 0.7


def test_recall_is_that_of_the_part_where_it_was_brought_and_of_the_device_that_matches(
    edge: Built, part: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = altered(edge.path, tmp_path / "many.spade", "matching", candidates=48)
    frames = [part(60), part(61, flaw=True)]
    moved = Moved(Motion(right=0.4, down=-0.3, angle=0.0), aspect=1.0)  # much of the part is out of sight
    calls: list[NDArray[np.float32]] = []

    def aligner(view: NDArray[np.float32]) -> tuple[NDArray[np.float32], Located]:
        calls.append(view)
        return moved.brought_back(view, np.full_like(view, 90)), Located(moved.motion, moved)

    for match in ("cpu", "device"):
        scorer = Scorer.open(path, match=match)
        assert (scorer.device is None) == (match == "cpu")
        monkeypatch.setattr(scorer, "aligner", aligner)
        if match == "device":
            monkeypatch.setattr(scorer.matcher, "match", None)  # frames do not use it
        found = recall(path, scorer, frames, threads=None, progress=iter)
        assert abs(found.distance) < 0.01 and found.same > 0.95 and found.score < 0.05
    assert len(calls) == 2 * 2 * len(frames)  # to compare, and to score


def test_recall_keeps_to_its_time_with_fewer_frames_and_images(edge: Built, part: Frames) -> None:
    frames = [part(60), part(61, flaw=True)]
    scorer = Scorer.open(edge.path)
    found = recall(edge.path, scorer, frames, threads=None, progress=iter, seconds=0.0)
    assert (found.frames, found.images) == (1, 1)
    # One image of eight: where it is nearer than what the search found, the search was wrong.
    image = int(np.random.default_rng(0).permutation(8)[0])
    exact = Scorer.open(edge.path, search="exact").matcher
    (seen,) = scorer.preprocessor(frames[0])
    pyramid = scorer.session(seen[np.newaxis])
    approximate = scorer.matcher.match(pyramid)[0].distances
    best = np.minimum(exact.match_exactly(pyramid[0], np.array([image])).distances, approximate)
    assert found.same == pytest.approx(np.mean(approximate <= best * (1 + 1e-4) + 1e-3))
    assert found.distance == pytest.approx(np.sqrt(approximate).sum() / np.sqrt(best).sum() - 1, abs=1e-5)


def test_frames_of_ones_own_are_scored(
    capsys: Capture, edge: Built, part: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), part(seed, size=(70, 90)))
    (tmp_path / "text.png").write_text("no image")
    seen: list[NDArray[np.uint8]] = []

    def spied(scorer: Scorer, frames: list[NDArray[np.uint8]], **options: Any) -> Any:
        seen.extend(frames)
        return measure(scorer, frames, **options)

    monkeypatch.setattr(command_bench, "measure", spied)
    value = as_json(capsys, edge.path, "--frames", tmp_path, "--count", 5)
    assert value["frame_size"] == [70, 90] and value["measured"]["frames"] == 5
    assert len(seen) == 3
    for seed, frame in enumerate(seen):
        assert np.array_equal(frame, part(seed, size=(70, 90)))
    value = as_json(capsys, edge.path, "--frames", tmp_path / "1.png", "--count", 1)
    assert value["measured"]["frames"] == 1


def test_frames_are_scored_and_the_bare_network_run_equally_often() -> None:
    calls: list[str] = []

    def score(frame: NDArray[np.uint8]) -> SimpleNamespace:
        calls.append("frame")
        return SimpleNamespace(
            milliseconds={"view": 1.0, "matching": float(len(calls)), "total": 5.0}, verdict="defect"
        )

    class Stub:
        """Counts what it is asked to do."""

        device = None

        def preprocessor(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.zeros((5, 2, 2, 3), np.float32)  # five views

        def session(self, views: NDArray[np.float32]) -> None:
            calls.append(f"network on {len(views)}")

        def batch(self, frames: list[NDArray[np.uint8]]) -> None:
            calls.append(f"batch of {len(frames)}")

        __call__ = staticmethod(score)

    measured = measure(Stub(), [np.zeros((4, 4), np.uint8)] * 2, count=13, batch=5)  # type: ignore[arg-type]
    assert calls[:2] == ["frame"] * 2  # do not count
    alone = ["network on 4", "network on 1"]  # in the runs that a frame's views go through
    blocks = alone * 10 + ["frame"] * 10 + alone * 3 + ["frame"] * 3
    assert calls[2:41] == blocks
    assert calls[41:] == ["batch of 5"] * 6
    assert measured.frames == measured.not_good == 13 and measured.stages == {
        "view": 1.0,
        "matching": np.median([*range(23, 33), 39, 40, 41]),
    }


def test_blocks_with_and_without_a_camera_alternate_and_parts_are_measured_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []

    class Stub:
        """A scorer."""

        device = None

        def preprocessor(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.zeros((1, 2, 2, 3), np.float32)

        def session(self, views: NDArray[np.float32]) -> None:
            events.append("network")

        def __call__(self, frame: NDArray[np.uint8]) -> SimpleNamespace:
            events.append(f"frame {frame[0, 0]}")
            return SimpleNamespace(milliseconds={"view": 1.0, "total": 5.0}, verdict="good")

    class Camera:
        """A camera thread that notes when it runs."""

        seconds, delivered = 2.0, 50

        def __init__(self, frames: object, *, rate: float) -> None:
            self.rate = rate

        def __enter__(self) -> Camera:
            return self

        def __exit__(self, *_: object) -> None:
            events.append("closed")

        @contextmanager
        def running(self) -> Iterator[None]:
            events.append("on")
            yield
            events.append("off")

    monkeypatch.setattr(measurement, "CameraThread", Camera)
    frames = [np.full((4, 4), i, np.uint8) for i in range(12)]
    measured = measure(
        Stub(),  # type: ignore[arg-type]
        frames,
        count=12,
        camera=30.0,
        parts=lambda frame: events.append(f"part {frame[0, 0]}") or {"codes": float(frame[0, 0])},  # type: ignore[func-returns-value]
        after_block=lambda: events.append("block"),
    )
    first, second = ([f"frame {i}" for i in block] for block in (range(10), (10, 11)))
    expected = [f"frame {i}" for i in range(3)]  # these do not count
    expected += ["network"] * 10 + [*first, "block", "on", *first, "off", "block", "part 0", "part 1", "part 2"]
    expected += ["network"] * 2 + ["on", *second, "off", "block", *second, "block", "part 10", "part 11", "closed"]
    assert events == expected
    assert measured.camera is not None and measured.camera.delivered == 25.0 and measured.camera.frame.count == 12
    codes = measured.by_stage["codes"]
    assert (codes.times.count, codes.times.p50, codes.times.largest) == (5, 2.0, 11.0)
    assert set(measured.stages) == {"view"} and measured.by_stage["view"].times.count == 12


def test_the_work_of_a_tiny_gallery_as_counted_by_hand() -> None:
    card = ModelCard(
        backbone="none", weights={}, levels=(Level(1, 8, 3), Level(2, 16, 5)), image_level=2, image_channels=5,
        view=View(resize=(32, 32), size=(32, 32)), precision="fp32", parity={},
    )  # fmt: skip
    ones = np.ones(2, np.float32)
    gallery = CodedGallery(
        card=card,
        levels=(np.zeros((3, 16, 3), np.uint8), np.zeros((3, 4, 5), np.uint8)),
        descriptors=np.zeros((3, 5), np.float32),
        names=("a", "b", "c"),
        # A record has 4 positions of 3 channels and 1 of 5, a key 6 numbers.
        coding=Coding("none", ones, ones, np.zeros((17, 6), np.int8), np.ones(6, np.float32), np.ones(6, np.float32)),
        squares=np.zeros((12, 4), np.float32),
    )
    index = Index(
        keys=np.zeros((12, 6), np.uint8),
        labels=np.arange(12),
        links=np.zeros((12, 4), np.int32),
        seeds=np.arange(5),
    )

    def scorer(matching: Matching, *indexes: Index) -> Any:
        return SimpleNamespace(
            matcher=SimpleNamespace(gallery=gallery, matching=matching), bundle=SimpleNamespace(indexes=indexes)
        )

    found = matching_cost(scorer(Matching(candidates=2), index))
    assert found is not None
    # 4 cells, each with 2 candidates; 4 embeddings in a cell; windows of 4 and of 3 x 3 positions, both padded to 16.
    keys = 4 * 17 * 6
    opened = 4 * 8 * 5 * 4  # cells, nodes a round, rounds, links
    walk = (opened + 4 * 5) * 6
    fine = (4 * 2 * 4 + 4 * 16) * 16 * 3
    coarse = (4 * 2 * 9 + 4 * 16) * 16 * 5
    assert found.byte_products == pytest.approx((keys + walk + fine + coarse) / 1e6)
    squares = 2 * 4 * 16 * 16 * 4  # levels, cells, pairs of positions, embeddings
    enlarged = 4 * 2 * (9 * 16 * 4 + 4 * 9 * 4)  # of the coarse level, on both sides
    assert found.float_products == pytest.approx((squares + enlarged) / 1e6)
    assert found.gathered == pytest.approx(4 * 2 * (4 * 3 + 9 * 5) / 1e6)
    assert found.keys_gathered == pytest.approx(opened * 6 / 1e6)
    assert matching_cost(scorer(Matching(candidates=2, search="exact"), index)) is None
    assert matching_cost(scorer(Matching(candidates=2))) is None


@pytest.mark.parametrize("name", ["shared", "per-view", "masked regions, per-view"])
def test_a_bundle_with_views_is_measured_with_all_of_them(
    capsys: Capture, with_views: Callable[[str], Built], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    call = Session.__call__

    def counted(session: Session, views: NDArray[np.float32]) -> Any:
        runs.append(len(views))
        return call(session, views)

    path = with_views(name).path
    monkeypatch.setattr(Session, "__call__", counted)
    views = len(Bundle.open(path).manifest.layout)
    value = as_json(capsys, path, "--count", 3)
    alone = [4, 2] if views == 6 else [2]
    # Three frames that do not count, three runs of the network alone, three frames, and three whose parts are measured.
    assert runs == alone * 12
    assert value["frame_size"] == [56, 72] and value["measured"]["frames"] == 3
    assert value["measured"]["ratio"] > 0 and value["bundle"]["images"] == 6
    found = as_json(capsys, path, "--count", 2, "--recall")["recall"]
    assert found["frames"] == 2 and -1e-3 <= found["distance"] <= 0.05
    assert 0.85 <= found["same"] <= 1 and 0 <= found["score"] <= 0.05
    # As much work as a view takes, times the views.
    gathered = views * 4 * Bundle.open(path).manifest.matching.candidates * (16 * 64 + 16 * 128 + 9 * 256) / 1e6
    assert value["work"]["gathered"] == pytest.approx(gathered)
    out, _ = bench(capsys, path, "--count", 2, "--batch", 2)
    assert "2 frames of 72x56, in milliseconds" in out and "\nbatches      " in out


def test_frames_of_another_size_are_no_frames_of_a_bundle_with_views(
    capsys: Capture, with_views: Callable[[str], Built]
) -> None:
    assert main(["bench", f"--bundle={with_views('shared').path}", "--size", "64", "--count", "1"]) != 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "expected frames of 72x56 pixels" in said[0]


def test_the_work_does_not_grow_with_the_gallery_but_with_the_candidates(edge: Built) -> None:
    scorer = Scorer.open(edge.path)
    found = matching_cost(scorer)
    assert found is not None
    assert found.gathered == pytest.approx(16 * 12 * (16 * 64 + 16 * 128 + 9 * 256) / 1e6)


def test_frames_to_measure_with_are_like_the_thumbnails(edge: Built) -> None:
    bundle = Bundle.open(edge.path)
    frames = frames_like(bundle, 11, size=(90, 70))
    assert len(frames) == 11
    assert all(frame.shape == (90, 70, 3) and frame.dtype == np.uint8 for frame in frames)
    assert len({frame.tobytes() for frame in frames}) == 11
    for frame, again in zip(frames, frames_like(bundle, 11, size=(90, 70)), strict=True):
        assert np.array_equal(frame, again)
    for i, thumbnail in enumerate(bundle.thumbnails):
        np.testing.assert_allclose(frames[i].mean(axis=(0, 1)), thumbnail.mean(axis=(0, 1)), atol=2)


def test_memory_is_that_of_this_process() -> None:
    before = resident_bytes()
    if before is None:
        pytest.skip("this system does not tell")
    block = np.ones(64 << 20, np.uint8)
    after = resident_bytes()
    assert after is not None and after - before > len(block) / 2
