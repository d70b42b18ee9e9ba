"""Running a task inside a worker. Whatever happens becomes JSON text: a worker never shows a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from spade_edge.runtime.errors import DataError, DeviceError, SpadeError
from spade_edge.tools.fleet.executors.task import Failure
from spade_edge.tools.memory import shortage
from spade_edge.tools.sources.address import without_secrets

INTERNAL_FAULT = 70


def perform(function: Callable[..., Any], arguments: str) -> str:
    """Call a function; gives its result or its failure.

    Args:
        function: of a task.
        arguments: a JSON object.
    """
    try:
        return json.dumps({"result": function(**json.loads(arguments))})
    except Exception as problem:  # of any package
        message, code = _explained(problem)
        return json.dumps({"failure": [without_secrets(message), type(problem).__name__, code]})


def performed(text: str) -> tuple[Any, Failure | None]:
    """Result and failure, as `perform` gave them."""
    value = json.loads(text)
    return (None, Failure(*value["failure"])) if "failure" in value else (value["result"], None)


def _explained(problem: Exception) -> tuple[str, int]:
    if lack := shortage(problem):
        return f"{lack}; use fewer workers, fewer images or a smaller view", DeviceError.exit_code
    if isinstance(problem, SpadeError):
        return str(problem), problem.exit_code
    if isinstance(problem, OSError):
        where = f"{problem.filename}: " if problem.filename else ""
        return f"{where}{problem.strerror or problem}", DataError.exit_code
    said = " ".join(str(problem).split())
    return f"an internal error in spade-edge, {type(problem).__name__}: {said}", INTERNAL_FAULT
