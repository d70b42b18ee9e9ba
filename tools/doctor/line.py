"""Whether a line can run here as its configuration says: bundles, cameras, outputs, disks, secrets and the clock.

Each bundle is opened as the service opens it, with its signature and, where `self_test` is set, its golden frames. Each
camera gives one frame, which is judged by its recipe. Brokers are logged in at, and nothing is published. Every check
has a limit of time.
"""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

from spade_edge.tools.doctor import clock, gpio, reach, storage
from spade_edge.tools.doctor.device import may_open
from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding, unknown
from spade_edge.tools.doctor.packages import Packages, missing_of
from spade_edge.tools.doctor.providers import parsed, reason
from spade_edge.tools.doctor.timed import Check, run_timed
from spade_edge.tools.hardware.host import Host
from spade_edge.tools.line.configuration.options import (
    OUTPUTS,
    CameraOptions,
    FileOptions,
    GpioOptions,
    LineConfiguration,
    ModbusOptions,
    MqttOptions,
    OpcUaOptions,
    OutputOptions,
    PageOptions,
    RecipeOptions,
    ReportOptions,
    WebhookOptions,
)
from spade_edge.tools.line.configuration.reader import mistakes, read
from spade_edge.tools.sources.address import printable

CONFIGURATION, RECIPES, CAMERAS, OUTPUT, PAGE, DISK, SECRETS = (
    "configuration", "recipes", "cameras", "outputs", "page", "disk", "secrets",
)  # fmt: skip
AT_ONCE = 4  # checks beside each other
QUICK, SLOW, OPENING = 20.0, 45.0, 180.0  # seconds for a check, a camera and a bundle
EXTRA = {"mqtt": "mqtt", "opc_ua": "opcua", "modbus": "modbus", "gpio": "gpio"}  # that outputs need


def configuration_findings(path: Path, *, host: Host | None = None, packages: Packages | None = None) -> list[Finding]:
    """Examine a configuration and what it needs of this machine.

    Args:
        path: of the file.
        host: the machine; None for this one.
        packages: its packages; None for those of this Python.

    Returns:
        the mistakes of the file alone, if it has some; else a finding for each part.
    """
    found = mistakes(path)
    if found:
        return _of_mistakes([(f"line {one.line}" if one.line else "file", one) for one in found])
    configuration = read(path)
    host, packages = host or Host.here(), packages or Packages.here()
    counts = ", ".join(
        f"{len(group)} {name}{'' if len(group) == 1 else 's'}"
        for name, group in (
            ("recipe", configuration.recipes),
            ("camera", configuration.cameras),
            ("output", configuration.outputs),
        )
    )
    whole = Finding(CONFIGURATION, "file", OK, f"{path}: no mistake; {counts}")
    checks = [
        *_recipes(path, configuration, host),
        *_cameras(path, configuration, host),
        *_outputs(configuration, host, packages),
        *_disks(configuration, host),
        *_secrets(configuration),
        Check(clock.KIND, "time", QUICK, lambda: [clock.time_of_day(host)]),
    ]
    return [whole, *run_timed(checks, at_once=AT_ONCE)]


def _of_mistakes(found: list[tuple[str, Any]]) -> list[Finding]:
    """A problem for each mistake; names are unique within a kind."""
    findings: list[Finding] = []
    for name, mistake in found:
        again = sum(re.sub(r" \(\d+\)$", "", one.name) == name for one in findings)
        place = " ".join(part for part in (mistake.table and f"[{mistake.table}]", mistake.key) if part)
        told = f"{place}{': ' if place else ''}expected {mistake.expected}, found {mistake.found}"
        unique = f"{name} ({again + 1})" if again else name
        findings.append(Finding(CONFIGURATION, unique, PROBLEM, told, mistake.remedy))
    return findings


def _recipes(path: Path, configuration: LineConfiguration, host: Host) -> list[Check]:
    return [
        Check(RECIPES, name, OPENING + QUICK, partial(_recipe, path, name, options, host))
        for name, options in configuration.recipes.items()
    ]


def _recipe(path: Path, name: str, options: RecipeOptions, host: Host) -> list[Finding]:
    value, why = _probed(path, "recipe", name, host, OPENING)
    if why:
        remedy = "give a complete folder that 'spade-edge build' wrote, or see 'spade-edge doctor --bundle'"
        return [Finding(RECIPES, name, PROBLEM, _named(str(options.bundle), why), remedy)]
    told = f"opens in {value.get('seconds', 0):.1f} s, {value.get('good images')} good images"
    told += ", its signature is right" if value.get("signed") else ""
    told += ", golden frames reproduce" if value.get("self test") else ", golden frames not scored (self_test = false)"
    return [Finding(RECIPES, name, OK, told)]


def _cameras(path: Path, configuration: LineConfiguration, host: Host) -> list[Check]:
    return [
        Check(CAMERAS, name, SLOW + QUICK, partial(_camera, path, name, options, host))
        for name, options in configuration.cameras.items()
    ]


