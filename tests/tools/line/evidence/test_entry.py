"""Finding what was kept: newest first, by time, camera and verdict, whatever else lies in the folder."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from inspections import good, inspection
from sample_decisions import BEGAN

from spade_edge.runtime import DataError, UsageError
from spade_edge.tools.line.configuration.options import EvidenceOptions
from spade_edge.tools.line.evidence.entry import NAME, entries, find, in_order
from spade_edge.tools.line.evidence.ring import EvidenceRing

PARTS = 30
VERDICTS = ("defect", "good", "cannot_judge")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part every 500.25 seconds, by turns of two cameras and of three verdicts."""
    place = tmp_path_factory.mktemp("kept") / "evidence"
    ring = EvidenceRing(EvidenceOptions(folder=place, good_share=1.0), line="press-3")
    ring.open()
    for number in range(PARTS):
        make = good if number % 3 == 1 else inspection
        chosen: dict[str, Any] = {} if number % 3 == 1 else {"verdict": VERDICTS[number % 3]}
        ring.send(make(number, size=(4, 4, 3), camera=("top", "side")[number % 2], at=_time(number), **chosen))
    ring.close()
    return place


def _time(number: int) -> float:
    return BEGAN + 500.25 * number


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def numbers(folder: Path, **options: Any) -> list[int]:
    return [entry.decision["number"] for entry in entries(folder, **options)]


def test_the_newest_comes_first(folder: Path) -> None:
    assert numbers(folder) == list(range(PARTS - 1, -1, -1))
    assert numbers(folder, limit=4) == [29, 28, 27, 26]
    assert numbers(folder, limit=0) == []


@pytest.mark.parametrize("first", [0, 3, 12, 29])
@pytest.mark.parametrize("last", [5, 13, 29])
@pytest.mark.parametrize("beside", [-0.002, -0.0004, 0.0, 0.0004, 0.002])
def test_a_span_of_time(folder: Path, first: int, last: int, beside: float) -> None:
    since, until = _time(first) + beside, _time(last) + beside
    expected = [number for number in range(PARTS - 1, -1, -1) if since <= _time(number) < until]
    assert numbers(folder, since=_moment(since), until=_moment(until)) == expected


def test_another_time_zone_is_the_same_time(folder: Path) -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    moments = [_moment(_time(n) - 1) for n in (5, 20)]
    found = numbers(folder, since=moments[0].astimezone(east), until=moments[1].astimezone(east))
    assert found == numbers(folder, since=moments[0], until=moments[1]) == list(range(19, 4, -1))


def test_cameras_and_verdicts(folder: Path) -> None:
    assert set(numbers(folder, cameras=["top"])) == set(range(0, PARTS, 2))
    assert set(numbers(folder, verdicts=["good"])) == set(range(1, PARTS, 3))
    assert set(numbers(folder, cameras=("side",), verdicts=("defect", "good"))) == {
        n for n in range(PARTS) if n % 2 and n % 3 < 2
    }
    assert numbers(folder, cameras=["bottom"]) == []


def test_only_what_is_asked_for_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    original = os.open

    def noted(path: Any, *arguments: Any, **more: Any) -> int:
        opened.append(str(path))
        return original(path, *arguments, **more)

    monkeypatch.setattr(os, "open", noted)
    assert len(numbers(folder, limit=2, verdicts=["good"], cameras=["side"])) == 2
    assert len(opened) == 2


def test_an_entry_is_found_by_its_id(folder: Path) -> None:
    for entry in entries(folder, limit=3):
        assert find(folder, entry.id) == entry
        assert NAME.fullmatch(entry.id.split("/")[2])


@pytest.mark.parametrize(
    "id",
    [
        "",
        "..",
        "2027-01-15/08",
        "../evidence/08/080000.000.top.0.defect.1k",
        "2027-01-15/08/../08",
        "2027-01-15/08/080000.000.top.0.defect.1k/",
        "2027-01-15/08/080000.000.top.0.defect.1k/frame.png",
        "/etc/passwd",
        "2027-01-15/08/080000.000.to/p.0.defect.1k",
        "2027-01-15/08/080000.000.top.0.defect.1k\n",
        "2027-01-15/08/080000.000.top.0.defect.1k\0",
        "２０２７-01-15/08/080000.000.top.0.defect.1k",
    ],
)
def test_what_is_no_id_is_refused(folder: Path, id: str) -> None:
    with pytest.raises(UsageError):
        find(folder, id)


def test_an_entry_that_is_gone_is_said(folder: Path) -> None:
    with pytest.raises(DataError):
        find(folder, "2027-01-15/08/080000.000.top.99.defect.1k")


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        next(entries(tmp_path / "none"))


def test_hostile_entries_are_passed_over(tmp_path: Path) -> None:
    """Links, pipes, huge or deep JSON, other types, missing files."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text('{"format": "spade-edge evidence", "version": 1}')
    folder = tmp_path / "evidence"
    ring = EvidenceRing(EvidenceOptions(folder=folder), line="press-3")
    ring.open()
    ring.send(inspection(1, at=BEGAN))
    ring.close()
    (whole,) = entries(folder)
    assert whole.frame is not None
    hour = whole.frame.parent.parent
    right = json.loads((whole.frame.parent / "decision.json").read_text())

    def place(number: int) -> Path:
        made = hour / f"080000.{number:03d}.top.{number}.defect.1k"
        made.mkdir()
        return made

    contents: list[Any] = [
        [],
        None,
        {},
        right | {"version": 2},
        right | {"format": "x"},
        right | {"decision": []},
        right | {"decision": right["decision"] | {"number": "1"}},
        right | {"decision": right["decision"] | {"number": True}},
        right | {"decision": right["decision"] | {"score": "high"}},
        right | {"decision": right["decision"] | {"reason": None}},
        right | {"frame_sha256": 1},
    ]
    for number, content in enumerate(contents):
        (place(number) / "decision.json").write_text(json.dumps(content))
    raw = [b"", b"[" * 100_000, b"\xff\xfe", b"{", json.dumps(right).encode() + b" " * 4_000_000]
    for number, some in enumerate(raw, start=100):
        (place(number) / "decision.json").write_bytes(some)
    (place(200) / "decision.json").symlink_to(whole.frame.parent / "decision.json")
    os.mkfifo(place(201) / "decision.json")
    (place(202) / "decision.json").mkdir()
    place(203)
    (hour / "080000.300.top.1.defect.1k").symlink_to(whole.frame.parent)
    (hour / "080000.301.top.1.defect.1k").write_bytes(b"")
    assert [entry.id for entry in entries(folder)] == [whole.id]
    for path in hour.iterdir():
        if path != whole.frame.parent:
            with pytest.raises(DataError):
                find(folder, f"{whole.id.rpartition('/')[0]}/{path.name}")
    linked = place(400)
    (linked / "decision.json").write_text(json.dumps(right))
    (linked / "frame.png").symlink_to(outside / "secret")
    os.mkfifo(linked / "overlay.jpg")
    found = {entry.id: entry for entry in entries(folder)}
    assert len(found) == 2
    other = found[f"{whole.id.rpartition('/')[0]}/{linked.name}"]
    assert other.frame is None and other.overlay is None


def test_numbers_of_one_moment_are_in_order() -> None:
    names = [f"080000.000.top.{number}.defect.1k" for number in (9, 10, 100, 2)]
    assert [name.split(".")[3] for name in in_order(names)] == ["2", "9", "10", "100"]
