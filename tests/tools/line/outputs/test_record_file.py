"""Lines of a file: whole, after a power failure too, in a bounded number of files, and never in another program's."""

from __future__ import annotations

import csv
import errno
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interrupted_writes import SPACE, Killed, stopping
from sample_decisions import configuration, decision, line_state

from spade_edge.runtime import UsageError
from spade_edge.tools.line.configuration.options import FileOptions
from spade_edge.tools.line.decision_table import header
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.outputs.record_file import FileOutput

Make = Callable[..., FileOutput]
SUFFIXES = pytest.mark.parametrize("suffix", [".jsonl", ".csv"])


@pytest.fixture
def make(tmp_path: Path) -> object:
    made: list[FileOutput] = []

    def output(name: str, *, rotate: int = 100_000_000, keep: int = 10) -> FileOutput:
        options = FileOptions(path=tmp_path / name, rotate=rotate, keep=keep)
        made.append(FileOutput(options, name="records", line="press-3", configuration=configuration(), requests=None))
        return made[-1]

    yield output
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing takes most of the time, and no power is cut here."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def numbers(path: Path) -> list[int]:
    """The numbers of the decisions in a file, in order; broken lines are passed over."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        if path.suffix == ".csv":
            found = [cells["number"] for cells in csv.DictReader(file)]
            return [int(number) for number in found if number and number.isdigit()]
        fields = []
        for line in file:
            try:
                fields.append(json.loads(line))
            except ValueError:
                continue
        return [one["number"] for one in fields]


@SUFFIXES
def test_each_decision_is_a_line(make: Make, tmp_path: Path, suffix: str) -> None:
    output = make(f"decisions{suffix}")
    output.open()
    for number in (1, 2, 3):
        output.send(decision(number))
        assert numbers(tmp_path / f"decisions{suffix}")[-1] == number  # written at once
    assert not output.stale(decision())
    output.beat(line_state())
    output.close()
    output.open()  # a restart
    output.send(decision(4))
    output.close()
    output.close()
    lines = (tmp_path / f"decisions{suffix}").read_text().splitlines()
    if suffix == ".jsonl":
        assert [json.loads(line) for line in lines] == [decision(number).to_json() for number in (1, 2, 3, 4)]
    else:
        assert lines[0] == header().strip() and len(lines) == 5
    assert numbers(tmp_path / f"decisions{suffix}") == [1, 2, 3, 4]


@SUFFIXES
def test_a_full_file_gets_the_next_number_and_the_lowest_go(make: Make, tmp_path: Path, suffix: str) -> None:
    output = make(f"decisions{suffix}", rotate=2000, keep=3)
    foreign = tmp_path / f"decisions.000000{suffix}"
    foreign.write_text("another program's")
    output.open()
    for number in range(1, 60):
        output.send(decision(number))
    current = tmp_path / f"decisions{suffix}"
    former = sorted(path for path in tmp_path.glob(f"decisions.*{suffix}") if path != foreign)
    kept = [number for path in [*former, current] for number in numbers(path)]
    assert kept == list(range(kept[0], 60)) and kept[0] > 3
    assert len(former) <= 3 and all(path.stat().st_size <= 2000 for path in [*former, current])
    assert foreign.read_text() == "another program's"


@SUFFIXES
def test_a_line_larger_than_a_file_is_written(make: Make, tmp_path: Path, suffix: str) -> None:
    output = make(f"decisions{suffix}", rotate=1000)
    output.open()
    for number in (1, 2):
        output.send(decision(number, reason="x" * 3000))
    former = [path for path in tmp_path.iterdir() if path.stem != "decisions"]
    assert [numbers(path) for path in former] == [[1]]
    assert numbers(tmp_path / f"decisions{suffix}") == [2]


@SUFFIXES
def test_every_cut_of_a_power_failure_is_gone_on_from(
    make: Make, tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"decisions{suffix}"
    whole = make(path.name)
    whole.open()
    whole.send(decision(1))
    first = path.stat().st_size
    whole.send(decision(2, reason='a "quoted", text'))
    whole.close()
    content = path.read_bytes()
    for cut in [*range(0, 60, 3), *range(first - 2, first + 3), *range(first + 3, len(content), 11), len(content)]:
        path.write_bytes(content[:cut])
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            output = make(path.name)
            output.open()
        output.send(decision(3))
        output.close()
        found = numbers(path)
        assert found[-1] == 3
        assert 1 in found or cut < first
        if first < cut < len(content):
            assert 1 in found and len(caplog.records) == 1
        if cut in (first, len(content)):
            assert caplog.records == []


def test_zeros_after_a_power_failure_are_ended(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(json.dumps(decision(1).to_json()).encode() + b"\n" + bytes(4000))
    output = make(path.name)
    output.open()
    output.send(decision(2))
    assert numbers(path) == [1, 2]


@pytest.mark.parametrize("content", [b"hello\n", b"{}\n", b"version,line\n1,2\n", bytes(9), b"["])
@SUFFIXES
def test_another_programs_file_is_left_alone(make: Make, tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"decisions{suffix}"
    path.write_bytes(content)
    output = make(path.name)
    with pytest.raises(OutputError):
        output.open()
    with pytest.raises(OutputError):
        output.send(decision())
    with pytest.raises(OutputError):
        output.test(decision(test=True), line_state())
    assert path.read_bytes() == content


def test_a_file_with_other_columns_gets_a_number(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    former = "version,line,camera,number,colour\n1,press-3,top,1,red\n"
    path.write_text(former)
    output = make(path.name)
    output.open()
    output.send(decision(2))
    assert numbers(path) == [2]
    assert (tmp_path / "decisions.000001.csv").read_text() == former


def test_what_is_no_file_is_refused(make: Make, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    for name in ("pipe.jsonl", "folder.jsonl"):
        with pytest.raises(OutputError):
            make(name).open()


@pytest.mark.parametrize("name", ["decisions.txt", "decisions", "decisions.json", ".jsonl"])
def test_another_suffix_is_refused(make: Make, name: str) -> None:
    with pytest.raises(UsageError):
        make(name)


def test_two_services_do_not_write_to_one_file(make: Make) -> None:
    make("decisions.jsonl").open()
    with pytest.raises(OutputError):
        make("decisions.jsonl").open()


@SUFFIXES
def test_a_file_that_was_moved_away_is_begun_again(make: Make, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"decisions{suffix}"
    output = make(path.name)
    output.open()
    output.send(decision(1))
    path.rename(tmp_path / "moved")
    path.touch()  # as a program does that rotates files itself
    output.send(decision(2))
    assert numbers(path) == [2]
    path.unlink()
    output.beat(line_state())
    output.send(decision(3))
    assert numbers(path) == [3]


def test_a_folder_that_vanishes_is_told_and_comes_back(make: Make, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    output = make("disk/decisions.jsonl")
    output.open()
    output.send(decision(1))
    (tmp_path / "disk").rename(tmp_path / "away")
    with pytest.raises(OutputError):
        output.send(decision(2))
    with pytest.raises(OutputError):
        output.open()
    (tmp_path / "away").rename(tmp_path / "disk")
    output.open()
    output.send(decision(2))
    assert numbers(tmp_path / "disk" / "decisions.jsonl") == [1, 2]


@SUFFIXES
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, Killed])
def test_every_operation_may_fail(make: Make, tmp_path: Path, suffix: str, error: type[Killed] | int) -> None:
    """No decision that was taken is lost or there twice, and each that follows is written."""
    for at in range(1, 60):
        name = f"{at}{suffix}"
        output = make(name, rotate=1500, keep=100)
        taken = []
        with stopping(tmp_path, at=at, error=error, only=None if error is Killed else SPACE) as shim:
            try:
                output.open()
                for number in range(1, 9):
                    output.send(decision(number))
                    taken.append(number)
                    output.beat(line_state())
            except (OutputError, Killed):
                pass
        output.close()
        last = make(name, rotate=1500, keep=100)
        last.open()
        for number in range(len(taken) + 1, 12):
            last.send(decision(number))
        last.close()
        files = [*sorted(tmp_path.glob(f"{at}.0*{suffix}")), tmp_path / name]
        found = [number for path in files for number in numbers(path)]
        once = list(dict.fromkeys(found))
        assert once == list(range(1, 12)), at
        # A process that is killed after writing cannot say so; the decision is there twice then.
        assert len(found) - len(once) <= (1 if error is Killed else 0), at
        if shim.count < at:
            break
    else:
        pytest.fail("more operations than expected")


def test_a_heartbeat_flushes_what_was_written(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    output = make("decisions.jsonl")
    output.open()
    output.beat(line_state())
    assert flushed == []
    output.send(decision())
    output.send(decision())
    assert flushed == []
    output.beat(line_state())
    output.beat(line_state())
    assert len(flushed) == 1


@SUFFIXES
def test_a_test_adds_nothing(make: Make, tmp_path: Path, suffix: str) -> None:
    output = make(f"decisions{suffix}")
    assert output.test(decision(test=True), line_state())
    assert list(tmp_path.iterdir()) == []
    running: Any = make(f"decisions{suffix}")
    running.open()
    running.send(decision(1))
    before = (tmp_path / f"decisions{suffix}").read_bytes()
    assert str(len(before)) in output.test(decision(test=True), line_state())
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]
    with pytest.raises(OutputError):
        make(f"none/decisions{suffix}").test(decision(test=True), line_state())
