"""Threads that share the parts of a computation.

A frame's matching consists of many short steps. If onnxruntime divides each step among its threads, they are put to
sleep and woken dozens of times in a frame, every intermediate result travels through main memory, and what numpy does
in between runs on one core. So the cells of a view are divided instead: each part goes through several steps on one
thread, by kernels with `threads=1`, while its data are in that core's cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from queue import Empty, SimpleQueue
from typing import TypeVar
from weakref import WeakValueDictionary

from spade_edge.runtime.kernels.ort import MOST_THREADS, check_threads

Part = TypeVar("Part")
Result = TypeVar("Result")

_shared: WeakValueDictionary[tuple[int, int], Workers] = WeakValueDictionary()


class Workers:
    """Runs a function on several parts at once. The calling thread works too.

    Use `Workers.of`.

    Attributes:
        threads: number of threads, with the calling one.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._others = ThreadPoolExecutor(threads - 1, thread_name_prefix="spade-edge") if threads > 1 else None

    @classmethod
    def of(cls, threads: int | None) -> Workers:
        """The workers of this process with so many threads, None for one per core; all who ask share them.

        Raises:
            UsageError: less than one thread, or more than 1024.
        """
        check_threads(threads)
        count = min(cores(), MOST_THREADS) if threads is None else threads
        # A forked process does not have its parent's threads.
        key = os.getpid(), count
        found = _shared.get(key)
        if found is None:
            found = _shared.setdefault(key, cls(count))
        return found

    def map(self, work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        """Call `work` on each part; returns the results in the order of the parts.

        Raises:
            Exception: what `work` raised, after all threads have stopped.
        """
        helpers = min(self.threads, len(parts)) - 1
        if self._others is None or helpers < 1:
            return [work(part) for part in parts]
        waiting: SimpleQueue[int] = SimpleQueue()
        for number in range(len(parts)):
            waiting.put(number)
        results: dict[int, Result] = {}

        def share() -> None:
            while True:
                try:
                    number = waiting.get_nowait()
                except Empty:
                    return
                results[number] = work(parts[number])

        running = [self._others.submit(share) for _ in range(helpers)]
        try:
            share()
        finally:
            wait(running)
        for each in running:
            each.result()
        return [results[number] for number in range(len(parts))]

    def bands(self, count: int, *, usual: int) -> list[slice]:
        """Divide `count` things into bands of about `usual`, as many of them for each thread.

        What is computed must not depend on the division.
        """
        number = max(1, min(count, self.threads * max(1, round(count / usual / self.threads))))
        edges = [count * i // number for i in range(number + 1)]
        return [slice(start, stop) for start, stop in pairwise(edges)]


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
