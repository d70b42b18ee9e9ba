"""Which lines need somebody: each rule alone, on a plant where all else is well."""

from __future__ import annotations

import json
from typing import Any

import pytest
from plant_reports import NEW, OLD, state
from sample_decisions import BEGAN

from spade_edge.tools.fleet.status import Expected, LineReport, Skipped, Status, read_report, status
from spade_edge.tools.line.state import HUNG, Health, LineState, Pulled

PLANT = [f"line-{number:02}" for number in range(1, 11)]


def report(said: LineState) -> LineReport:
    return read_report(json.dumps(said.to_json()).encode(), place=f"{said.line}.json")


def plant(*odd: LineState, expected: Expected | None = None, now: float = BEGAN + 10, **options: Any) -> Status:
    """Ten lines that are well, some of them as a test says."""
    by_name = {name: [state(name)] for name in PLANT}
    for each in odd:
        by_name[each.line] = [*(by_name.get(each.line, []) if options.get("beside") else []), each]
    reports = [report(each) for group in by_name.values() for each in group]
    return status(reports, now=now, expected=expected)


def concerns(found: Status) -> list[str]:
    return [sentence for row in found.rows for sentence in row.concerns]


def test_all_is_well() -> None:
    found = plant()
    assert concerns(found) == [] and not found.attention and found.lines == 10
    assert [row.name for row in found.rows] == PLANT and all(row.seconds == 10 for row in found.rows)


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"at": BEGAN - 700}, "silent for 12 min"),
        ({"at": BEGAN + 4000}, "clock"),
        ({"health": Health(HUNG, "no frame for 12 s.", BEGAN)}, "is hung: no frame for 12 s."),
        ({"refused": "its manifest is cut"}, "refuses the bundle on its disk: its manifest is cut."),
        ({"pulled": Pulled("bolt:production", NEW, False, "too slow", "")}, "did not take bolt:production: too slow."),
        ({"bundle": NEW}, f"9 of 10 cameras on it judge by {OLD}"),
        ({"drift": "darker by 9 %"}, "darker by 9 %"),
        ({"good": 800, "defect": 200}, "rejects 20 % of its parts, and its sisters on bolt reject 2 %"),
        ({"good": 955, "defect": 45}, "rejects 4.5 % of its parts"),
        ({"good": 100_000, "defect": 1}, "its sisters on bolt reject 2 %"),
        ({"good": 980, "defect": 5, "late": 15}, "late with 1.5 %"),
        ({"news": "line.toml was refused."}, "line.toml was refused."),
    ],
)
def test_one_line_that_is_odd_comes_first_with_a_sentence(odd: dict[str, Any], words: str) -> None:
    found = plant(state("line-07", **odd))
    (sentence,) = concerns(found)
    assert words in sentence and "line-07" in sentence and sentence.endswith(".") and ".." not in sentence
    assert found.rows[0].name == "line-07" and found.attention and found.wanting == 1


@pytest.mark.parametrize(
    "even",
    [
        {"good": 979, "defect": 21},  # as the others
        {"good": 30, "defect": 70},  # too few parts to say
        {"good": 976, "defect": 24},  # by chance
        {"at": BEGAN - 280},  # not yet silent
        {"pulled": Pulled("bolt:production", OLD, True, "", "")},
        {"at": BEGAN + 50},  # clocks differ
        {"good": 975, "defect": 20, "late": 5},
    ],
)
def test_what_is_usual_needs_nobody(even: dict[str, Any]) -> None:
    assert concerns(plant(state("line-07", **even))) == []


def test_reject_rates_are_compared_with_those_of_the_same_product_only() -> None:
    nuts = [state(name, recipe="nut", good=800, defect=200) for name in ("line-01", "line-02")]
    assert concerns(plant(*nuts)) == []  # two are too few to say what is usual
    nuts = [state(name, recipe="nut", good=800, defect=200) for name in PLANT[:5]]
    assert concerns(plant(*nuts)) == []


def test_half_of_the_plant_on_a_new_bundle_is_no_odd_line() -> None:
    assert concerns(plant(*(state(name, bundle=NEW) for name in PLANT[:5]))) == []


def test_the_promoted_bundle_counts_more_than_the_most() -> None:
    expected = Expected(promoted={"bolt": NEW}, labels={NEW: "production, v2"}, channel="production")
    found = plant(state("line-07", bundle=NEW), expected=expected)
    assert len(concerns(found)) == 9 and all(f"production is {NEW}" in each for each in concerns(found))
    last = found.rows[-1]
    assert (last.name, last.label, last.concerns) == ("line-07", "production, v2", ())


def test_a_silent_line_does_not_say_what_is_usual() -> None:
    silent = [state(name, at=BEGAN - 10_000, bundle=NEW) for name in PLANT[:6]]
    found = plant(*silent)
    assert [row.name for row in found.rows if any(NEW in each for each in row.concerns)] == PLANT[:6]


def test_what_is_expected_and_missing_is_told() -> None:
    expected = Expected(lines=("line-01", "line-99", "line-99"), recipes=("bolt", "nut"))
    found = plant(expected=expected)
    assert concerns(found) == ["Line line-99 has never reported."] and found.general == ("No line judges nut.",)
    assert found.rows[0].line is None and found.rows[0].seconds is None and found.attention
    assert plant(expected=Expected(recipes=("nut",))).attention


def test_two_devices_with_one_name_are_told() -> None:
    found = plant(state("line-07"), beside=True)
    assert [("more than one device" in each, "line-07" in each) for each in concerns(found)] == [(True, True)] * 2


def test_a_line_that_is_offline_says_the_broker() -> None:
    offline = LineReport("line-99", "", 0.0, (), (), "", "x", offline=True)
    found = status([report(state()), offline], now=BEGAN)
    assert concerns(found) == ["Line line-99 is offline, says the broker."] and found.rows[0].seconds is None


def test_the_gravest_comes_first_and_each_trouble_of_a_line_once() -> None:
    found = plant(
        state("line-05", drift="darker", cameras=2),
        state("line-06", at=BEGAN - 900, cameras=2),
        state("line-07", bundle=NEW, drift="darker"),
    )
    said = concerns(found)
    assert "silent" in said[0] and NEW in said[1] and "darker" in said[2] and len(said) == 5
    assert sum("silent" in each for each in said) == 1


def test_skipped_reports_are_counted_and_bounded() -> None:
    found = status([Skipped(f"x{number}: none") for number in range(500)], now=BEGAN)
    assert (found.left_out, len(found.skipped), found.lines, found.attention) == (500, 100, 0, True)


def test_a_row_as_json() -> None:
    (row, *_) = plant(state("line-01", drift="darker")).rows
    said = json.loads(json.dumps(row.to_json()))
    assert (said["line"], said["camera"], said["good"], said["reject_rate"]) == ("line-01", "top", 980, 0.02)
    assert said["concerns"] and said["seconds"] == 10 and said["self_test"] == "passed"
