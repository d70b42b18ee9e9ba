"""What came of a pull, as the line hands it on: read when it has changed, and nothing is believed of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from spade_edge.tools.line.pull_report import LARGEST, PullReport
from spade_edge.tools.line.state import Pulled

SAID = {
    "format": "spade-edge rollout",
    "version": 1,
    "name": "bolt:production",
    "wanted": "ab" * 32,
    "accepted": False,
    "reason": "it is slower than the deadline",
    "at": "2026-11-28T16:45:03+00:00",
    "something": "new",
}


def test_it_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "pulled.json"
    report = PullReport(path)
    report.look()
    assert report.last is None
    path.write_text(json.dumps(SAID))
    report.look()
    assert report.last == Pulled("bolt:production", "ab" * 32, False, SAID["reason"], SAID["at"])  # type: ignore[arg-type]
    new = tmp_path / "new"
    new.write_text(json.dumps(SAID | {"accepted": True, "reason": ""}))
    new.replace(path)
    report.look()
    assert report.last is not None and report.last.accepted
    path.unlink()
    report.look()
    assert report.last.accepted  # what was known stays


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b"[" * 50_000,
        b"x" * (LARGEST + 1),
        json.dumps(SAID | {"format": "spade-edge evidence"}).encode(),
        json.dumps(SAID | {"accepted": "yes"}).encode(),
        json.dumps({**SAID, "reason": None}).encode(),
        json.dumps(SAID | {"name": "\ud800"}).encode(),
    ],
)
def test_what_is_no_report_is_told_once_and_what_was_known_stays(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pulled.json"
    path.write_text(json.dumps(SAID))
    report = PullReport(path)
    report.look()
    path.write_bytes(content)
    for _ in range(3):
        report.look()
    assert report.last is not None and report.last.name == "bolt:production"
    assert len(caplog.records) == 1


@pytest.mark.parametrize("make", ["mkfifo", "mkdir"])
def test_what_is_no_file_is_told_and_not_waited_for(
    tmp_path: Path, make: str, caplog: pytest.LogCaptureFixture
) -> None:
    getattr(os, make)(tmp_path / "pulled.json")
    report = PullReport(tmp_path / "pulled.json")
    for _ in range(2):
        report.look()
    assert report.last is None and len(caplog.records) == 1 and "expected a file" in caplog.text


def test_long_texts_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "pulled.json"
    path.write_text(json.dumps(SAID | {"reason": "x" * 5000}))
    report = PullReport(path)
    report.look()
    assert report.last is not None and len(report.last.reason) == 1000
