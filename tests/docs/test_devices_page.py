"""docs/devices.md and docs/Containerfile: what can be held to the code without a device."""

from __future__ import annotations

import argparse
import configparser
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from spade_edge.tools.cli.main import parser

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "devices.md").read_text(encoding="utf-8")
CONTAINER = (DOCS / "Containerfile").read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
UNIT = re.findall(r"^```ini\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]


def commands() -> dict[str, argparse.ArgumentParser]:
    (choices,) = (action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(choices)


def lines() -> list[list[str]]:
    """Every `spade-edge …` of the page, in blocks, in the text, and of the Containerfile."""
    code = re.sub(r"\\\n\s*#?", " ", PAGE + CONTAINER)
    found = re.findall(r"^(?:#\s*|[A-Za-z]+=)?(?:/\S+/)?spade-edge ([a-z][^`\n]*)", code, re.MULTILINE)
    found += re.findall(r"^[#\s]*podman run .* spade-edge ([a-z].*)$", code, re.MULTILINE)
    found += re.findall(r"`spade-edge ([a-z][^`]*)`", re.sub(r"\s+", " ", PROSE))
    return [shlex.split(line, comments=True) for line in found]


@pytest.mark.parametrize("line", lines(), ids=" ".join)
def test_every_command_and_option_exists(line: list[str]) -> None:
    verb, *words = line
    assert verb in commands()
    options = commands()[verb]._option_string_actions
    assert [word for word in words if word.startswith("-") and word not in options] == []
    for option, value in pairwise(words):
        choices = options[option].choices if option in options else None
        assert choices is None or value in choices


def test_the_page_names_what_it_promises() -> None:
    verbs = {line[0] for line in lines()}
    assert {"doctor", "parity", "prepare", "lint", "export", "score", "bench", "build"} <= verbs
    assert sum(line[0] == "score" for line in lines()) >= 3  # the page's container, the service, the Containerfile


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


def test_links_lead_somewhere() -> None:
    names = set(re.findall(r"\]\[(\w+)\]", PAGE))
    assert names == set(re.findall(r"^\[(\w+)\]: https://\S+$", PAGE, re.MULTILINE))
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        file, _, anchor = target.partition("#")
        path = DOCS / file if file else DOCS / "devices.md"
        assert path.exists(), target
        headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, target


def test_the_page_stays_a_page() -> None:
    assert len(PAGE.splitlines()) < 270
