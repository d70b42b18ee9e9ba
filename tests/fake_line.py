"""Parts of a line for tests: clocks that stand, sources made of lists, outputs that remember."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from threading import Condition, Event

import numpy as np
from numpy.typing import NDArray

from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.state import LineState
from spade_edge.tools.sources import Shot, Source

LONG = 60.0  # seconds; no test waits so long unless something is wrong


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    ending = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < ending, "waited in vain"
        time.sleep(0.002)


class Belt:
    """A camera that delivers what a test puts on it."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._shots: list[Shot | Exception] = []
        self.opened = 0
        self.done_with = 0  # shots on which the line has done what it does at once: it has asked for the next one
        self.ended = Event()

    def put(self, *shots: Shot | Exception) -> None:
        with self._changed:
            self._shots += shots
            self._changed.notify_all()

    def frame(self, frame: NDArray[np.uint8], *, part: str | None = None) -> None:
        self.put(Shot(0, frame, part=part))

    def source(self) -> Source:
        self.opened += 1
        self.ended = Event()
        return Source(self._read(self.ended), live=True, endless=True, ended=self.ended)

    def _read(self, ended: Event) -> Iterator[Shot]:
        while not ended.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._shots or ended.is_set(), 0.05)
                if not self._shots:
                    continue
                shot = self._shots.pop(0)
            if isinstance(shot, Exception):
                raise shot
            yield shot
            self.done_with += 1


class Memory:
    """An output that remembers, and fails as a test says."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.taken: list[Decision] = []
        self.beats: list[LineState] = []
        self.on_open: Callable[[], None] = lambda: None
        self.on_send: Callable[[Decision], None] = lambda decision: None
        self.old: Callable[[Decision], bool] = lambda decision: False

    def open(self) -> None:
        self.opened += 1
        self.on_open()

    def send(self, decision: Decision) -> None:
        self.on_send(decision)
        self.taken.append(decision)

    def stale(self, decision: Decision) -> bool:
        return self.old(decision)

    def beat(self, state: LineState) -> None:
        self.beats.append(state)

    def close(self) -> None:
        self.closed += 1

    def test(self, decision: Decision, state: LineState) -> str:
        return f"took {decision.trigger.id} of {state.line}"


def numbers(taken: Iterable[Decision]) -> list[int]:
    return [decision.trigger.number for decision in taken]
