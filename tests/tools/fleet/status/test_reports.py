"""Reports of lines: what an old or a new service writes is read, and what is none is one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fake_line import Clock
from plant_reports import OLD, state, write
from sample_decisions import BEGAN, configuration, line_state

from spade_edge.runtime import DataError
from spade_edge.tools.fleet.status import LineReport, Skipped, read_report, reports_in
from spade_edge.tools.fleet.status.report import LARGEST, LONGEST
from spade_edge.tools.line.configuration.options import ReportOptions
from spade_edge.tools.line.outputs.report_file import ReportFile
from spade_edge.tools.line.state import Health, OutputState, Pulled


def test_what_a_line_writes_is_read(tmp_path: Path) -> None:
    pulled = Pulled("bolt:production", "ab" * 32, False, "too slow", "2026-11-28T16:45:03+00:00")
    said = state(good=7, defect=2, late=1, drift="darker", refused="it is cut", pulled=pulled, news="a mistake")
    output = ReportFile(
        ReportOptions(path=tmp_path / "press-3.json"),
        name="plant", line="press-3", configuration=configuration(), requests=None, clock=Clock(),
    )  # fmt: skip
    output.beat(said)
    (report,) = reports_in(tmp_path)
    assert isinstance(report, LineReport)
    assert (report.line, report.software, report.at, report.news) == ("press-3", "0.1", BEGAN, "a mistake")
    (camera,) = report.cameras
    assert (camera.name, camera.recipe, camera.bundle, camera.p99) == ("top", "bolt", OLD, 61.4)
    assert (camera.good, camera.defect, camera.cannot_judge, camera.late, camera.rejected) == (7, 2, 0, 1, 3)
    assert camera.parts == 10 and camera.reject_rate == pytest.approx(0.3)
    assert (camera.drift, camera.refused, camera.self_test, camera.pulled) == ("darker", "it is cut", "passed", pulled)


def test_outputs_in_trouble_are_kept() -> None:
    whole = line_state()
    bad = OutputState("plc", "modbus", Health("hung", "has not answered for 9 s", BEGAN), 1, 2, 3)
    content = json.dumps(whole.to_json() | {"outputs": [*whole.to_json()["outputs"], _output(bad)]}).encode()
    assert read_report(content, place="x").troubles == ("plc: has not answered for 9 s",)


def _output(one: OutputState) -> dict[str, Any]:
    return {"name": one.name, "kind": one.kind, **one.health.to_json(), "sent": 1, "lost": 2, "waiting": 3}


def test_a_service_before_self_tests_and_pulls_and_one_from_the_future(tmp_path: Path) -> None:
    old = state().to_json()
    for name in ("self_test", "pulled"):
        del old["cameras"][0][name]
    (camera,) = read_report(json.dumps(old).encode(), place="x").cameras
    assert (camera.self_test, camera.pulled) == ("", None)
    new = state().to_json() | {"weather": ["fine"]}
    new["cameras"][0]["mood"] = {"a": 1}
    assert read_report(json.dumps(new).encode(), place="x").line == "press-3"


def changed(**fields: Any) -> bytes:
    return json.dumps(state().to_json() | fields).encode()


def camera(**fields: Any) -> bytes:
    whole = state().to_json()
    whole["cameras"][0] |= fields
    return json.dumps(whole).encode()


HOSTILE = {
    "nothing": b"",
    "no JSON": b"hello",
    "no object": b"[]",
    "no UTF-8": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "a version to come": changed(version=2),
    "no version": json.dumps({key: value for key, value in state().to_json().items() if key != "version"}).encode(),
    "too large": b" " * (LARGEST + 1),
    "no time": changed(at="yesterday"),
    "no zone": changed(at="2026-11-28T16:45:03"),
    "a time that is a number": changed(at=3),
    "the year 0": changed(at="0000-01-01T00:00:00+00:00"),
    "many cameras": changed(cameras=[state().to_json()["cameras"][0]] * 65),
    "negative": camera(counts={"good": -1, "defect": 0, "cannot_judge": 0, "late": 0}),
    "huge": camera(rejected=10**400),
    "counts that are texts": camera(counts={"good": "1", "defect": 0, "cannot_judge": 0, "late": 0}),
    "infinite": camera(milliseconds={"p99": 1e999}),
    "half a letter": b'{"version": 1, "line": "\\ud800"}',
    "twice": b'{"version": 1, "version": 1}',
    "pulled is a text": camera(pulled="yes"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_report_is_one_line_and_the_others_are_read(tmp_path: Path, content: bytes) -> None:
    folder = write(tmp_path / "reports", state("a"), state("z"))
    (folder / "000-b.json").write_bytes(content)
    first, problem, last = reports_in(folder)
    assert isinstance(first, LineReport) and isinstance(last, LineReport) and isinstance(problem, Skipped)
    assert problem.problem.startswith("000-b.json: ") and len(problem.problem.splitlines()) == 1
    assert len(problem.problem) < 500


def test_texts_cannot_steer_a_terminal_and_are_bounded() -> None:
    report = read_report(changed(line="\x1b[2J\u202ex" + "y" * 5000, news="one\ntwo"), place="x")
    assert report.line.startswith("?[2J?xy") and len(report.line) == LONGEST and report.news == "one?two"


def test_only_whole_files_with_the_right_name_are_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "reports", state("a"))
    (folder / ".0123.part").write_bytes(b"half")
    (folder / ".hidden.json").write_bytes(b"half")
    (folder / "read me.txt").write_bytes(b"hello")
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    found = list(reports_in(folder))
    assert [isinstance(each, LineReport) for each in found].count(True) == 1
    assert [each.problem.partition(":")[0] for each in found if isinstance(each, Skipped)] == [
        "folder.json",
        "pipe.json",
    ]


@pytest.mark.parametrize("name", ["none", "file"])
def test_a_folder_that_is_none_is_a_data_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="folder with reports"):
        list(reports_in(tmp_path / name))
