"""How long each step takes."""

from __future__ import annotations

from time import perf_counter


class Stopwatch:
    """Seconds by step.

    Attributes:
        seconds: of each step so far.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, step: str) -> None:
        """End a step: it took the time since the end of the one before."""
        now = perf_counter()
        self.seconds[step], self._last = now - self._last, now
