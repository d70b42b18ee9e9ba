"""Tasks on the nodes of a Ray cluster. No other module imports ray.

Tasks reach their workers as a function's name and JSON text. Ray does not repeat a task here: a node that dies is
noticed by the driver, which sends the task again, and counts.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from spade_edge.runtime.errors import DataError, DeviceError
from spade_edge.tools.extras import packages_of
from spade_edge.tools.fleet.executors.performing import perform, performed
from spade_edge.tools.fleet.executors.task import TRIES, Failure, Outcome, Task

LOOK = 1.0  # seconds between two looks at the cluster
PATIENCE = 300.0  # seconds without any node that could work, after which tasks are given up
UNINSTALLED = "ModuleNotFoundError"  # what Ray says when a node lacks a package
MOST_THREADS = 2  # of a task; more builds at a time are faster than more threads


class RayCluster:
    """Runs tasks on a Ray cluster.

    Args:
        address: "HOST:PORT" of a cluster, "auto" for the one that this machine belongs to; None to start one here,
            which ends with `close`.
        workers: tasks at a time; None for as many as the cluster has room for.
        patience: seconds without any node that could work, after which tasks are given up.

    Attributes:
        threads: that each task should use, and the CPUs that it takes of a node.

    Raises:
        DeviceError: ray is not installed, or there is no cluster at that address.
    """

    def __init__(self, address: str | None = None, *, workers: int | None = None, patience: float = PATIENCE) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
        with packages_of("ray", needed_by="--executor ray"):
            import ray
        self._ray: Any = ray
        self._workers = workers
        self._patience = patience
        try:
            ray.init(
                address="local" if address is None else address,
                include_dashboard=None if address is not None else False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except (ConnectionError, ValueError, RuntimeError, OSError) as problem:
            raise DeviceError(
                f"expected a Ray cluster at {address or 'this machine'}, found none: {_line(problem)}; start one with "
                "'ray start --head', and give --ray-address HOST:PORT"
            ) from None
        self.threads = 1  # until it is known what nodes have
        smallest = min((node["Resources"].get("CPU", 0) for node in self._nodes()), default=1)
        self.threads = int(max(1, min(MOST_THREADS, smallest)))
        # Ray itself would repeat a task without counting with us, and log what we say in a line.
        self._perform = ray.remote(num_cpus=self.threads, max_retries=0)(_perform)

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See `Executor`."""
        again: list[tuple[Task, int]] = []
        waiting = iter(tasks)
        running: dict[Any, tuple[Task, int]] = {}
        seen = time.monotonic()
        try:
            while True:
                while self._workers is None or len(running) < self._workers:
                    following = again.pop() if again else next(((task, 0) for task in waiting), None)
                    if following is None:
                        break
                    task, lost = following
                    running[self._perform.remote(task.function, json.dumps(task.arguments))] = (task, lost)
                if not running:
                    return
                ready, _ = self._ray.wait(list(running), num_returns=1, timeout=LOOK)
                if ready or self._nodes():
                    seen = time.monotonic()
                elif time.monotonic() - seen > self._patience:
                    raise DeviceError(
                        f"expected a node of the Ray cluster that can work, found none for {self._patience:.0f} s; "
                        "start one with 'ray start --address HOST:PORT'"
                    )
                for one in ready:
                    task, lost = running.pop(one)
                    outcome = self._outcome(task, lost, one)
                    if outcome is None:
                        again.append((task, lost + 1))
                    else:
                        yield outcome
        finally:
            for one in running:
                with suppress(Exception):  # the cluster may be gone
                    self._ray.cancel(one, force=True)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self._ray.shutdown()

    def _outcome(self, task: Task, lost: int, reference: Any) -> Outcome | None:
        """What came of a task; None if its worker died, and another should try."""
        try:
            return Outcome(task, *performed(self._ray.get(reference)), lost)
        except self._ray.exceptions.RayError as problem:
            why = _line(problem)
        if UNINSTALLED in why:
            message = f"its worker cannot run it: {why}; install the same spade-edge on every node"
            return Outcome(task, None, Failure(message, UNINSTALLED, DeviceError.exit_code), lost)
        if lost + 1 < TRIES:
            return None
        message = f"its worker died {TRIES} times, at last: {why}"
        return Outcome(task, None, Failure(message, "", DataError.exit_code), lost + 1)

    def _nodes(self) -> list[dict[str, Any]]:
        """The nodes that can work."""
        return [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= self.threads]


def _perform(function: Callable[..., Any], arguments: str) -> str:
    return perform(function, arguments)


def _line(problem: Exception) -> str:
    """The line of what Ray says that matters: the last of a traceback, else the first."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()] or [type(problem).__name__]
    return lines[-1] if any("Traceback" in line for line in lines) else lines[0]
