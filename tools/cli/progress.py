"""Progress of long work on stderr, as lines or as the elapsed time; progress_bar.py has the bar of a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from time import monotonic
from typing import Any


class ProgressLines:
    """Prints a line on stderr every ten seconds and at the end of each step, which also suits a log file.

    Args:
        unit: what is counted, for the rate; empty to leave the rate out.
    """

    EVERY = 10.0  # seconds

    def __init__(self, *, unit: str = "") -> None:
        self.unit = unit
        self._what = ""
        self._said = self._start = 0.0
        self._first = 0

    def __call__(self, what: str, done: int, of: int) -> None:
        now = monotonic()
        if what != self._what:  # work of an earlier run says nothing about the speed
            self._what, self._start, self._first, self._said = what, now, done, now
        if done < of and now - self._said < self.EVERY:
            return
        self._said = now
        line = f"{what}: {done} of {of}"
        if self.unit and now > self._start and done > self._first:
            line += f", {(done - self._first) / (now - self._start):.3g} {self.unit}/s"
        if self._first < done < of:
            line += f", about {_duration((now - self._start) / (done - self._first) * (of - done))} left"
        print(line, file=sys.stderr, flush=True)


def in_lines(items: Iterable[Any], label: str, unit: str) -> Iterator[Any]:
    """Pass on the items of a loop, and print a line about them every ten seconds and at the end."""
    whole = items if isinstance(items, Sized) else list(items)
    say = ProgressLines(unit=unit)
    say(label, 0, max(1, len(whole)))
    for done, item in enumerate(whole, start=1):
        yield item
        say(label, done, len(whole))


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


class ElapsedTime:
    """Prints the elapsed time of a build on stderr: on one line of a terminal, else on a new line now and then.

    Args:
        terminal: whether stderr is a terminal.
        every: seconds between two lines, if it is none.
    """

    def __init__(self, *, terminal: bool, every: float = 30.0) -> None:
        self.terminal = terminal
        self.every = every
        self._next = every
        self._open = False  # whether the terminal's line is unfinished

    def __call__(self, passed: float) -> None:
        minutes, seconds = divmod(int(passed), 60)
        text = f"building, {minutes}:{seconds:02d} so far"
        if self.terminal:
            self._open = True
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
        elif passed >= self._next:
            self._next += self.every
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Finish the line on the terminal."""
        if self._open:
            print(file=sys.stderr)
