"""Tasks: plain functions whose arguments and results are JSON values, so that they can run anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from spade_edge.runtime.errors import DataError, DeviceError, SpadeError, UsageError

TRIES = 3  # of a task whose worker dies


@dataclass(frozen=True)
class Task:
    """Something to do.

    Attributes:
        name: what messages call it.
        function: of a module that workers can import. It may be called again if its worker has died, so doing it
            twice must do no harm.
        arguments: JSON values, by name.
    """

    name: str
    function: Callable[..., Any]
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """Why a task has no result.

    Attributes:
        message: one line.
        kind: the name of the exception; empty if the worker died.
        exit_code: that a command ends with for it.
    """

    message: str
    kind: str
    exit_code: int

    def error(self, name: str) -> SpadeError:
        """The failure of a task as an exception."""
        kind = {UsageError.exit_code: UsageError, DeviceError.exit_code: DeviceError}.get(self.exit_code, DataError)
        return kind(f"{name}: {self.message}")


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Attributes:
        task: which one.
        result: JSON values; None if it failed.
        failure: why; None if it did not fail.
        lost: workers that died over it.
    """

    task: Task
    result: Any
    failure: Failure | None
    lost: int = 0


class Executor(Protocol):
    """Runs tasks, several at a time.

    Attributes:
        threads: that each task should use.
    """

    threads: int

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Run tasks; gives each outcome as it comes. A task whose worker dies runs again, at most `TRIES` times in all.

        A task is taken when there is room for it. Whoever stops asking stops what is still running.
        """
        ...

    def close(self) -> None:
        """Stop all workers."""
        ...
