"""What is kept, in whole or not at all, within its budget, whatever happens to the disk or the process."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_line import LONG, until
from inspections import frame, good, inspection
from interrupted_writes import SPACE, Killed, stopping
from sample_decisions import BEGAN, decision, line_state

from spade_edge.tools.drawing.overlay import overlay
from spade_edge.tools.line.configuration.options import EvidenceOptions
from spade_edge.tools.line.courier import Courier
from spade_edge.tools.line.decision import Inspection
from spade_edge.tools.line.evidence.entry import entries
from spade_edge.tools.line.evidence.ring import EvidenceRing
from spade_edge.tools.line.outputs.output import MissedError, OutputError
from spade_edge.tools.line.state import TROUBLED

LARGE = 1_000_000_000
Make = Callable[..., EvidenceRing]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "evidence"


@pytest.fixture
def make(folder: Path) -> object:
    opened: list[EvidenceRing] = []

    def ring(*, budget: int = LARGE, good_share: float = 0.0, seed: int | None = 0) -> EvidenceRing:
        for one in opened:
            one.close()
        options = EvidenceOptions(folder=folder, budget=budget, good_share=good_share)
        opened.append(EvidenceRing(options, line="press-3", seed=seed))
        opened[-1].open()
        return opened[-1]

    yield ring
    for one in opened:
        one.close()


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing takes most of the time, and no power is cut here."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def space(folder: Path) -> int:
    """Bytes that files and folders of entries take on the disk."""
    found = [path for path in folder.rglob("*") if path.parent != folder and path.name not in _hours(folder)]
    return sum(4096 if path.is_dir() else -(-path.stat().st_size // 4096) * 4096 for path in found)


def _hours(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*/*")}


def numbers(folder: Path) -> list[int]:
    return [entry.decision["number"] for entry in entries(folder)]


@pytest.mark.parametrize("size", [(48, 64, 3), (48, 64)])
def test_an_entry_has_the_frame_the_overlay_and_the_decision(make: Make, folder: Path, size: tuple[int, ...]) -> None:
    ring = make()
    kept = inspection(7, size=size)
    ring.send(kept)
    (entry,) = entries(folder)
    assert entry.decision == kept.decision.to_json()
    assert entry.frame is not None and entry.overlay is not None
    read = cv2.imread(str(entry.frame), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read, kept.frame)
    assert entry.frame_sha256 == sha256(entry.frame.read_bytes()).hexdigest()
    assert kept.result is not None and kept.frame is not None
    drawn = overlay(kept.frame, kept.result, pixel_threshold=kept.result.pixel_threshold)
    shown = cv2.imread(str(entry.overlay))
    coarse, expected = (cv2.resize(picture, (8, 6), interpolation=cv2.INTER_AREA) for picture in (shown, drawn))
    assert shown.shape == drawn.shape and np.abs(coarse.astype(int) - expected).mean() < 3
    about = json.loads((entry.frame.parent / "decision.json").read_text())
    assert (about["format"], about["version"], about["line"]) == ("spade-edge evidence", 1, "press-3")
    assert sorted(path.name for path in entry.frame.parent.iterdir()) == ["decision.json", "frame.png", "overlay.jpg"]


def test_a_part_without_a_frame_or_a_result_is_kept(make: Make, folder: Path) -> None:
    ring = make()
    late = {"verdict": "late", "score": None, "regions": ()}
    ring.send(Inspection(decision(1, **late)))
    ring.send(Inspection(decision(2, **late), frame=frame()))
    second, first = entries(folder)
    assert first.frame is None and first.overlay is None and first.frame_sha256 == ""
    assert second.frame is not None and second.overlay is None


def test_a_map_that_does_not_fit_costs_the_overlay_only(make: Make, folder: Path) -> None:
    ring = make()
    whole = inspection(1)
    ring.send(Inspection(whole.decision, frame=frame(size=(20, 20, 3)), result=whole.result))
    (entry,) = entries(folder)
    assert entry.frame is not None and entry.overlay is None


def test_rejects_are_kept_and_a_sample_of_the_good(make: Make, folder: Path) -> None:
    ring = make(good_share=0.25)
    for number in range(1, 401):
        ring.send(good(number, size=(2, 2, 3)))
    share = len(numbers(folder))
    assert 65 <= share <= 135  # 100 within four standard deviations
    for number, fields in enumerate(
        [
            {"verdict": "defect", "gate": "reject"},
            {"verdict": "late", "gate": "pass"},
            {"verdict": "cannot_judge", "gate": "reject"},
            {"verdict": "cannot_judge", "gate": "pass"},
        ],
        start=1000,
    ):
        ring.send(inspection(number, **fields))
    assert numbers(folder)[:4] == [1003, 1002, 1001, 1000]


def test_another_start_draws_another_sample(make: Make, folder: Path) -> None:
    drawn = []
    for seed in (1, 2):
        ring = make(good_share=0.5, seed=seed)
        for number in range(1, 41):
            ring.send(good(100 * seed + number, size=(2, 2, 3)))
        drawn.append({number - 100 * seed for number in numbers(folder) if number // 100 == seed})
    assert drawn[0] != drawn[1]


def test_the_oldest_go_first_and_the_budget_holds(make: Make, folder: Path) -> None:
    ring = make(budget=200_000)
    for number in range(1, 120):
        ring.send(inspection(number, at=BEGAN + 800 * number))  # over a day, several an hour
        assert space(folder) <= ring.used <= 200_000
    kept = numbers(folder)
    assert kept == list(range(119, 119 - len(kept), -1)) and 5 < len(kept) < 20
    days = {entry.id[:10] for entry in entries(folder)}
    assert {path.name for path in folder.iterdir()} == days
    before = ring.used
    assert make(budget=200_000).used == before
    ring = make(budget=100_000)  # a smaller budget
    ring.send(inspection(200, at=BEGAN + 800 * 200))
    assert space(folder) <= 100_000 and numbers(folder)[0] == 200


def test_a_budget_for_less_than_one_part_is_told(make: Make, folder: Path) -> None:
    ring = make(budget=100_000)
    ring.send(inspection(1))
    with pytest.raises(MissedError):  # which the courier does not try again: the next may be smaller
        ring.send(inspection(2, size=(300, 300, 3)))
    with pytest.raises(MissedError):  # no picture
        ring.send(Inspection(decision(2), frame=frame(2, size=(48, 64, 2))))
    assert numbers(folder) == [1]
    ring.send(inspection(3))


def test_what_somebody_else_has_removed_makes_room(make: Make, folder: Path) -> None:
    ring = make(budget=200_000)
    for number in range(1, 200):
        ring.send(inspection(number, at=BEGAN + 1800 * number))  # two an hour
    before = numbers(folder)
    for entry in list(entries(folder))[3:]:
        shutil.rmtree((folder / entry.id).parent, ignore_errors=True)
    number = 200
    while len(numbers(folder)) < len(before):
        ring.send(inspection(number, at=BEGAN + 1800 * number))
        assert space(folder) <= 200_000 and 199 in numbers(folder)
        number += 1
    for later in range(number, number + 20):
        ring.send(inspection(later, at=BEGAN + 1800 * later))
        assert space(folder) <= ring.used <= 200_000
    assert make(budget=200_000).used == ring.used


def test_a_clock_that_goes_back_does_not_cost_the_newest(make: Make, folder: Path) -> None:
    ring = make(budget=200_000)
    for number in range(1, 6):
        ring.send(inspection(number, at=BEGAN + 7200 * number))
    for number in range(6, 40):
        ring.send(inspection(number, at=BEGAN - 100_000 + number))
        assert number in numbers(folder)
        assert space(folder) <= 200_000
    assert min(numbers(folder)) > 20


def test_two_parts_in_one_millisecond_are_two_entries(make: Make, folder: Path) -> None:
    ring = make()
    for number, camera in ((1, "top"), (1, "side"), (2, "top")):
        ring.send(inspection(number, camera=camera, at=BEGAN))
    ring.send(inspection(1, at=BEGAN, reason="after a restart, with the clock set back"))
    assert len(list(entries(folder))) == 4
    ring.send(inspection(2, camera="top", at=BEGAN))  # the same once more
    assert len(list(entries(folder))) == 4


def test_foreign_files_are_neither_touched_nor_counted(make: Make, folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "frame.png").write_bytes(b"keep me")
    ring = make(budget=200_000)
    ring.send(inspection(1, at=BEGAN))
    (entry,) = entries(folder)
    assert entry.frame is not None
    hour = entry.frame.parent.parent
    foreign = {
        folder / "notes.txt": b"x" * 300_000,
        folder / "2020-01-01" / "00" / "mine.txt": b"x",
        folder / "2020-01-01" / "00" / "000000.000.top.1.defect.10k.bak" / "frame.png": b"x",
        hour / "read me": b"x",
        entry.frame.parent / "comment.txt": b"x",
        folder / ".part-mine" / "frame.png": b"x",
    }
    for path, content in foreign.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (hour / "000000.000.top.9.defect.10k").symlink_to(elsewhere)
    (folder / "2019-01-01").symlink_to(elsewhere)
    (folder / f".part-{'0' * 16}").symlink_to(elsewhere)
    ring = make(budget=200_000)
    for number in range(2, 60):
        ring.send(inspection(number, at=BEGAN + 600 * number))
    for path, content in foreign.items():
        assert path.read_bytes() == content
    assert (elsewhere / "frame.png").read_bytes() == b"keep me"
    assert 59 in numbers(folder) and 1 not in numbers(folder)
    assert ring.used <= 200_000


def test_what_a_power_failure_left_is_removed(make: Make, folder: Path) -> None:
    ring = make()
    ring.send(inspection(1))
    left = folder / f".part-{'ab' * 8}"
    left.mkdir()
    (left / "frame.png").write_bytes(b"half")
    make()
    assert not left.exists() and numbers(folder) == [1]


def test_what_is_left_of_a_removal_is_removed_and_not_counted(make: Make, folder: Path) -> None:
    ring = make()
    for number in (1, 2, 3):
        ring.send(inspection(number, at=BEGAN + number))
    (oldest,) = (entry for entry in entries(folder) if entry.decision["number"] == 1)
    for path in (folder / oldest.id).iterdir():
        path.unlink()
    assert make().used == space(folder)
    assert not (folder / oldest.id).exists() and numbers(folder) == [3, 2]


def test_two_services_do_not_share_a_folder(make: Make, folder: Path) -> None:
    make()
    other = EvidenceRing(EvidenceOptions(folder=folder), line="press-4")
    with pytest.raises(OutputError):
        other.open()
    other.close()


def test_a_killed_process_leaves_whole_entries(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = _stopped_at(1 << 30, Killed, None, tmp_path / "all")
    assert total > 40
    for at in range(1, total + 1):
        place = tmp_path / str(at)
        _stopped_at(at, Killed, None, place)
        _check(place)


def test_a_full_disk_is_told_and_leaves_whole_entries(tmp_path: Path) -> None:
    total = _stopped_at(1 << 30, errno.ENOSPC, SPACE, tmp_path / "all")
    for at in range(1, total + 1):
        place = tmp_path / str(at)
        _stopped_at(at, errno.ENOSPC, SPACE, place)
        assert not [path for path in (place / "evidence").glob(".part-*") if any(path.iterdir())]
        _check(place)


@pytest.mark.parametrize("error", [errno.EROFS, errno.EIO, errno.EACCES])
def test_a_disk_that_cannot_be_written_is_told_and_tried_again(make: Make, folder: Path, error: int) -> None:
    ring = make(budget=60_000)
    for number in (1, 2, 3):
        ring.send(inspection(number))
    before = numbers(folder)
    with stopping(folder, at=1, error=error), pytest.raises(OutputError):
        ring.send(inspection(4))
    assert numbers(folder) == before
    ring.send(inspection(4))
    assert numbers(folder)[0] == 4


def test_a_good_part_of_the_sample_is_kept_after_a_failure(make: Make, folder: Path) -> None:
    ring = make(good_share=0.02)
    with stopping(folder, at=1, error=errno.ENOSPC):
        for chosen in map(good, range(1, 1000)):
            try:
                ring.send(chosen)
            except OutputError:
                break
    ring.send(chosen)
    assert numbers(folder) == [chosen.decision.trigger.number]


def test_a_folder_that_vanishes_is_told_and_made_again(make: Make, folder: Path, tmp_path: Path) -> None:
    ring = make()
    ring.send(inspection(1))
    ring.beat(line_state())
    folder.rename(tmp_path / "away")
    with pytest.raises(OutputError):
        ring.beat(line_state())
    with pytest.raises(OutputError):
        ring.send(inspection(2))
    ring.close()
    ring.open()
    ring.send(inspection(2))
    assert numbers(folder) == [2]
    (tmp_path / "away").rename(tmp_path / "further")


def test_a_parent_that_is_missing_is_not_made(tmp_path: Path) -> None:
    ring = EvidenceRing(EvidenceOptions(folder=tmp_path / "disk" / "evidence"), line="press-3")
    with pytest.raises(OutputError):
        ring.open()
    ring.close()
    assert not (tmp_path / "disk").exists()


def test_another_folder_in_its_place_is_told(make: Make, folder: Path, tmp_path: Path) -> None:
    ring = make()
    folder.rename(tmp_path / "away")
    folder.mkdir()
    with pytest.raises(OutputError):
        ring.beat(line_state())


def test_an_hour_that_is_a_link_is_not_written_to(make: Make, folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ring = make()
    ring.send(inspection(1, at=BEGAN))
    (entry,) = entries(folder)
    day = folder / entry.id[:10]
    (day / "23").symlink_to(elsewhere)
    with pytest.raises(OutputError):
        ring.send(inspection(2, at=BEGAN - BEGAN % 86400 + 23 * 3600))
    assert list(elsewhere.iterdir()) == []


def test_a_courier_carries_on_after_the_disk_was_away(folder: Path, tmp_path: Path) -> None:
    ring = EvidenceRing(EvidenceOptions(folder=folder), line="press-3")
    courier: Courier[Inspection] = Courier(ring, name="evidence", kind="evidence", queue=32, patience=LONG)
    courier.start()
    courier.hand_over(inspection(1))
    until(lambda: courier.state.sent == 1)
    folder.rename(tmp_path / "away")
    folder.write_bytes(b"")  # nothing can be made there
    courier.hand_over(inspection(2))
    until(lambda: courier.state.health.state == TROUBLED)
    folder.unlink()
    until(lambda: courier.state.sent == 2)
    courier.end()
    courier.join()
    assert numbers(folder) == [2]


def test_a_page_may_read_while_entries_come_and_go(make: Make, folder: Path) -> None:
    ring = make(budget=100_000)
    over, faults, seen = threading.Event(), [], []

    def read() -> None:
        while not over.is_set():
            try:
                seen.extend(entry.id for entry in entries(folder))
            except Exception as problem:
                faults.append(problem)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 80):
        ring.send(inspection(number, at=BEGAN + 300 * number))
    until(lambda: seen or faults)
    over.set()
    reader.join()
    assert faults == []


def _stopped_at(at: int, error: type[Killed] | int, only: frozenset[str] | None, place: Path) -> int:
    """Keep more parts than the budget is for, and stop at an operation. Returns the number of operations."""
    place.mkdir()
    options = EvidenceOptions(folder=place / "evidence", budget=40_000)
    ring = EvidenceRing(options, line="press-3")
    with stopping(place, at=at, error=error, only=only) as shim:
        try:
            ring.open()
            for number in range(1, 5):
                ring.send(inspection(number, at=BEGAN + 1800 * number, size=(40, 40, 3)))
        except (Killed, OutputError):
            pass
    ring.close()
    return shim.count


def _check(place: Path) -> None:
    """Every entry that is found is whole; the next start keeps to the budget and removes what is unfinished."""
    folder = place / "evidence"
    if folder.exists():
        for entry in entries(folder):
            assert entry.frame is not None and entry.overlay is not None
            assert sha256(entry.frame.read_bytes()).hexdigest() == entry.frame_sha256
    ring = EvidenceRing(EvidenceOptions(folder=folder, budget=40_000), line="press-3")
    ring.open()
    for number in range(10, 13):
        ring.send(inspection(number, at=BEGAN + 86400 + number, size=(40, 40, 3)))
    ring.close()
    assert numbers(folder)[0] == 12
    assert not list(folder.glob(".part-*"))
    assert space(folder) == ring.used <= 40_000
    assert [path.name for path in folder.iterdir()] == [next(entries(folder)).id[:10]]
