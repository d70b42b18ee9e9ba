"""The parts of a frame: they do what a frame does, and their times are told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, build
from spade_edge.runtime import Scorer
from spade_edge.tools.benchmark import stages
from spade_edge.tools.benchmark.measurement import measure
from spade_edge.tools.benchmark.stages import parts_of

Frames = Callable[..., NDArray[np.uint8]]
MATCHING = {"codes", "candidates", "comparison"}


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.float32]]:
    """The distances that the parts have found, view by view."""
    found: list[NDArray[np.float32]] = []
    match_cells = stages.match_cells

    def spied(*arguments: Any, **options: Any) -> Any:
        matches = match_cells(*arguments, **options)
        found.append(matches.distances)
        return matches

    monkeypatch.setattr(stages, "match_cells", spied)
    return found


def expected(scorer: Scorer, views: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    pyramids = [pyramid for view in views for pyramid in scorer.session(view[np.newaxis])]
    return [found.distances for found in scorer.matcher.match(pyramids, views=range(len(views)))]


@pytest.mark.parametrize("name", ["shared", "per-view", "masked regions, per-view"])
def test_the_parts_of_matching_find_what_a_frame_finds(
    with_views: Callable[[str], Built], name: str, texture: Frames, compared: list[NDArray[np.float32]]
) -> None:
    scorer = Scorer.open(with_views(name).path)
    frame = texture(3)
    milliseconds = parts_of(scorer)(frame)
    assert set(milliseconds) == MATCHING and min(milliseconds.values()) > 0
    wanted = expected(scorer, scorer.preprocessor(frame))
    assert len(compared) == len(wanted)
    for one, other in zip(compared, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


def test_a_bundle_matched_by_place_has_the_same_parts(
    model: Path, good_images: Path, tmp_path: Path, part: Frames, compared: list[NDArray[np.float32]]
) -> None:
    near = build(good_images, model=model, output=tmp_path / "near.spade", options=BuildOptions(place=1))
    scorer = Scorer.open(near.path)
    assert set(parts_of(scorer)(part(60))) == MATCHING
    np.testing.assert_allclose(compared[0], expected(scorer, scorer.preprocessor(part(60)))[0], rtol=1e-4, atol=1e-3)


def test_a_part_that_is_brought_back_is_matched_where_it_was_brought(
    edge: Built, part: Frames, compared: list[NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer.open(edge.path)
    monkeypatch.setattr(scorer, "aligner", lambda view: (np.ascontiguousarray(view[::-1]), None))
    milliseconds = parts_of(scorer)(part(60))
    assert list(milliseconds) == ["alignment", "codes", "candidates", "comparison"]
    turned = scorer.preprocessor(part(60))[:, ::-1]
    np.testing.assert_allclose(compared[0], expected(scorer, np.ascontiguousarray(turned))[0], rtol=1e-4, atol=1e-3)


def test_where_the_device_matches_there_are_no_parts_and_the_network_leaves_its_features_there(
    edge: Built, part: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer.open(edge.path, match="device")
    assert scorer.device is not None and parts_of(scorer)(part(60)) == {}
    runs: list[int] = []
    resident = scorer.device.session.resident

    def counted(views: Any) -> Any:
        runs.append(1)
        return resident(views)

    monkeypatch.setattr(scorer.device.session, "resident", counted)
    measured = measure(scorer, [part(60)], count=2, parts=parts_of(scorer))
    assert len(runs) == 1 + 2 + 2  # a frame that does not count, the network alone, and frames
    assert set(measured.by_stage) == {"view", "network", "matching", "map"}


def test_exact_search_has_no_parts(edge: Built, paper: Built, part: Frames) -> None:
    assert parts_of(Scorer.open(edge.path, search="exact"))(part(60)) == {}
    assert parts_of(Scorer.open(paper.path))(part(60)) == {}


@pytest.mark.parametrize("views", [1, 6])
def test_each_part_has_its_own_time(
    views: int,
    edge: Built,
    part: Frames,
    with_views: Callable[[str], Built],
    texture: Frames,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(stages, "perf_counter", lambda: now[0])
    scorer = Scorer.open(edge.path if views == 1 else with_views("per-view").path)
    frame = part(60) if views == 1 else texture(3)
    assert len(scorer.preprocessor(frame)) == views

    def takes(seconds: float, step: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any, **options: Any) -> Any:
            now[0] += seconds
            return step(*arguments, **options)

        return slow

    monkeypatch.setattr(scorer, "preprocessor", takes(100.0, scorer.preprocessor))
    monkeypatch.setattr(scorer, "session", takes(50.0, scorer.session))
    if views == 1:  # only one view is ever brought back
        monkeypatch.setattr(scorer, "aligner", takes(0.016, lambda view: (view, None)))
    monkeypatch.setattr(scorer.matcher, "_coder", takes(0.001, scorer.matcher._coder))  # type: ignore[arg-type]
    monkeypatch.setattr(scorer.matcher, "candidates", takes(0.002, scorer.matcher.candidates))
    monkeypatch.setattr(stages, "match_cells", takes(0.004, lambda *_, **__: None))
    milliseconds = parts_of(scorer)(frame)
    expected = {"codes": 1, "candidates": 2, "comparison": 4} | ({"alignment": 16} if views == 1 else {})
    if views == 6:  # in two runs of the network
        expected = {"codes": 2, "candidates": 4, "comparison": 6 * 4}
    assert milliseconds == pytest.approx(expected)
