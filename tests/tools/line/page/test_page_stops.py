"""The thresholds to choose from, against the command that sets them and against counting by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from spade_edge.galleries import Built, set_threshold
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.line.page.memory import Scored
from spade_edge.tools.line.page.stops import changed, of_thousand, stops, stops_view


@pytest.fixture
def bundle(edge: Built, tmp_path: Path) -> Path:
    return Path(shutil.copytree(edge.path, tmp_path / "bolt.spade"))


def test_each_stop_is_what_the_command_would_set(bundle: Path) -> None:
    offered = stops(Manifest.read(bundle))
    assert len(offered) >= 2 and sum(stop.in_force for stop in offered) == 1
    assert [stop.threshold.score for stop in offered] == sorted({stop.threshold.score for stop in offered})
    for stop in offered:
        assert stop.rate is not None
        change = set_threshold(bundle, rate=float(repr(stop.rate)), reason="a test")
        assert (change.threshold.score, change.threshold.rate) == (stop.threshold.score, stop.threshold.rate)
        assert change.threshold.sentence() == stop.threshold.sentence()


def test_a_manual_threshold_is_shown_and_cannot_be_asked_for(bundle: Path) -> None:
    set_threshold(bundle, score=123.0, reason="by hand")
    manual = [stop for stop in stops(Manifest.read(bundle)) if stop.in_force]
    assert [(stop.rate, stop.threshold.score) for stop in manual] == [(None, 123.0)]


def test_what_would_have_changed_is_counted(bundle: Path) -> None:
    scored = [Scored("bolt", "good", 1.0), Scored("bolt", "good", 2.0), Scored("bolt", "defect", 3.0)]
    counted = [changed(scored, score, than=2.5) for score in (0.5, 1.5, 2.0, 2.5, 3.0)]
    assert counted == [(0, 2), (0, 1), (0, 0), (0, 0), (1, 0)] and changed([], 1.0, than=2.0) == (0, 0)
    view = stops_view(Manifest.read(bundle), scored)
    in_force = [(stop["to_good"], stop["to_defect"]) for stop in view["stops"] if stop["in_force"]]
    assert (
        in_force == [(0, 0)]
        and view["parts"] == 3
        and all(stop["words"].endswith("good parts rejected") for stop in view["stops"])
    )


def test_rates_are_said_in_whole_parts_and_never_too_low() -> None:
    assert of_thousand(0.0492) == "50 of 1,000" and of_thousand(0.05) == "50 of 1,000"
    assert of_thousand(0.001) == "1 of 1,000" and of_thousand(0.0002) == "20 of 100,000"
