"""Shots of a source while generations of the bundle change: each shot once, in order, by the bundle that it names."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from altered import altered
from fake_gpu import Machine
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, build
from spade_edge.runtime import FollowingScorer, Scorer, following
from spade_edge.runtime.bundle.manifest import FILE
from spade_edge.tools.drawing.explanation import explanation
from spade_edge.tools.scoring.pictures import Folders, PictureWriter, ScoredFrame
from spade_edge.tools.scoring.record import record
from spade_edge.tools.scoring.scored import Scored, score_shots
from spade_edge.tools.sources import Shot
from spade_edge.tools.sources.acquisition import ALL, NEWEST, Acquisition

Frames = Callable[..., NDArray[np.uint8]]
FAULTS = (0, 3)  # shots without a frame; they would end a stream in any case, so there is none near a change
LONG = 60  # seconds; no test waits so long unless something is wrong


@pytest.fixture(scope="module")
def other(edge: Built, model: Path, good_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another generation of the bundle: fewer good images, matched by place."""
    folder = tmp_path_factory.mktemp("other")
    fewer = shutil.copytree(good_images, folder / "good")
    for name in ("0", "1"):
        (fewer / f"{name}.npy").unlink()
    return build(fewer, model=model, output=folder / "part.spade", options=BuildOptions(place=1)).path


@pytest.fixture
def bundle(edge: Built, other: Path, tmp_path: Path) -> Path:
    """Holds the files of both, and the manifest of the first."""
    copy = shutil.copytree(edge.path, tmp_path / "part.spade")
    for path in other.iterdir():
        if path.is_file() and path.name != FILE:
            shutil.copyfile(path, copy / path.name)
    return copy


def switched(bundle: Path, to: Path) -> None:
    shutil.copyfile(to / FILE, bundle / "new")
    (bundle / "new").replace(bundle / FILE)


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
@pytest.mark.parametrize("keep", [ALL, NEWEST])
def test_each_shot_once_in_order_by_the_bundle_that_it_names(
    edge: Built,
    other: Path,
    bundle: Path,
    part: Frames,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    provider: str,
    keep: str,
) -> None:
    monkeypatch.setattr(following, "EVERY", 0.01)
    if provider == "cuda":
        Machine().install(monkeypatch, tmp_path)
    scored: list[Scored] = []
    generations = [edge.path, other, edge.path]

    def shots() -> Iterator[Shot]:
        """Frames and two faults, until the last generation has judged some."""
        number, end = 0, time.monotonic() + LONG
        for generation in generations:
            switched(bundle, generation)
            wanted, seen = Scorer.open(generation).bundle.digest, 0
            while seen < 5 and time.monotonic() < end:
                fault = number in FAULTS
                yield Shot(number, None if fault else part(number % 5, flaw=number % 2 == 0), "lost" if fault else "")
                number += 1
                deadline = time.monotonic() + (0.2 if keep == ALL else LONG)
                while len(scored) < number and time.monotonic() < deadline:
                    time.sleep(0.001)
                seen += bool(scored) and scored[-1].bundle.digest == wanted

    with (
        FollowingScorer.open(bundle, providers=provider) as scorer,
        Acquisition(shots(), keep=keep) as acquired,
    ):
        assert (scorer.scorer.session.provider == "CUDAExecutionProvider") == (provider == "cuda")
        for each in score_shots(scorer, acquired):
            scored.append(each)
    assert [each.shot.name for each in scored] == list(range(len(scored)))
    assert [each.result is None for each in scored] == [number in FAULTS for number in range(len(scored))]
    scorers = {scorer.bundle.digest: scorer for scorer in map(Scorer.open, (edge.path, other))}
    order = [each.bundle.digest for each in scored]
    changes = [one for i, one in enumerate(order) if i == 0 or order[i - 1] != one]
    assert changes == [Scorer.open(generation).bundle.digest for generation in generations]
    for each in scored:
        if each.shot.frame is not None and each.result is not None:
            expected = scorers[each.bundle.digest](each.shot.frame)
            assert each.result.bundle == each.bundle.digest[:16] == record(each, live=True)["bundle"]
            assert each.result.score == expected.score and np.array_equal(each.result.heatmap, expected.heatmap)
            assert record(each, live=True)["threshold"] == expected.threshold
        else:
            line = record(each, live=True)
            assert line["bundle"] == each.bundle.digest[:16]
            assert line["threshold"] == each.bundle.manifest.threshold.score


def test_a_picture_shows_the_good_parts_of_the_bundle_that_judged(
    edge: Built, other: Path, part: Frames, tmp_path: Path
) -> None:
    frame, write = part(20, flaw=True), PictureWriter(Folders(explain=tmp_path))
    for name, path in (("a", edge.path), ("b", other)):
        scorer = Scorer.open(path)
        result = scorer(frame)
        write(ScoredFrame(f"{name}.png", frame, result, scorer.bundle))
        drawn = explanation(scorer.bundle, frame, result)
        assert np.array_equal(cv2.imread(str(tmp_path / f"{name}.png")), drawn)
    assert not np.array_equal(*(cv2.imread(str(tmp_path / f"{name}.png")) for name in "ab"))


def test_the_bundle_of_a_frame_without_a_result_is_the_one_in_force(edge: Built, tmp_path: Path) -> None:
    path = altered(edge.path, tmp_path / "b.spade", "threshold", score=5.0)
    scorer = Scorer.open(path)
    with Acquisition([Shot(0, None, "lost")], keep=ALL) as acquired:
        (scored,) = score_shots(scorer, acquired)
    line = record(scored, live=False)
    assert line["threshold"] == 5.0 and line["bundle"] == scorer.bundle.digest[:16]
