"""The time during which a source has stopped. It is reported once; the waits between tries grow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from spade_edge.runtime import DeviceError
from spade_edge.tools.sources.address import without_secrets
from spade_edge.tools.sources.shot import Shot

SHORTEST, LONGEST = 0.5, 30.0  # seconds between two tries

log = logging.getLogger(__name__)

Pause = Callable[[float], object]  # waits so many seconds; returns true if the source is to end


class Outage:
    """Counts the tries to get a stopped source back, and logs when it stops and when it is back.

    Args:
        label: the source's name.
        tries: how often to try before giving up; math.inf for never.
        pause: waits between tries.
        clock: returns seconds.
    """

    def __init__(self, label: str, *, tries: float, pause: Pause, clock: Callable[[], float] = time.monotonic) -> None:
        self.label = label
        self.tries = tries
        self.pause = pause
        self.clock = clock
        self.failures = 0
        self._began = 0.0

    def news(self, problem: DeviceError) -> Shot | None:
        """The shot that reports the stop; None if it has been reported already."""
        if self.failures:
            return None
        self._began = self.clock()
        text = f"stopped: {without_secrets(str(problem))}" + ("; opening it again" if self.tries else "")
        log.warning(text)
        return Shot(None, None, text)

    def wait(self, problem: DeviceError) -> object:
        """Wait before the next try; true if the source is to end instead.

        Raises:
            DeviceError: no try is left.
        """
        if not self.tries:
            raise problem
        self.failures += 1
        if self.failures > self.tries:
            raise DeviceError(
                f"{problem}; gave up after {self.tries:.0f} tries to open it again: check cable, power and address, "
                f"or use --reopen forever"
            )
        return self.pause(min(LONGEST, SHORTEST * 2.0 ** min(self.failures - 1, 10)))

    def over(self) -> None:
        """Note that the source delivers again."""
        if self.failures:
            self.failures = 0
            log.warning("%s: back after %.1f s", self.label, self.clock() - self._began)
