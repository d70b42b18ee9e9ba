"""Ctrl-C and SIGTERM as a request: the first lets the current frame be finished, the second ends the process."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

# Windows has no SIGHUP.
HANG_UP = tuple(number for number in (getattr(signal, "SIGHUP", None),) if number is not None)
SIGNALS = (signal.SIGINT, signal.SIGTERM, *HANG_UP)


class Interruption:
    """Catches signals while it is entered, in the main thread.

    Args:
        end: called once, from within the signal handler; it must not take a lock that the main thread may hold.

    Attributes:
        number: number of the signal that came; None if none came.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self.end = end
        self.number: int | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup and background jobs of a shell ignore signals
                self._former[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.number = number
        self.end()
