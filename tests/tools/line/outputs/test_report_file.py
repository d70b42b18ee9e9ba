"""The state of the line as a file: whole at any time, of one line, and never in another program's place."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_line import LONG, Clock, until
from interrupted_writes import SPACE, Killed, stopping
from sample_decisions import configuration, decision, line_state

from spade_edge.runtime import UsageError
from spade_edge.tools.line import courier as carrying
from spade_edge.tools.line.configuration.options import ReportOptions
from spade_edge.tools.line.courier import Courier
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.outputs.report_file import ReportFile
from spade_edge.tools.line.state import TROUBLED, WELL

Make = Callable[..., ReportFile]


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Make:
    def report(name: str = "press-3.json", *, line: str = "press-3", every: float = 10.0) -> ReportFile:
        options = ReportOptions(path=tmp_path / name, every_s=every)
        return ReportFile(options, name="plant", line=line, configuration=configuration(), requests=None, clock=clock)

    return report


def beat_of(path: Path) -> int:
    return int(json.loads(path.read_bytes())["beat"])


def test_it_is_the_heartbeat_now_and_then(make: Make, tmp_path: Path, clock: Clock) -> None:
    output, path = make(), tmp_path / "press-3.json"
    output.open()
    output.send(decision())
    assert not output.stale(decision()) and list(tmp_path.iterdir()) == []
    output.beat(line_state(1, triggers=7))
    assert json.loads(path.read_bytes()) == line_state(1, triggers=7).to_json()
    clock.now += 9.9
    output.beat(line_state(10))
    assert beat_of(path) == 1
    clock.now += 0.2
    output.beat(line_state(11))
    assert beat_of(path) == 11
    assert [file.name for file in tmp_path.iterdir()] == ["press-3.json"]


def test_the_last_heartbeat_is_written(make: Make, tmp_path: Path) -> None:
    courier: Courier[Decision] = Courier(make(every=3600), name="plant", kind="report", queue=10, patience=LONG)
    courier.beat(line_state(1))
    courier.start()
    until((tmp_path / "press-3.json").exists)
    courier.end()
    courier.join()
    last = make(every=3600)
    last.open()
    last.beat(line_state(5))
    last.close()
    last.beat(line_state(6))
    assert beat_of(tmp_path / "press-3.json") == 6


@pytest.mark.parametrize("content", [b"", bytes(700)])
def test_what_a_power_failure_has_left_of_a_report_is_replaced(make: Make, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "press-3.json").write_bytes(content)
    output = make()
    output.open()
    output.beat(line_state(7))
    assert beat_of(tmp_path / "press-3.json") == 7


@pytest.mark.parametrize("content", [b"{}", b"hello", b'{"version": 1, "line": "press-33", "beat": 1}'])
def test_what_is_not_its_own_stays(make: Make, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "press-3.json"
    path.write_bytes(content)
    output = make()
    for call in (output.open, lambda: output.beat(line_state()), lambda: output.test(decision(), line_state())):
        with pytest.raises(OutputError):
            call()
    assert path.read_bytes() == content


def test_the_report_of_another_line_is_never_replaced(make: Make, tmp_path: Path) -> None:
    make().beat(line_state())
    with pytest.raises(OutputError, match="two lines"):
        make(line="press-4").open()
    make().open()


def test_a_link_is_not_written_through(make: Make, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "press-3.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError):
        make().open()
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_a_share_that_vanishes_is_told_and_written_to_when_it_is_back(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "SOONEST", 0.01)
    share, away = tmp_path / "share", tmp_path / "away"
    share.mkdir()
    courier: Courier[Decision] = Courier(
        make("share/press-3.json", every=0), name="plant", kind="report", queue=10, patience=LONG
    )
    courier.start()
    courier.beat(line_state(1))
    until((share / "press-3.json").exists)
    share.rename(away)
    courier.beat(line_state(2))
    until(lambda: courier.state.health.state == TROUBLED)
    assert not share.exists()
    away.rename(share)
    until(lambda: courier.state.health.state == WELL)
    courier.beat(line_state(3))
    until(lambda: beat_of(share / "press-3.json") == 3)
    courier.end()
    courier.join()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, Killed])
def test_a_reader_finds_a_whole_report_whatever_fails(make: Make, tmp_path: Path, error: type[Killed] | int) -> None:
    path = tmp_path / "press-3.json"
    for at in range(1, 20):
        make().beat(line_state(1))
        with (
            stopping(tmp_path, at=at, error=error, only=None if error is Killed else SPACE) as shim,
            contextlib.suppress(OutputError, Killed),
        ):
            make().beat(line_state(2))
        assert beat_of(path) in (1, 2)
        if shim.count < at:
            assert beat_of(path) == 2
            break
    else:
        pytest.fail("more operations than expected")


def test_another_name_is_refused(make: Make) -> None:
    with pytest.raises(UsageError):
        make("report.txt")


def test_a_test_writes_no_report(make: Make, tmp_path: Path) -> None:
    assert make().test(decision(test=True), line_state())
    assert list(tmp_path.iterdir()) == []
    make().beat(line_state(4))
    make().test(decision(test=True), line_state(5))
    assert beat_of(tmp_path / "press-3.json") == 4 and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(OutputError):
        make("none/press-3.json").test(decision(test=True), line_state())
