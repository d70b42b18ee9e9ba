"""Ctrl-C and SIGTERM as a wish: the first lets the frame in work be finished, the second ends the process at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Catches signals while it is entered, in the main thread.

    Args:
        end: called once, out of a signal's handler; it must take no lock that the main thread may hold.

    Attributes:
        number: of the signal that came; None for none.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self.end = end
        self.number: int | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and a shell's background jobs want it
                self._former[number] = signal.signal(number, self._wish)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _wish(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.number = number
        self.end()
