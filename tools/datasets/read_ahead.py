"""Slow calls for many items, some of them at once, with the results in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import TypeVar

THREADS = 16
AHEAD = 4 * THREADS  # items that are begun before the result of the first is taken

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(call: Callable[[Item], Result], items: Iterable[Item], *, threads: int = THREADS) -> Iterator[Result]:
    """The results of a call for each item, in the order of the items.

    The first exception is raised when the calls that run have ended; no other is begun. Whoever presses Ctrl-C does not
    wait for them: the threads end with the process.

    Args:
        call: is called by several threads at once.
        items: to call it for.
        threads: that call it.
    """
    work: SimpleQueue[tuple[Future[Result], Item] | None] = SimpleQueue()

    def run() -> None:
        while (task := work.get()) is not None:
            future, item = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call(item))
                except BaseException as problem:
                    future.set_exception(problem)

    for _ in range(threads):
        threading.Thread(target=run, daemon=True).start()
    begun: deque[Future[Result]] = deque()
    try:
        for item in items:
            future: Future[Result] = Future()
            begun.append(future)
            work.put((future, item))
            if len(begun) >= AHEAD:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    except Exception:
        wait([future for future in begun if not future.cancel()])
        raise
    finally:
        for future in begun:
            future.cancel()
        for _ in range(threads):
            work.put(None)
