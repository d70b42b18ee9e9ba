"""A thread for work that may take long, such as reading a disk, beside the thread that answers browsers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any, TypeVar

from spade_edge.tools.line.outputs.output import OutputError

Value = TypeVar("Value")
WAITING = 16  # tasks that may wait
PATIENCE = 5.0  # seconds that an answer may take


class Worker:
    """One thread and a bounded queue. A task that hangs stays in its thread; whoever asked is told after a while.

    Args:
        name: what it works on, for the thread and for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: Queue[Callable[[], None] | None] = Queue(WAITING)
        self._thread = Thread(target=self._run, name=f"page: {name}", daemon=True)  # a dead disk must not block the end
        self._thread.start()

    async def do(self, call: Callable[[], Value], *, patience: float = PATIENCE) -> Value:
        """Call something in the thread, and wait for what it returns or raises.

        Raises:
            OutputError: too much waits, or it took too long.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Value] = loop.create_future()

        def settle(done: Callable[[Any], None], value: Any) -> None:
            if not answer.done():
                done(value)

        def task() -> None:
            if answer.done():  # nobody waits any more
                return
            try:
                value = call()
            except Exception as problem:
                _tell(loop, settle, answer.set_exception, problem)
            else:
                _tell(loop, settle, answer.set_result, value)

        try:
            self._tasks.put_nowait(task)
        except Full:
            raise OutputError(f"{self._name} does not answer; too much waits for it") from None
        try:
            return await asyncio.wait_for(answer, patience)
        except (asyncio.TimeoutError, TimeoutError):
            raise OutputError(f"{self._name} has not answered for {patience:.0f} s") from None

    def end(self) -> None:
        """Let the thread end after what it does now; what waits is dropped."""
        while True:
            try:
                self._tasks.put_nowait(None)
                return
            except Full:
                try:
                    self._tasks.get_nowait()
                except Empty:
                    continue

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()


def _tell(loop: asyncio.AbstractEventLoop, *call: Any) -> None:
    try:
        loop.call_soon_threadsafe(*call)
    except RuntimeError:  # the server has ended meanwhile
        return
