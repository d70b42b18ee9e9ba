"""Runs the steps one after the other, each in a process of its own, and keeps what each has printed.

A step that crashes or hangs costs the others nothing but its time. What a step prints goes to files, and the report is
written after each step, so a machine that is taken away leaves what was measured until then.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

DONE, FAILED, CRASHED, TIMED_OUT, LEFT_OUT = "done", "failed", "crashed", "timed out", "left out"
SECONDS = "SECONDS"  # stands in a command for the seconds after which it should come to an end by itself
SOFT = 0.8  # of a step's limit
LEAST = 1.0  # seconds; no step is begun with less
GRACE = 5.0  # seconds to wait for a process that was killed; one that hangs in a driver never ends
LAST_LINES = 12  # of stderr are kept in the report


@dataclass(frozen=True)
class Step:
    """Something to measure.

    Attributes:
        name: of its files and in the report.
        command: what to run. It prints JSON objects, one a line; lines of another kind are left out.
        limit: seconds after which it is killed.
        codes: exit codes with which it is done.
        after: a step that must be done; empty for none.
        unless: a step that must not be done; empty for none.
        because: why it is left out otherwise.
    """

    name: str
    command: tuple[str, ...]
    limit: float
    codes: tuple[int, ...] = (0,)
    after: str = ""
    unless: str = ""
    because: str = ""


@dataclass(frozen=True)
class Ended:
    """How a step ended.

    Attributes:
        name: of the step.
        state: "done"; "failed", with another exit code than expected; "crashed", by a signal; "timed out", killed at
            its limit; "left out".
        because: the reason, if it is not done.
        seconds: that it took.
        results: the JSON objects that it has printed, also if it did not end well.
        stderr: its last lines.
    """

    name: str
    state: str
    because: str = ""
    seconds: float = 0.0
    results: list[dict[str, Any]] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """What should hold and does not, as the results say themselves."""
        return [
            f"{self.name}: {what}"
            for result in self.results
            for what, holds in result.get("must", {}).items()
            if not holds
        ]


def run_all(
    steps: Iterable[Step], folder: Path, *, budget: float, after_each: Callable[[Sequence[Ended]], None]
) -> list[Ended]:
    """Run the steps in their order, as long as there is time.

    Args:
        steps: what to run.
        folder: where their output goes; it is there.
        budget: seconds for all of them.
        after_each: is given what has ended so far.
    """
    started, ended = monotonic(), list[Ended]()
    for step in steps:
        done = {each.name for each in ended if each.state == DONE}
        left = budget - (monotonic() - started)
        if (step.after and step.after not in done) or step.unless in done:
            ended.append(Ended(step.name, LEFT_OUT, because=step.because))
        elif left < LEAST:
            ended.append(Ended(step.name, LEFT_OUT, because=f"the budget of {budget / 60:g} minutes was spent"))
        else:
            ended.append(run_step(step, folder, limit=min(step.limit, left)))
        after_each(ended)
    return ended


def run_step(step: Step, folder: Path, *, limit: float) -> Ended:
    """Run a step, and kill it and all that it has started after `limit` seconds."""
    out, err = folder / f"{step.name}.out", folder / f"{step.name}.err"
    command = [f"{SOFT * limit:.1f}" if part == SECONDS else part for part in step.command]
    began = monotonic()
    with out.open("wb") as stdout, err.open("wb") as stderr:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
            )
        except OSError as problem:
            return Ended(step.name, FAILED, because=f"{command[0]}: {problem.strerror}")
        try:
            code: int | None = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _kill(process)  # also what a step has left behind
    seconds = monotonic() - began
    said = err.read_text(encoding="utf-8", errors="replace").splitlines()
    state, because = _state(step, code, limit, said)
    return Ended(step.name, state, because, round(seconds, 1), _objects(out), said[-LAST_LINES:])


def write_report(path: Path, facts: Mapping[str, Any], ended: Sequence[Ended]) -> dict[str, Any]:
    """Write the report as JSON, whole or not at all; gives what was written."""
    report = {
        **facts,
        "broken": [what for step in ended for what in step.broken],
        "steps": [asdict(step) for step in ended],
    }
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
    return report


def _state(step: Step, code: int | None, limit: float, said: Sequence[str]) -> tuple[str, str]:
    if code is None:
        return TIMED_OUT, f"killed after {limit:.1f} s"
    if code < 0:
        return CRASHED, f"ended by {signal.Signals(-code).name}"
    if code not in step.codes:
        last = next((line for line in reversed(said) if line.strip()), "nothing on stderr")
        return FAILED, f"exit code {code}: {last}"
    return DONE, ""


def _objects(path: Path) -> list[dict[str, Any]]:
    """The JSON objects in a file, one a line; a line that was cut off is none."""
    objects = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                objects.append(value)
    return objects


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE)
