"""Tasks in processes of this machine, one process for each task.

A process that dies takes one task with it, and the memory of a task is given back when it ends. Processes end with the
one that started them, also if that is killed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from spade_edge.runtime.errors import DataError
from spade_edge.tools.fleet.executors.performing import perform, performed
from spade_edge.tools.fleet.executors.task import TRIES, Failure, Outcome, Task

CORES_OF_A_WORKER = 2  # by default: two builds of one thread each are faster than one of two, but need twice the memory
KILLED = -9  # exit code of a process that the system has ended, mostly because memory is short
PATIENCE = 10.0  # seconds that a process has to clean up


@dataclass
class _Worker:
    task: Task
    lost: int
    process: SpawnProcess
    results: Connection


class Processes:
    """Runs tasks in processes.

    Args:
        workers: tasks at a time; None for one for every two cores.

    Attributes:
        threads: that each task should use.
    """

    def __init__(self, workers: int | None = None) -> None:
        cores = _cores()
        self.workers = max(1, cores // CORES_OF_A_WORKER) if workers is None else workers
        self.threads = max(1, cores // self.workers)
        self._running: list[_Worker] = []

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See `Executor`."""
        again: list[tuple[Task, int]] = []
        waiting = iter(tasks)
        try:
            while True:
                while len(self._running) < self.workers:
                    following = again.pop() if again else next(((task, 0) for task in waiting), None)
                    if following is None:
                        break
                    self._running.append(_started(*following))
                if not self._running:
                    return
                ready = wait([worker.results for worker in self._running])
                for worker in [worker for worker in self._running if worker.results in ready]:
                    self._running.remove(worker)
                    text, ending = _ended(worker)
                    if text is not None:
                        result, failure = performed(text)
                        yield Outcome(worker.task, result, failure, worker.lost)
                    elif worker.lost + 1 < TRIES:
                        again.append((worker.task, worker.lost + 1))
                    else:
                        yield Outcome(worker.task, None, _died(ending), worker.lost + 1)
        finally:
            self.close()

    def close(self) -> None:
        """Stop all processes."""
        for worker in self._running:
            worker.process.terminate()
        for worker in self._running:
            worker.process.join(PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.results.close()
        self._running.clear()


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _started(task: Task, lost: int) -> _Worker:
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks, but not the threads
    results, sending = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(sending, task.function, json.dumps(task.arguments)), name=task.name, daemon=True
    )
    with _interrupted_later():
        process.start()
    sending.close()  # so that the pipe ends with the process
    return _Worker(task, lost, process, results)


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Let Ctrl-C wait. A process that starts meanwhile inherits that, so it ends without a word while it imports."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # to start it later would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ended(worker: _Worker) -> tuple[str | None, int | None]:
    """What a process has sent before it ended, and its exit code; None if it ended without a word."""
    text = None
    with suppress(EOFError, OSError):
        text = worker.results.recv_bytes().decode()
    worker.results.close()
    worker.process.join(PATIENCE)
    if worker.process.is_alive():  # it has done its work, and hangs
        worker.process.kill()
        worker.process.join()
    return text, worker.process.exitcode


def _died(code: int | None) -> Failure:
    how = (
        f"by signal {-code} ({signal.strsignal(-code)})" if code is not None and code < 0 else f"with exit code {code}"
    )
    remedy = "; is there too little memory? Use fewer workers" if code == KILLED else ""
    return Failure(f"its process ended {how}, {TRIES} times{remedy}", "", DataError.exit_code)


def _work(results: Connection, function: Callable[..., Any], arguments: str) -> None:
    """The process of a task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this process, who then ends it
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_follow, daemon=True).start()
    text = perform(function, arguments)
    with suppress(BrokenPipeError):
        results.send_bytes(text.encode())
    results.close()


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)  # unlike the default action, this lets unfinished files be removed


def _follow() -> None:
    """End when the process that started this one ends, however it does."""
    above = multiprocessing.parent_process()
    if above is not None:
        above.join()
        os.kill(os.getpid(), signal.SIGTERM)
