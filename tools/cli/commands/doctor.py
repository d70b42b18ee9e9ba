"""Check this machine: what is missing, what stops spade-edge, and what slows it down.

    spade-edge doctor
    spade-edge doctor --bundle part.spade       also check whether this machine can run the bundle
    spade-edge doctor --config line.toml        also try what the configuration of a line names

Needs only numpy; a missing onnxruntime is one of the findings. Each finding is ok, a note (something costs time, or
could not be determined) or a problem, with a remedy. The exit code is 4 if there is a problem, else 0. Each provider is
tried in a process of its own, which takes some seconds, with TensorRT up to three minutes.

With --config, mistakes in the file are problems, and if there are none, everything that it names is tried: each bundle
is opened with its signature and its golden frames, each camera gives one frame, which its recipe judges, brokers are
logged in at, ports must be free, chips, folders and files of secrets must be there with the right permissions, disks
must have the room that they are to give, and a time server must set the clock. Nothing is published, posted or pulsed.
Run it while the line does not run: a camera, a port or a line of a chip has only one user.
"""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from itertools import groupby

from spade_edge import __version__
from spade_edge.runtime.errors import DeviceError
from spade_edge.tools.cli.arguments import path
from spade_edge.tools.doctor import NOTE, PROBLEM, Finding, Host, examine

WIDTHS = (60, 120)  # of the table, whatever the terminal's
MARKS = {PROBLEM: "PROBLEM"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=path, help="a bundle that 'spade-edge build' wrote: can this machine run it?")
    parser.add_argument("--config", type=path, metavar="FILE", help="the configuration of a line: can it run here?")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(chosen: argparse.Namespace) -> int:
    host = Host.here()
    findings = examine(host, folder=chosen.bundle)
    if chosen.config is not None:
        from spade_edge.tools.doctor.line import configuration_findings

        findings += configuration_findings(chosen.config, host=host)
    problems = [finding for finding in findings if finding.state == PROBLEM]
    notes = [finding for finding in findings if finding.state == NOTE]
    if chosen.json:
        value = {
            "spade-edge": __version__,
            "problems": len(problems),
            "notes": len(notes),
            "findings": [finding.to_json() for finding in findings],
        }
        print(json.dumps(value))
    else:
        width = min(max(shutil.get_terminal_size((100, 24)).columns, WIDTHS[0]), WIDTHS[1])
        print("\n".join(table(findings, width=width)))
    if problems:
        named = ", ".join(f"{finding.kind} {finding.name}" for finding in problems)
        raise DeviceError(f"expected a machine without a problem, found {len(problems)} ({named}); see the remedies")
    return 0


def table(findings: list[Finding], *, width: int) -> list[str]:
    """Lines for people: kind by kind, then the problems once more."""
    indent = 2 + 9 + 2 + max(len(finding.name) for finding in findings)
    lines = []
    for kind, group in groupby(findings, key=lambda finding: finding.kind):
        lines.append(kind)
        for finding in group:
            mark = MARKS.get(finding.state, finding.state)
            head = f"  {mark:<9}{finding.name:<{indent - 11}}"
            lines += _wrapped(finding.found, head, indent, width)
            if finding.remedy:
                lines += _wrapped(finding.remedy, " " * indent + "-> ", indent + 3, width)
    problems = [finding for finding in findings if finding.state == PROBLEM]
    notes = sum(finding.state == NOTE for finding in findings)
    lines += ["", f"{_count(len(problems), 'problem')}, {_count(notes, 'note')}"]
    for finding in problems:
        lines += _wrapped(finding.found, f"  {finding.kind}, {finding.name}: ", 4, width)
        lines += _wrapped(finding.remedy, "    -> ", 7, width)
    return lines


def _wrapped(text: str, head: str, indent: int, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=head, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
