"""`spade-edge evidence`: spans of local time, shifts, and what is printed."""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from command_line import run
from inspections import good, inspection

from spade_edge.tools.line.configuration.options import EvidenceOptions
from spade_edge.tools.line.evidence.ring import EvidenceRing


@pytest.fixture(autouse=True)
def _kolkata(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is five and a half hours ahead of UTC."""
    monkeypatch.setenv("TZ", "XST-05:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part each hour of 27 and 28 November 2026, local time: 0 to 23 and 100 to 123."""
    place = tmp_path_factory.mktemp("kept") / "evidence"
    ring = EvidenceRing(EvidenceOptions(folder=place, good_share=1.0), line="press-3")
    ring.open()
    for day in (0, 1):
        for hour in range(24):
            at = datetime(2026, 11, 26, 18, 30, tzinfo=timezone.utc).timestamp() + 86400 * day + 3600 * hour
            make = good if hour % 2 else inspection
            ring.send(make(100 * day + hour, size=(2, 2), at=at, camera=("top", "side")[hour % 3 == 0]))
    ring.close()
    return place


def listed(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[int]:
    code, out, _ = run(capsys, "evidence", "list", *arguments, "--json")
    assert code == 0
    return [json.loads(line)["decision"]["number"] for line in out.splitlines()]


def test_a_shift_is_a_span_of_local_time(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    at = ("--folder", folder)
    assert listed(capsys, *at, "--shift", "06:00-14:00", "--date", "2026-11-28") == list(range(113, 105, -1))
    night = [*range(105, 99, -1), 23, 22]
    assert listed(capsys, *at, "--shift", "22:00-06:00", "--date", "2026-11-27") == night
    assert len(listed(capsys, *at, "--shift", "06:00-06:00", "--date", "2026-11-27")) == 24
    today = f"{datetime.now().astimezone():%Y-%m-%d}"
    assert listed(capsys, *at, "--shift", "06:00-14:00") == listed(
        capsys, *at, "--shift", "06:00-14:00", "--date", today
    )


def test_times_with_and_without_an_offset(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    at = ("--folder", folder)
    span = ("--since", "2026-11-28 13:30", "--until", "2026-11-28T16:00")
    assert listed(capsys, *at, *span) == [115, 114]
    assert listed(capsys, *at, "--since", "2026-11-28T08:00:00Z", "--until", "2026-11-28T12:30:00+02:00") == [115, 114]
    assert listed(capsys, *at, "--since", "2026-11-28", "--until", "2026-11-28 02:00") == [101, 100]


def test_cameras_verdicts_and_a_limit(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    at = ("--folder", folder, "--limit", 3)
    assert listed(capsys, *at, "--verdict", "defect") == [122, 120, 118]
    assert listed(capsys, *at, "--camera", "side") == [121, 118, 115]
    assert listed(capsys, *at, "--camera", "side", "--camera", "top", "--verdict", "good", "--verdict", "defect") == [
        123,
        122,
        121,
    ]


def test_a_line_of_text_has_the_local_time(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, _ = run(capsys, "evidence", "list", "--folder", folder, "--limit", 1)
    assert code == 0
    assert out.startswith("2026-11-28 23:00:00.000") and "2026-11-28/17/173000.000.top.123.good" in out
    code, out, error = run(capsys, "evidence", "list", "--folder", folder, "--camera", "none")
    assert (code, out) == (0, "") and str(folder) in error


def test_an_entry_that_is_listed_has_its_files(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    _, out, _ = run(capsys, "evidence", "list", "--folder", folder, "--limit", 1, "--json")
    entry = json.loads(out)
    assert Path(entry["frame"]).is_file() and Path(entry["overlay"]).is_file()
    assert len(entry["frame_sha256"]) == 64 and (folder / entry["id"]).is_dir()


def test_the_configuration_names_the_folder(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    line = (
        '[line]\nname = "x"\n[recipe.a]\nbundle = "a.spade"\n[camera.c]\nsource = "0"\nrecipe = "a"\ndeadline_ms = 9\n'
    )
    path = tmp_path / "line.toml"
    path.write_text(f'{line}[evidence]\nfolder = "{folder}"\n')
    assert listed(capsys, "--config", path, "--limit", 1) == [123]
    path.write_text(line)
    assert run(capsys, "evidence", "list", "--config", path)[0] == 2


def test_a_shift_is_exported(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "morning.tar"
    chosen = ("--folder", folder, "--shift", "06:00-14:00", "--date", "2026-11-28", "--output", target)
    code, out, _ = run(capsys, "evidence", "export", *chosen)
    assert code == 0 and "8 parts" in out
    with tarfile.open(target) as tar:
        assert sum(name.endswith("/frame.png") for name in tar.getnames()) == 8
    code, out, _ = run(capsys, "evidence", "export", *chosen, "--json")
    assert json.loads(out)["entries"] == 8


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--folder", "a", "--config", "b"),
        ("--folder", "a", "--since", "yesterday"),
        ("--folder", "a", "--since", "2026-13-01"),
        ("--folder", "a", "--since", "2026-11-28 25:00"),
        ("--folder", "a", "--since", "２０２６-11-28"),
        ("--folder", "a", "--shift", "6-14"),
        ("--folder", "a", "--shift", "06:00-25:00"),
        ("--folder", "a", "--shift", "06:00-14:00", "--date", "28.11.2026"),
        ("--folder", "a", "--shift", "22:00-06:00", "--date", "9999-12-31"),
        ("--folder", "a", "--date", "2026-11-28"),
        ("--folder", "a", "--shift", "06:00-14:00", "--since", "2026-11-28"),
        ("--folder", "a", "--since", "2026-11-28", "--until", "2026-11-27"),
        ("--folder", "a", "--verdict", "bad"),
        ("--folder", "a", "--limit", "0"),
    ],
)
def test_wrong_usage_is_said_in_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, out, error = run(capsys, "evidence", "list", *arguments)
    assert code == 2 and out == "" and "Traceback" not in error


def test_a_folder_that_is_missing_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for more in (("list",), ("export", "--output", tmp_path / "x.tar")):
        assert run(capsys, "evidence", more[0], "--folder", tmp_path / "none", *more[1:])[0] == 3
    assert list(tmp_path.iterdir()) == []
