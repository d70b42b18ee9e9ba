"""What is said of frames that differ, what is learned anew, and a state that goes on as if there had been no break."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spade_edge.galleries import Built
from spade_edge.runtime import DataError, DriftOptions, DriftWatch, FrameResult
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.drift.change import as_text
from spade_edge.runtime.preprocessing.alignment import Alignment

Results = Callable[..., FrameResult]
N = 20
OPTIONS = DriftOptions(frames=N)
ALIGNMENT = Alignment((-0.1, 0.1), (-0.1, 0.1), (0.0, 0.0), 0.2, 10.0, False, 1.0, 0.5, 0.1)
NOON = 1_790_000_000.0  # seconds since 1970


@pytest.fixture
def watch(edge: Built) -> DriftWatch:
    return DriftWatch(edge.manifest, options=OPTIONS)


def feed(watch: DriftWatch, results: Results, count: int, start: float = NOON, **values: Any) -> None:
    """Frames a second apart."""
    for number in range(count):
        watch(results(**values), start + number)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"brightness": 109.0}, ["brightness +9 %"]),
        ({"contrast": 30.0}, ["contrast -25 %"]),
        ({"focus": 0.4, "chroma": 30.0}, ["focus -20 %", "colourfulness +50 %"]),
        ({"red": 1.155, "blue": 0.873}, ["red +5 %", "blue -3 %"]),
        ({"place": (3.0, 0.0, 0.0)}, ["place 3.0 px to the right"]),
        ({"place": (-12.0, 0.0, 0.0)}, ["place 12 px to the left"]),
        ({"place": (0.0, 2.0, 0.0)}, ["place 2.0 px down"]),
        ({"place": (0.0, -2.0, 0.0)}, ["place 2.0 px up"]),
        ({"place": (0.0, 0.0, 1.5)}, ["turned by 1.5 degrees clockwise"]),
        ({"place": (0.0, 0.0, -1.5)}, ["turned by 1.5 degrees counterclockwise"]),
        ({"p": 0.04}, ["p 0.50 → 0.04"]),
        ({"brightness": 101.9, "contrast": 41.9, "focus": 0.52, "red": 1.11, "blue": 0.89}, []),
        ({"place": (1.9, -0.9, 0.4)}, []),
    ],
)
def test_a_change_is_said_in_words_with_what_was_before_and_since_when(
    watch: DriftWatch, results: Results, values: dict[str, Any], words: list[str]
) -> None:
    feed(watch, results, N)
    assert watch.drift is None
    feed(watch, results, 30, NOON + 100, **values)
    assert [change.words for change in watch.drift.changes] == words if watch.drift else not words
    if watch.drift:
        assert watch.drift.since == NOON + 100
        assert watch.drift.words == ", ".join(words)
        before = {
            "p": 0.5,
            "brightness": 100.0,
            "contrast": 40.0,
            "focus": 0.5,
            "chroma": 20.0,
            "red": 1.1,
            "blue": 0.9,
        }
        place = dict(zip(("right", "down", "angle"), values.get("place", ()), strict=False))
        for change in watch.drift.changes:
            assert change.before == before.get(change.quantity, 0.0)
            assert change.now == pytest.approx((place | values)[change.quantity])
        line = json.loads(json.dumps(watch.drift.to_json(), allow_nan=False))
        assert line["since"] == as_text(NOON + 100) == "2026-09-21T14:15:00.000+00:00"


def test_frames_that_cannot_be_judged_are_ignored(watch: DriftWatch, results: Results) -> None:
    feed(watch, results, 10, verdict="cannot_judge", brightness=10.0, p=0.01)
    feed(watch, results, N)
    feed(watch, results, 50, verdict="cannot_judge", brightness=10.0, p=0.01)
    assert watch.drift is None


def test_some_defects_are_no_drift_and_parts_that_all_become_defects_are(watch: DriftWatch, results: Results) -> None:
    rng = np.random.default_rng(4)
    for number in range(3000):
        flawed = number % 10 == 9
        result = results(verdict="defect" if flawed else "good", p=0.01 if flawed else float(rng.random()))
        assert watch(result, NOON) is None
    feed(watch, results, 30, NOON + 100, verdict="defect", p=0.01)
    assert watch.drift is not None and [change.quantity for change in watch.drift.changes] == ["p"]
    assert NOON <= watch.drift.since <= NOON + 100


def test_a_part_that_is_not_found_has_no_place_and_all_else(watch: DriftWatch, results: Results) -> None:
    feed(watch, results, N, place=None)
    feed(watch, results, N - 1, place=(50.0, 0.0, 0.0))
    feed(watch, results, 30, place=None, brightness=110.0)
    assert watch.drift is not None and watch.drift.words == "brightness +10 %"


def test_one_frame_says_nothing_and_a_dark_line_has_no_fractions_of_nothing(
    watch: DriftWatch, results: Results
) -> None:
    assert watch(results(brightness=0.0, red=0.0), NOON) is None
    feed(watch, results, N, brightness=0.0, red=0.0)
    feed(watch, results, 30, brightness=50.0, red=1.0)
    assert watch.drift is not None and watch.drift.words == "brightness 0 → 50, red 0 → 1"


def test_two_good_images_have_three_values_of_p(watch: DriftWatch, results: Results) -> None:
    rng = np.random.default_rng(0)
    for p in rng.choice([1 / 3, 2 / 3, 1.0], 3000):
        assert watch(results(p=float(p)), NOON) is None
    for _ in range(60):
        watch(results(p=1 / 3), NOON)
    assert watch.drift is not None and watch.drift.words == "p 0.67 → 0.33"


def test_a_clock_that_jumps_does_no_harm(watch: DriftWatch, results: Results) -> None:
    feed(watch, results, N)
    for number in range(30):
        watch(results(brightness=110.0), (NOON, 0.0, NOON + 1e9)[number % 3])
    assert watch.drift is not None and watch.drift.since == NOON


def changed(manifest: Manifest, what: str) -> Manifest:
    """The manifest of another generation, or of another bundle."""
    if what == "threshold":
        return replace(manifest, threshold=replace(manifest.threshold, score=2 * manifest.threshold.score))
    if what == "evidence":
        first, *others = manifest.images
        return replace(manifest, images=(replace(first, score=first.score + 1), *others))
    if what == "place":
        assert manifest.alignment is not None
        return replace(manifest, alignment=replace(manifest.alignment, right=(-1.0, 1.0)))
    return replace(manifest, created="2020-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("threshold", "brightness +10 %, place 8.0 px to the right, p 0.50 → 0.10"),
        ("evidence", "brightness +10 %, place 8.0 px to the right"),
        ("place", "brightness +10 %, p 0.50 → 0.10"),
        ("bundle", None),
    ],
)
@pytest.mark.parametrize("from_file", [False, True])
def test_another_generation_makes_learn_anew_what_it_touches(
    edge: Built, results: Results, what: str, left: str | None, from_file: bool
) -> None:
    manifest = replace(edge.manifest, alignment=ALIGNMENT)
    watch = DriftWatch(manifest, options=OPTIONS)
    feed(watch, results, N)
    feed(watch, results, 30, NOON + 100, brightness=110.0, place=(8.0, 0.0, 0.0), p=0.1)
    other = changed(manifest, what)
    if not from_file:
        watch.follow(other)
    elif left is None:
        with pytest.raises(DataError):
            DriftWatch.from_text(watch.to_text(), other, options=OPTIONS)
        return
    else:
        watch = DriftWatch.from_text(watch.to_text(), other, options=OPTIONS)
    assert (watch.drift.words if watch.drift else None) == left


def test_a_state_goes_on_as_if_there_had_been_no_break(edge: Built, results: Results) -> None:
    rng = np.random.default_rng(2)
    whole, broken = (DriftWatch(edge.manifest, options=OPTIONS) for _ in range(2))
    raised = 0
    for number in range(150):
        values = {"brightness": 100 + rng.normal() + 4 * (60 < number < 100), "p": rng.random()}
        place = None if number % 7 == 0 else (rng.normal(), rng.normal(), 0.0)
        result = results(place=place, verdict="defect" if number % 11 == 0 else "good", **values)
        expected = whole(result, NOON + number)
        assert broken(result, NOON + number) == expected
        raised += expected is not None
        text = broken.to_text()
        broken = DriftWatch.from_text(text.encode(), edge.manifest, options=OPTIONS)
        assert broken.to_text() == text == whole.to_text()
    assert 20 < raised < 100


def spoilt(state: dict[str, Any]) -> list[Any]:
    """States that are none."""

    def other(*path: Any, value: Any = ...) -> dict[str, Any]:
        copy: Any = json.loads(json.dumps(state))
        at = copy
        for name in path[:-1]:
            at = at[name]
        if value is ...:
            del at[path[-1]]
        else:
            at[path[-1]] = value
        return dict(copy)

    series = ("series", "brightness")
    return [
        [], {}, 7, other("spade_edge_drift", value=2), other("bases"), other("bases", "light", value=3),
        other("bases", "p"), other("bases", "more", value=""), other("extent", value=[0, 5]),
        other("extent", value=[1e300, 5]), other("extent", value=[5]), other("more", value=1),
        other("series", "brightness"), other("series", "more", value={}),
        other(*series, "reference", value=[1.0] * (N - 1)), other(*series, "reference", value=[2.0] + [1.0] * (N - 1)),
        other(*series, "reference", value=[1e7] * N), other(*series, "reference", value=["1"] * N),
        other(*series, "reference", value=[]), other(*series, "learned", value=[1.0]),
        other(*series, "forgotten", value=11), other(*series, "recent", value=[1.0] * 51),
        other(*series, "recent", value=[1e7]), other(*series, "recent", value=[]),
        other(*series, "up", "value", value=41.0), other(*series, "up", "value", value=-1.0),
        other(*series, "up", "value", value=0.0), other(*series, "up", "raised", value=1),
        other(*series, "up", "since", value=-1.0), other(*series, "up", "since", value=1e15),
        other(*series, "up", "frames", value=0), other(*series, "down", "raised", value=True),
    ]  # fmt: skip


def test_a_state_that_is_none_is_refused(watch: DriftWatch, edge: Built, results: Results) -> None:
    feed(watch, results, N)
    feed(watch, results, 30, NOON + 100, brightness=110.0)
    text = watch.to_text()
    state = json.loads(text)
    assert DriftWatch.from_text(json.dumps(state), edge.manifest, options=OPTIONS).drift == watch.drift
    texts = [json.dumps(wrong) for wrong in spoilt(state)]
    texts += ["", "\0" * 100, text[:-20], text.replace("100.0", "NaN"), text.replace("100.0", "1e999")]
    for wrong in texts:
        with pytest.raises(DataError):
            DriftWatch.from_text(wrong, edge.manifest, options=OPTIONS)
    with pytest.raises(DataError):  # learned with other options
        DriftWatch.from_text(text, edge.manifest)


def test_since_is_the_first_of_the_changes_and_the_same_generation_changes_nothing(
    edge: Built, watch: DriftWatch, results: Results
) -> None:
    other = changed(edge.manifest, "bundle")
    watch.follow(other)
    feed(watch, results, N)
    feed(watch, results, 30, NOON + 100, red=1.2)
    watch.follow(other)
    feed(watch, results, 30, NOON + 200, red=1.2, brightness=110.0)
    assert watch.drift is not None and watch.drift.since == NOON + 100
    assert {change.quantity: change.since - NOON for change in watch.drift.changes} == {"brightness": 200, "red": 100}
