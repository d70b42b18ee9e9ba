"""What the page remembers and says of the line, against counting by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from desks import FakeDesk
from inspections import good, inspection
from sample_decisions import BEGAN, configuration, decision, line_state

from spade_edge.tools.line.decision import Inspection
from spade_edge.tools.line.page import memory as remembered
from spade_edge.tools.line.page.memory import BUCKETS, HOUR, KEPT, REJECTS, SCORES, Memory
from spade_edge.tools.line.page.view import line_view, p_words
from spade_edge.tools.line.state import HUNG, TROUBLED, WELL, Health, LineState


class At:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def at() -> At:
    return At()


@pytest.fixture
def memory(at: At) -> Memory:
    return Memory(keep_rejects=True, clock=at, wall=at)


def counted(at: At, *counts: int, started: float = BEGAN) -> LineState:
    state = line_state()
    counted = dict(zip(("good", "defect", "cannot_judge", "late"), counts, strict=True))
    cameras = tuple(replace(camera, counts=counted) for camera in state.cameras)
    return replace(state, at=at.now, started=started, cameras=cameras)


def view(memory: Memory, state: LineState) -> dict[str, object]:
    return line_view(state, configuration=configuration(), memory=memory)


def test_a_frame_that_is_no_picture_is_remembered_without_one(memory: Memory, at: At) -> None:
    for number, shape in enumerate(((48, 64, 2), (0, 64, 3), (48,)), 1):
        at.now += 1
        made = decision(number, verdict="cannot_judge")
        memory.add(Inspection(made, frame=np.zeros(shape, np.uint8)))
    assert [one.picture for _, one in memory.rejects()] == [None] * 3 and memory.rejected == 3


def test_counts_of_an_hour_are_those_of_the_heartbeats(memory: Memory, at: At) -> None:
    memory.beat(counted(at, 5, 1, 0, 0))
    at.now += HOUR
    memory.beat(counted(at, 9, 2, 1, 0))
    memory.beat(counted(at, 10, 2, 1, 3))
    at.now += HOUR
    memory.beat(counted(at, 2, 0, 0, 0))  # the camera was opened anew
    hours = memory.hours("top")
    assert len(hours) == 24 and hours[-3:] == [[5, 1, 0, 0], [5, 1, 1, 3], [2, 0, 0, 0]] and hours[0] == [0, 0, 0, 0]
    at.now += 30 * HOUR
    memory.beat(counted(at, 2, 0, 0, 0))
    assert memory.hours("top") == [[0, 0, 0, 0]] * 24


def test_counts_from_before_the_page_belong_to_no_hour(memory: Memory, at: At) -> None:
    memory.beat(counted(at, 500, 9, 0, 0, started=BEGAN - 5 * HOUR))
    memory.beat(counted(at, 501, 9, 0, 0, started=BEGAN - 5 * HOUR))
    assert memory.hours("top")[-1] == [1, 0, 0, 0]


def test_a_camera_that_is_gone_is_forgotten(memory: Memory, at: At) -> None:
    memory.add(good(1))
    memory.beat(line_state())
    state = line_state()
    memory.beat(replace(state, cameras=state.cameras[1:]))
    assert memory.shown("top") is None and memory.scores(recipe="bolt") == []


def test_everything_is_bounded(memory: Memory, at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "DRAWN_EVERY", 1e9)
    for number in range(1, SCORES + 200):
        at.now += 1
        memory.add(inspection(number))
        assert memory.shown("top") is not None
    camera = memory._cameras["top"]
    assert len(camera.shown) == KEPT and len(memory.scores(recipe="bolt")) == SCORES
    assert len(memory.rejects()) == REJECTS and memory.rejected == SCORES + 199
    assert [number for number, _ in memory.rejects()][:2] == [SCORES + 199, SCORES + 198]


def test_a_fast_line_is_shown_a_few_times_a_second_and_never_mixed_up(memory: Memory, at: At) -> None:
    memory.add(good(1))
    first = memory.shown("top")
    memory.add(inspection(2))
    assert first is not None and memory.shown("top") == first
    at.now += remembered.NEW_EVERY
    second = memory.shown("top")
    assert second is not None and second[0] == first[0] + 1
    assert second[1].decision.trigger.number == 2 and first[1].decision.trigger.number == 1
    assert memory.announced("top", first[0]) is first[1] and memory.announced("top", 99) is None
    assert first[1].picture(heat=True) != second[1].picture(heat=True)


def test_a_part_without_a_frame_has_no_picture(memory: Memory) -> None:
    memory.add(replace(inspection(1, verdict="late"), frame=None, result=None))
    shown = memory.shown("top")
    assert shown is not None and not shown[1].pictured and shown[1].picture(heat=True) is None
    assert memory.rejects()[0][1].picture is None


def test_a_line_that_rejects_all_does_not_draw_all(memory: Memory, at: At) -> None:
    for number in range(10):
        at.now += remembered.DRAWN_EVERY / 4
        memory.add(inspection(number))
    assert sum(one.picture is not None for _, one in memory.rejects()) == 3


def test_times_fall_into_their_buckets(memory: Memory) -> None:
    milliseconds = [1, 5, 5.01, 100, 99_999]
    for number, one in enumerate(milliseconds):
        memory.add(good(number, milliseconds=one))
    counts, total = memory.times()["top"]
    assert total == pytest.approx(sum(milliseconds) / 1000) and sum(counts) == len(milliseconds)
    edges = [0.0, *BUCKETS, float("inf")]
    by_hand = [sum(low < one / 1000 <= high for one in milliseconds) for low, high in pairwise(edges)]
    assert counts == by_hand


def test_the_histogram_counts_the_chosen_product_only(memory: Memory) -> None:
    for number in range(40):
        memory.add(good(number, score=1 + number / 10))
    memory.add(inspection(50, score=900.0))
    memory.add(inspection(51, recipe="nut", score=2.0))
    memory.add(inspection(52, verdict="cannot_judge", score=3.0))
    histogram = view(memory, line_state())["cameras"][0]["histogram"]  # type: ignore[index]
    assert histogram["parts"] == sum(histogram["counts"]) == 41 and histogram["over"] == 1
    assert 0 < histogram["threshold"] < 1 and histogram["words"]["high"].endswith(" and more")
    below = round(histogram["threshold"] * len(histogram["counts"]))
    assert sum(histogram["counts"][: below + 1]) == 40


@pytest.mark.parametrize("scores", [[5.0], [5.0, 5.0], [0.0], [-3.0, -2.0], [1e300, -1e300], [float("nan"), 1.0]])
def test_odd_scores_make_a_histogram_too(memory: Memory, scores: list[float]) -> None:
    for number, score in enumerate(scores):
        memory.add(good(number, score=score))
    histogram = view(memory, line_state())["cameras"][0]["histogram"]  # type: ignore[index]
    assert histogram["parts"] == sum(not math.isnan(one) for one in scores) == sum(histogram["counts"])


def test_what_is_wrong_is_said_worst_first(memory: Memory, at: At) -> None:
    memory.beat(line_state())
    state = line_state()
    top, side = state.cameras
    sick = replace(side, health=Health(HUNG, "no frame for 12 s", BEGAN), refused="it is broken", drift="darker by 9 %")
    output = replace(state.outputs[0], health=Health(TROUBLED, "the broker is gone", BEGAN))
    state = replace(state, cameras=(top, sick), outputs=(output,), news="line.toml was refused")
    said = view(memory, state)["troubles"]
    words = [one["words"] for one in said]  # type: ignore[union-attr]
    assert "side" in words[0] and "no frame for 12 s" in words[0] and said[0]["level"] == "bad"  # type: ignore[index]
    for part in ("it is broken", "darker by 9 %", "the broker is gone", "line.toml was refused"):
        assert sum(part in one for one in words) == 1
    at.now += 60
    assert "60 s" in view(memory, state)["troubles"][0]["words"]  # type: ignore[index]
    assert view(memory, line_state(state=WELL))["silent"] is True


def test_p_in_words_is_never_less_than_it_is() -> None:
    assert p_words(1.0) == "good parts score as high, or higher"
    assert "at most 50 of 100 " in p_words(0.5) and "at most 2 of 100 " in p_words(0.0164)
    assert "at most 5 of 1,000 " in p_words(0.005) and "at most 1 of 1,000 " in p_words(0.0002)
    assert "at most 7 of 100 " in p_words(0.07)  # which is a little more in binary


def test_the_desk_of_the_tests_is_a_desk() -> None:
    from spade_edge.tools.line.desk import Desk

    desk: Desk = FakeDesk()
    assert desk.state().line == "press-3"