def _camera(path: Path, name: str, options: CameraOptions, host: Host) -> list[Finding]:
    number = re.fullmatch(r"(?:/dev/video)?([0-9]{1,4})", options.source)
    if number and host.system == "Linux":
        device = host.path(f"dev/video{number[1]}")
        if refused := may_open(CAMERAS, name, device, group="video", lists="'v4l2-ctl --list-devices'"):
            return [refused]
    where = options.source if options.source.startswith("watch:") else printable(options.source)
    if options.source == "-":
        return [Finding(CAMERAS, name, OK, "frames on stdin, which only a run can read")]
    value, why = _probed(path, "camera", name, host, SLOW)
    if why:
        remedy = "is it plugged in, powered and not in use, perhaps by the line itself?"
        return [Finding(CAMERAS, name, PROBLEM, _named(where, why), remedy)]
    if "damaged" in value:
        return [
            Finding(CAMERAS, name, PROBLEM, _named(where, value["damaged"]), "check the camera, its cable or the file")
        ]
    if "silent" in value:
        told = f"{where} gave no frame" + (f": {value['silent']}" if value["silent"] else "")
        return [
            Finding(CAMERAS, name, NOTE, told, "let a part pass while doctor runs, if the camera waits for a trigger")
        ]
    told = f"{where}: a frame of {value.get('width')}x{value.get('height')}{', grey' if value.get('grey') else ''}"
    if refused_by := value.get("refused"):
        remedy = "set the camera as it was for the good images, or build the bundle from frames of this camera"
        return [Finding(CAMERAS, name, PROBLEM, f"{told}: {refused_by}", remedy)]
    if value.get("verdict") == "cannot_judge":
        remedy = "fine without a part in view; else set camera and light as they were for the good images"
        return [Finding(CAMERAS, name, NOTE, f"{told}, cannot be judged: {value.get('reason')}", remedy)]
    if "verdict" in value:
        told += f", judged {value['verdict']} by recipe {options.recipe}"
    return [Finding(CAMERAS, name, OK, told)]


def _named(where: str, why: str) -> str:
    """A reason with what it is about, once."""
    return why if where in why else f"{where}: {why}"


def _probed(path: Path, what: str, name: str, host: Host, patience: float) -> tuple[dict[str, Any], str]:
    """What `line_probe` says, and why it says nothing."""
    environment = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "spade_edge.tools.doctor.line_probe", str(path.absolute()), what, name]
    answer = host.run(command, timeout=patience, environment=environment)
    value = parsed(answer)
    if not value:
        return {}, reason(answer)
    return value, str(value.get("error", ""))


def _outputs(configuration: LineConfiguration, host: Host, packages: Packages) -> list[Check]:
    checks = [
        Check(OUTPUT, name, QUICK, partial(_output, name, options, host, packages))
        for name, options in configuration.outputs.items()
    ]
    if configuration.page is not None:
        checks.append(Check(PAGE, "listen", QUICK, partial(_page, configuration.page, packages)))
    return checks


def _page(options: PageOptions, packages: Packages) -> list[Finding]:
    found = reach.listening(PAGE, "listen", options.listen, open_to_all="see frames and results")
    return [*_packages(PAGE, "packages", "page", packages), *found]


def _output(name: str, options: OutputOptions, host: Host, packages: Packages) -> list[Finding]:
    kind = next(kind for kind, table in OUTPUTS.items() if table is type(options))
    return [*_packages(OUTPUT, f"{name} packages", EXTRA.get(kind, ""), packages), *_reached(name, options, host)]


def _packages(kind: str, name: str, extra: str, packages: Packages) -> list[Finding]:
    """A problem if the packages of an extra are missing."""
    lacks = missing_of(packages, extra) if extra else []
    if not lacks:
        return []
    found = f"not installed: {', '.join(lacks)}"
    return [Finding(kind, name, PROBLEM, found, f"pip install 'spade-edge[{extra}]'")]


def _reached(name: str, options: OutputOptions, host: Host) -> list[Finding]:
    if isinstance(options, MqttOptions):
        return reach.mqtt(OUTPUT, name, options)
    if isinstance(options, WebhookOptions):
        return reach.webhook(OUTPUT, name, options)
    if isinstance(options, OpcUaOptions):
        may = "" if options.username else "trigger and change recipes" if options.commands else "read decisions"
        return reach.listening(OUTPUT, name, options.listen, open_to_all=may)
    if isinstance(options, ModbusOptions):
        may = "trigger and change recipes" if options.commands else "read decisions"
        return reach.listening(OUTPUT, name, options.listen, open_to_all=may)
    if isinstance(options, GpioOptions):
        if host.system != "Linux":
            return [unknown(OUTPUT, name, host.hidden)]
        lines = (options.line, *(() if options.ready_line is None else (options.ready_line,)))
        return gpio.chip(OUTPUT, name, host.path(options.chip), lines)
    if isinstance(options, FileOptions):
        needs = options.rotate * (options.keep + 1)
        return storage.folder(OUTPUT, name, options.path.parent, host, needs=needs, makes=0)
    if isinstance(options, ReportOptions):
        return storage.folder(OUTPUT, name, options.path.parent, host, makes=0)
    return []


def _disks(configuration: LineConfiguration, host: Host) -> list[Check]:
    checks = []
    evidence, state = configuration.evidence, configuration.line.state
    if evidence is not None:
        needs = evidence.budget
        checks.append(Check(DISK, "evidence", QUICK, lambda: storage.folder(
            DISK, "evidence", evidence.folder, host, needs=needs, makes=1
        )))  # fmt: skip
    if state is not None:
        checks.append(Check(DISK, "state", QUICK, lambda: storage.folder(DISK, "state", state, host)))
    return checks


def _secrets(configuration: LineConfiguration) -> list[Check]:
    """Files of passwords, tokens and private keys."""
    tables: dict[str, object] = dict(configuration.outputs)
    if configuration.page is not None:
        tables["[page]"] = configuration.page
    checks = []
    for name, table in tables.items():
        for key, examine in (
            ("password_file", storage.password),
            ("token_file", storage.password),
            ("key_file", storage.secret),
        ):
            path = getattr(table, key, None)
            if path is not None:
                what = f"{name} {key}"
                checks.append(Check(SECRETS, what, QUICK, partial(examine, SECRETS, what, path)))
    return checks
