"""Tasks for tests of executors, which workers import by name, and an executor that runs tasks in this process."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spade_edge.runtime.errors import DataError
from spade_edge.tools.fleet.executors import Outcome, Task
from spade_edge.tools.fleet.executors.performing import perform, performed


class Here:
    """Runs tasks in this process, one after the other, and counts them by name."""

    threads = 1

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.closed = False

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        for task in tasks:
            self.ran.append(task.name)
            yield Outcome(task, *performed(perform(task.function, json.dumps(task.arguments))))

    def close(self) -> None:
        self.closed = True


def double(value: int) -> int:
    return 2 * value


def refuse(what: str) -> None:
    raise DataError(f"{what}: expected a good one, found a bad one; change it")


def stumble() -> float:
    return 1 / int("0")


def die(mark: str, times: int) -> int:
    """Kill this process without a word, the first few times; gives how often it died before."""
    died = len(list(Path(mark).glob("death-*")))
    if died < times:
        (Path(mark) / f"death-{died}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return died


def hold(mark: str, name: str) -> dict[str, Any]:
    """Say which process this is, and wait to be let go."""
    part = Path(mark) / f".{name}"
    part.write_text(str(os.getpid()))
    part.rename(Path(mark) / name)
    while not (Path(mark) / "go").exists():
        time.sleep(0.01)
    return {"name": name, "process": os.getpid()}


def runs(process: int) -> bool:
    """Whether there is a process of that number that has not ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
