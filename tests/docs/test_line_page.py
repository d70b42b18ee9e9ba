"""docs/line.md: its configuration, its unit and its compose file, as far as they can be tried without a line."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from documents import PAGES

from spade_edge.tools.cli.main import parser
from spade_edge.tools.line.configuration.reader import mistakes, read
from spade_edge.tools.line.decision import DECISIONS

PAGE = PAGES["docs/line.md"]


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_configuration_reads(tmp_path: Path) -> None:
    path = tmp_path / "line.toml"
    path.write_text(block("toml"), encoding="utf-8")
    assert mistakes(path) == ()
    configuration = read(path)
    assert configuration.line.name == "line-3" and configuration.cameras["top"].deadline_ms == 150
    assert configuration.evidence is not None and configuration.evidence.budget == 20_000_000_000


def test_the_unit_starts_the_commands() -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None, delimiters="=")
    unit.optionxform = str  # type: ignore[assignment]
    unit.read_string(block("ini"))
    assert unit.sections() == ["Unit", "Service", "Install"]
    service = unit["Service"]
    for key in ("ExecStartPre", "ExecStart"):
        program, *line = shlex.split(service[key])
        assert Path(program).name == "spade-edge" and line[0] == "run"
        parser().parse_args(line)
    assert service["Type"].startswith("notify") and service["User"] != "root" and "WatchdogSec" in service


def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "spade-edge-line.service"
    text = block("ini").replace("/opt/spade-edge/bin/spade-edge", "/bin/true").replace("User=spade", "User=daemon")
    unit.write_text(text.replace("notify-reload", "notify"), encoding="utf-8")  # which systemd knows from 253 on
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert "spade-edge-line" not in ended.stderr


def test_the_containers_have_the_rights_that_they_need_and_no_more() -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load(block("yaml"))["services"]
    assert set(services) == {"line", "broker"} and services["line"]["depends_on"] == ["broker"]
    parser().parse_args(shlex.split(services["line"]["command"]))
    assert services["line"]["cap_drop"] == ["ALL"] and services["line"]["read_only"] is True
    assert all(str(port).startswith("127.0.0.1:") for port in services["line"]["ports"] if str(port).endswith(":8080"))


def test_the_page_names_every_verdict() -> None:
    assert all(f"| `{verdict}` |" in PAGE for verdict in DECISIONS)
