"""Carries decisions to one output, in a thread of its own, so that none delays a verdict or another output."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from typing import Generic, Protocol, TypeVar

from spade_edge.tools.line.fault import in_words
from spade_edge.tools.line.outputs.output import MissedError
from spade_edge.tools.line.state import HUNG, TROUBLED, WELL, Health, LineState, OutputState

log = logging.getLogger(__name__)

SOONEST, LATEST = 0.5, 10.0  # seconds until an output is opened again; the time doubles
LAST_TRIES = 0.2  # seconds between two tries at the end
MISSED = 60.0  # seconds for which an output counts as troubled after it was too late for a part
PATIENCE = 5.0  # seconds that waiting decisions are given at the end

Item = TypeVar("Item")
Carried_contra = TypeVar("Carried_contra", contravariant=True)


class Receiver(Protocol[Carried_contra]):
    """What a courier carries to; see `spade_edge.tools.line.outputs.output.Output`."""

    def open(self) -> None: ...
    def send(self, item: Carried_contra, /) -> None: ...
    def stale(self, item: Carried_contra, /) -> bool: ...
    def beat(self, state: LineState, /) -> None: ...
    def close(self) -> None: ...


class Courier(Generic[Item]):
    """Carries what it is handed to one receiver, in order.

    `hand_over` and `beat` never wait. Where the receiver is down, it is opened again after half a second, one, two and
    so on up to ten seconds, and what was not taken is sent again. Where more waits than the queue holds, the oldest is
    given up and counted.

    Args:
        receiver: the output, the evidence or the page.
        name, kind: for its state.
        queue: how many may wait.
        patience: seconds after which a call that does not return counts as hung.
        clock: returns seconds.
        wall: returns seconds since 1970.
    """

    def __init__(
        self,
        receiver: Receiver[Item],
        *,
        name: str,
        kind: str,
        queue: int,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.kind = name, kind
        self._receiver, self._most, self._patience = receiver, queue, patience
        self._clock, self._wall = clock, wall
        self._changed = Condition()
        self._waiting: deque[Item] = deque()
        self._state: LineState | None = None  # the heartbeat that is due; only the newest counts
        self._ending: float | None = None  # until when what waits is still carried
        self._sent = self._lost = 0
        self._busy: float | None = None  # since when the receiver is being called
        self._health = Health(TROUBLED, "not opened yet", wall())
        self._untaken = False  # whether the last attempt to send has failed: then opening alone makes nothing well
        self._well_at: float | None = None  # when it counts as well again, although it never stopped working
        self._thread = Thread(target=self._run, name=f"output {name}", daemon=True)  # a call that hangs must not block

    def start(self) -> None:
        """Begin to carry."""
        self._thread.start()

    def take_over(self, former: Courier[Item]) -> None:
        """Carry first what a former one has left, which has been ended. Call it before `start`."""
        with former._changed:
            left = list(former._waiting)
            former._waiting.clear()
        with self._changed:
            self._waiting.extendleft(reversed(left))
            while len(self._waiting) > self._most:
                self._waiting.popleft()
                self._lost += 1

    def hand_over(self, item: Item) -> bool:
        """Queue something, and give up the oldest if too much waits. False after `end`, when nothing is taken."""
        with self._changed:
            if self._ending is not None:
                return False
            if len(self._waiting) >= self._most:
                self._waiting.popleft()
                self._lost += 1
            self._waiting.append(item)
            self._changed.notify()
            return True

    def beat(self, state: LineState) -> None:
        """Queue a sign of life; one that still waits is replaced."""
        with self._changed:
            self._state = state
            self._changed.notify()

    def end(self, *, patience: float = PATIENCE) -> None:
        """Carry what waits, as long as it is taken and there is time; then close."""
        with self._changed:
            self._ending = self._clock() + patience
            self._changed.notify()

    def join(self, *, patience: float = PATIENCE) -> None:
        """Wait for the end, after `end`. A receiver that hangs is abandoned."""
        if self._thread.ident is not None:
            self._thread.join(patience)

    @property
    def state(self) -> OutputState:
        """How it is."""
        with self._changed:
            health, busy = self._health, self._busy
            counts = (self._sent, self._lost, len(self._waiting))
        if busy is not None and (lasts := self._clock() - busy) >= self._patience:
            health = Health(HUNG, f"has not answered for {lasts:.0f} s", self._wall() - lasts)
        return OutputState(self.name, self.kind, health, *counts)

    def _run(self) -> None:
        """Open, carry, and open again; this is what the thread runs."""
        wait = SOONEST
        while not self._over():
            try:
                self._call(self._receiver.open)
                if not self._untaken:
                    self._become(WELL, "")
                while self._carry():
                    wait = SOONEST
                break
            except Exception as problem:  # whatever it is, the line runs on
                self._become(TROUBLED, in_words(problem))
            self._close()
            with self._changed:
                if self._ending is None:
                    self._changed.wait_for(lambda: self._ending is not None, wait)
                else:
                    self._changed.wait(LAST_TRIES)
            wait = min(2 * wait, LATEST)
        self._close()

    def _carry(self) -> bool:
        """Wait for something to carry, and carry it. False if it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._state is not None or self._ending is not None)
            item = self._waiting[0] if self._waiting else None
            state, self._state = self._state, None
        if item is not None:
            if self._receiver.stale(item):
                self._done(item, taken=False)
            else:
                untaken, self._untaken = self._untaken, True
                self._done(item, taken=self._deliver(lambda: self._receiver.send(item)))
                self._untaken = False
                if untaken and self._well_at is None:
                    self._become(WELL, "")
        if state is not None:
            self._deliver(lambda: self._receiver.beat(state))
        if self._well_at is not None and self._clock() >= self._well_at:
            self._well_at = None
            self._become(WELL, "")
        return not self._over()

    def _deliver(self, call: Callable[[], None]) -> bool:
        """Whether the receiver was in time."""
        try:
            self._call(call)
        except MissedError as problem:
            self._well_at = self._clock() + MISSED
            self._become(TROUBLED, str(problem))
            return False
        return True

    def _done(self, item: Item, *, taken: bool) -> None:
        with self._changed:
            given_up = not self._waiting or self._waiting[0] is not item  # and counted, while it was being sent
            if not given_up:
                self._waiting.popleft()
            if taken:
                self._sent += 1
                self._lost -= given_up
            else:
                self._lost += not given_up

    def _over(self) -> bool:
        with self._changed:
            return self._ending is not None and (not self._waiting or self._clock() >= self._ending)

    def _call(self, call: Callable[[], None]) -> None:
        self._busy = self._clock()
        try:
            call()
        finally:
            self._busy = None

    def _close(self) -> None:
        try:
            self._call(self._receiver.close)
        except Exception as problem:
            log.warning("output %s: closing: %s", self.name, in_words(problem))

    def _become(self, state: str, words: str) -> None:
        with self._changed:
            before = self._health
            if (before.state, before.words) == (state, words):
                return
            self._health = Health(state, words, self._wall())
        if words:
            log.warning("output %s: %s", self.name, words)
        elif before.words and before.words != "not opened yet":
            log.warning("output %s: works again", self.name)
