"""docs/how-to/devices.md and docs/Containerfile: what can be compared with the code without a device."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

from documents import DOCS, PAGES

from spade_edge.tools.cli.main import parser

PAGE = PAGES["docs/how-to/devices.md"]
CONTAINER = (DOCS / "Containerfile").read_text(encoding="utf-8")
UNIT = re.findall(r"^```ini\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]


def test_the_service_is_a_unit_that_starts_the_commands() -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None, delimiters="=")
    unit.optionxform = str  # type: ignore[assignment]
    unit.read_string(UNIT.replace("\\\n", ""))
    assert unit.sections() == ["Unit", "Service", "Install"]
    service = unit["Service"]
    for key, verb in (("ExecStartPre", "prepare"), ("ExecStart", "score")):
        program, *line = shlex.split(service[key])
        assert Path(program).name == "spade-edge" and line[0] == verb
        parser().parse_args(line)
    assert "ORT_DISABLE_TELEMETRY=1" in service["Environment"].split()
    assert service["User"] != "root"


def test_the_container_runs_without_rights_and_calls_nobody() -> None:
    steps = [step.split(maxsplit=1) for step in CONTAINER.splitlines() if re.match(r"[A-Z]+ ", step)]
    names = [name for name, _ in steps]
    said = dict(steps)
    assert names[:2] == ["ARG", "FROM"] and names[-3:] == ["USER", "ENTRYPOINT", "CMD"]
    assert said["USER"].isdecimal() and int(said["USER"]) > 0
    assert "ORT_DISABLE_TELEMETRY=1" in said["ENV"].split()
    assert said["FROM"] == "docker.io/library/python:${PYTHON}-slim"


def test_the_page_stays_a_page() -> None:
    assert len(PAGE.splitlines()) < 310
