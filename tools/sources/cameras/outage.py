"""The time in which a source has stopped: reported once, and ended by trying again, ever more slowly."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from spade_edge.runtime import DeviceError
from spade_edge.tools.sources.shot import Shot

SHORTEST, LONGEST = 0.5, 30.0  # seconds between two tries

Pause = Callable[[float], object]  # waits so many seconds; gives true if the source shall end


class Outage:
    """Counts the tries to get a stopped source back, and says on stderr when it stops and when it is back.

    Args:
        label: the source's name.
        tries: how often to try before giving up; math.inf for ever.
        pause: waits between tries.
        clock: gives seconds.
    """

    def __init__(self, label: str, *, tries: float, pause: Pause, clock: Callable[[], float] = time.monotonic) -> None:
        self.label = label
        self.tries = tries
        self.pause = pause
        self.clock = clock
        self.failures = 0
        self._began = 0.0

    def news(self, problem: DeviceError) -> Shot | None:
        """What to pass on when the source does not deliver: a shot the first time, nothing as long as that lasts."""
        if self.failures:
            return None
        self._began = self.clock()
        text = f"stopped: {problem}" + ("; opening it again" if self.tries else "")
        print(text, file=sys.stderr, flush=True)
        return Shot(None, None, text)

    def wait(self, problem: DeviceError) -> object:
        """Let time pass before the next try; true if the source shall end instead.

        Raises:
            DeviceError: that was the last one.
        """
        self.failures += 1
        if self.failures > self.tries:
            raise DeviceError(
                f"{problem}; gave up after {self.tries:.0f} tries to open it again: check cable, power and address, "
                f"or say --reopen forever"
            )
        return self.pause(min(LONGEST, SHORTEST * 2.0 ** min(self.failures - 1, 10)))

    def over(self) -> None:
        """The source delivers."""
        if self.failures:
            self.failures = 0
            print(f"{self.label}: back after {self.clock() - self._began:.1f} s", file=sys.stderr, flush=True)
