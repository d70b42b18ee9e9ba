"""Running a task inside a worker. Whatever happens becomes JSON text: a worker never shows a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from spade_edge.tools.faults import explained
from spade_edge.tools.fleet.executors.task import Failure
from spade_edge.tools.sources.address import without_secrets


def perform(function: Callable[..., Any], arguments: str) -> str:
    """Call a function; gives its result or its failure.

    Args:
        function: of a task.
        arguments: a JSON object.
    """
    try:
        return json.dumps({"result": function(**json.loads(arguments))})
    except Exception as problem:  # of any package
        message, code = explained(problem, saving="use fewer workers, fewer images or a smaller view")
        return json.dumps({"failure": [without_secrets(message), type(problem).__name__, code]})


def performed(text: str) -> tuple[Any, Failure | None]:
    """Result and failure, as `perform` gave them."""
    value = json.loads(text)
    return (None, Failure(*value["failure"])) if "failure" in value else (value["result"], None)
