"""An asyncio loop in a thread of its own, for servers that need one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Coroutine
from threading import Thread
from typing import Any, TypeVar

from spade_edge.tools.line.outputs.output import OutputError

log = logging.getLogger(__name__)

Result = TypeVar("Result")
PATIENCE = 10.0  # seconds that a call may take
ACCEPTING = "_accept_connection2"  # what asyncio calls it


class OwnLoop:
    """Runs coroutines in a thread of its own.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_tell)
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether it still runs."""
        return self._thread.is_alive()

    def run(self, coroutine: Coroutine[Any, Any, Result], *, patience: float = PATIENCE) -> Result:
        """Run something, and wait for it.

        Raises:
            OutputError: it has not come to an end within `patience` seconds.
            Exception: what the coroutine raises.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(patience)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            if future.done() and not future.cancelled():
                raise
            future.cancel()
            raise OutputError(f"expected an answer within {patience:.0f} s, found none; restart the service") from None

    def end(self, *, patience: float = PATIENCE) -> None:
        """Cancel what runs, and stop."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(patience)

    def _run(self) -> None:
        """Run the loop; this is what the thread runs."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=1)) if tasks else None
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


def _tell(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what a library's task could not handle, in one line instead of a traceback."""
    log.info("%s: %s", context.get("message", "a task failed"), type(context.get("exception")).__name__)


async def accepted() -> None:
    """Wait for connections that are just being accepted. Where a server is closed meanwhile, asyncio forgets them: it
    neither closes nor serves them.
    """
    for _ in range(10):
        tasks = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") == ACCEPTING]
        if not tasks:
            return
        await asyncio.wait(tasks, timeout=0.1)
