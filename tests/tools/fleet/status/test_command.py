"""`spade-edge fleet status`: what is printed, written and returned."""

from __future__ import annotations

import json
import shutil
import time
from hashlib import sha256
from pathlib import Path

import pytest
from command_line import run
from pages import HOSTILE, Page
from plant_reports import NEW, OLD, state, write

from spade_edge.galleries import Built
from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.tools.cli.fleet import status as module
from spade_edge.tools.fleet.status import expected
from spade_edge.tools.remote import UnreachableError

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Five lines of which one is on another bundle."""
    now = time.time()
    names = [f"line-{number}" for number in range(1, 6)]
    return write(
        tmp_path / "reports", *(state(name, at=now, bundle=NEW if name == "line-3" else OLD) for name in names)
    )


def test_sentences_and_a_table(reports: Path, capsys: Capsys) -> None:
    code, out, err = run(capsys, "fleet", "status", reports)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith("Camera top of line line-3") and lines[2] == "5 lines: 1 needs attention."
    assert lines[4].split()[:4] == ["line", "camera", "product", "bundle"]
    assert [line.split()[0] for line in lines[5:]] == ["line-3", "line-1", "line-2", "line-4", "line-5"]
    *first, number, unit, ago = lines[5].split()[3:]
    assert first == [NEW, "980", "20", "0", "0", "2", "%", "61", "no", "passed", "0.1"]
    assert number.isdecimal() and (unit, ago) == ("s", "ago")


def test_check_is_for_scripts(reports: Path, capsys: Capsys) -> None:
    assert run(capsys, "fleet", "status", reports, "--check")[0] == 3
    (reports / "002-line-3.json").unlink()
    code, out, err = run(capsys, "fleet", "status", reports, "--check")
    assert (code, err) == (0, "") and "4 lines: all is well." in out


def test_nobody_is_not_well(tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "empty").mkdir()
    code, out, err = run(capsys, "fleet", "status", tmp_path / "empty", "--check")
    assert (code, err) == (3, "") and out.startswith("No line has reported: ") and "all is well" not in out


def test_json_has_a_line_for_each_camera(reports: Path, capsys: Capsys) -> None:
    (reports / "broken.json").write_text("{")
    code, out, err = run(capsys, "fleet", "status", reports, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(rows) == 5 and len(err.splitlines()) == 1
    assert rows[0]["line"] == "line-3" and rows[0]["bundle"] == NEW and len(rows[0]["concerns"]) == 1


def test_what_is_expected(reports: Path, tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "lines").write_text("\ufeff# of hall 3\nline-1\n\n line-9 \n", encoding="utf-8")
    out = run(capsys, "fleet", "status", reports, "--expect", tmp_path / "lines")[1]
    assert out.startswith("Line line-9 has never reported.\n")
    (tmp_path / "fleet.toml").write_text('[[bundle]]\nname = "bolt"\n[[bundle]]\nname = "nut"\n')
    out = run(capsys, "fleet", "status", reports, "--expect", tmp_path / "fleet.toml")[1]
    assert "No line judges nut." in out and "judges bolt." not in out


def test_a_page(reports: Path, tmp_path: Path, capsys: Capsys) -> None:
    name = HOSTILE.replace("\udc80", "").replace("\x00", "")
    hostile = state(name, at=time.time(), drift="<b>darker</b>").to_json()
    (reports / "hostile.json").write_text(json.dumps(hostile))
    (reports / "<script>.json").write_text("{")
    page = tmp_path / "status.html"
    for _ in range(2):  # its own page is replaced
        assert run(capsys, "fleet", "status", reports, "--page", page)[0] == 0
    read = Page(page.read_text(encoding="utf-8"))
    assert read.loads() == [] and read.text_in("h1") and len(read.all("tr")) == 7
    assert not read.all("script") and not read.all("img")
    page.write_text("mine")
    code, out, err = run(capsys, "fleet", "status", reports, "--page", page)
    assert (code, out) == (2, "") and page.read_text() == "mine" and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["none"], 3),
        ([""], 2),
        (["reports", "--expect", "none"], 3),
        (["reports", "--expect", "empty"], 3),
        (["reports", "--expect", "empty.toml"], 3),
        (["reports", "--expect", "broken.toml"], 3),
        (["reports", "--expect", "binary"], 3),
        (["reports", "--stale", "-1"], 2),
        (["reports", "--check", "--watch", "1"], 2),
        (["reports", "--watch", "0"], 2),
        (["reports", "--username", "me"], 2),
        (["mqtt://user:s3cret@broker"], 2),
        (["mqtt://broker", "--username", "me"], 2),
        (["mqtt://broker", "--ca-file", "x"], 2),
        (["mqtts://broker", "--cert-file", "x"], 2),
        (["reports", "--registry", "nonsense://x"], 2),
        ([], 2),
    ],
)
def test_bad_input_is_one_line(
    reports: Path, tmp_path: Path, arguments: list[str], expected: int, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("paho")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "empty.toml").write_text("version = 1\n")
    (tmp_path / "broken.toml").write_text("[[bundle\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    code, out, err = run(capsys, "fleet", "status", *arguments)
    assert (code, out) == (expected, "") and len(err.splitlines()) == 1 and "s3cret" not in err


def test_what_a_channel_points_at_is_compared(
    reports: Path, edge: Built, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = str(tmp_path / "registry")
    assert run(capsys, "fleet", "push", edge.path, "bolt:v1", "--registry", registry)[0] == 0
    assert run(capsys, "fleet", "promote", "bolt:v1", "production", "--registry", registry)[0] == 0
    digest = sha256((edge.path / "manifest.json").read_bytes()).hexdigest()[:SHORT]
    shutil.rmtree(reports)
    now = time.time()
    write(
        reports, state("line-1", at=now, bundle=digest), state("line-2", at=now), state("line-3", at=now, recipe="nut")
    )
    monkeypatch.setenv("SPADE_EDGE_REGISTRY", registry)
    code, out, err = run(capsys, "fleet", "status", reports)
    assert code == 0 and len(err.splitlines()) == 1 and "nut" in err  # which was never pushed
    assert f"line-2 judges bolt by {OLD}, and production is {digest}." in out
    assert f"{digest} (production, v1)" in out
    code, out, err = run(capsys, "fleet", "status", reports, "--channel", "producton")  # a slip of the pen
    assert code == 0 and sum("expected the channel producton" in line for line in err.splitlines()) == 1


def test_a_registry_that_does_not_answer_is_asked_once_and_no_line_is_silent_for_that(
    reports: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, asked = time.time(), []
    write(reports, state("line-6", at=began, recipe="nut"), state("line-7", at=began, recipe="pin"))

    def away(*arguments: object) -> None:
        asked.append(arguments)
        monkeypatch.setattr(module.time, "time", lambda: began + 10_000)  # so long it takes
        raise UnreachableError("the registry: cannot be listed: Connection refused; tried 4 times")

    monkeypatch.setattr(expected, "published", away)
    code, out, err = run(capsys, "fleet", "status", reports, "--registry", tmp_path, "--check")
    assert (code, err, len(asked)) == (3, "", 1) and "silent" not in out
    assert "It is not known what production points at: the registry: cannot be listed: Connection refused" in out


def test_watching_goes_on_after_a_share_was_away(
    reports: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            reports.rename(tmp_path / "away")
        elif len(looks) == 2:
            (tmp_path / "away").rename(reports)
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", sleep)
    code, out, err = run(capsys, "fleet", "status", reports, "--watch", "7")
    assert looks == [7, 7, 7] and out.count("5 lines: 1 needs attention.") == 2
    assert "expected a folder with reports" in err and code == 130
