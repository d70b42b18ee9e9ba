"""The triggers of one camera: each gets exactly one decision, in their order, by its deadline."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from threading import Condition, Thread

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import UsageError
from spade_edge.tools.line.decision import LATE, Inspection
from spade_edge.tools.line.trigger import Trigger

log = logging.getLogger(__name__)

FOR_FRAME = "no frame came"  # what a trigger waits for, as a reason of its lateness says it
FOR_SCORING = "scoring of other frames was not finished"
SCORING = "scoring was not finished"
FOR_OTHERS = "the decision on a part before it was not made"
WAITED = 1.0  # milliseconds after which a decision that waited for others gets the time at which it was let out


class EndedError(UsageError):
    """A trigger has come after the end, when nobody decides on it any more."""


class Entry:
    """A trigger in the ledger. Only the ledger changes it, under its lock.

    Attributes:
        trigger: that waits for its decision.
        waits_for: what it waits for.
        frame: of the trigger, (H, W, 3) uint8 BGR or (H, W) uint8 grey; None if none has come yet.
        inspection: the decision, once there is one.
    """

    __slots__ = ("frame", "inspection", "trigger", "waits_for")

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger
        self.waits_for = FOR_FRAME
        self.frame: NDArray[np.uint8] | None = None
        self.inspection: Inspection | None = None


Late = Callable[[Entry], Inspection]  # makes the decision on a trigger whose deadline has passed
Emit = Callable[[Inspection], None]  # takes each decision; it must neither wait nor raise


class Ledger:
    """Enters triggers, and lets out one decision for each.

    A trigger stays open until `decide` is called for it or its deadline passes, whichever is first; what comes second
    changes nothing. Decisions are let out in the order of the triggers: one that is found early waits for those before
    it, at most until they are late. What counts is when it is let out: all triggers have the same time, so it is hardly
    ever late by that; where it is, it is called late.

    Args:
        camera: its name, for the thread.
        seconds: from a trigger to its deadline.
        late: makes the decision on a late trigger.
        emit: gets every decision, in order, from one thread at a time.
        first: running number of the first trigger.
        clock: returns seconds.
        wall: returns seconds since 1970.
    """

    def __init__(
        self,
        camera: str,
        *,
        seconds: float,
        late: Late,
        emit: Emit,
        first: int = 1,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._camera, self._seconds, self._late, self._emit = camera, seconds, late, emit
        self._next = first
        self._clock, self._wall = clock, wall
        self._changed = Condition()
        self._open: deque[Entry] = deque()  # those before the first without a decision have been let out
        self._ending = False
        self._thread = Thread(target=self._watch, name=f"deadlines of {camera}", daemon=True)

    def start(self) -> None:
        """Begin to watch deadlines."""
        self._thread.start()

    def end(self) -> None:
        """Stop to watch deadlines, after every open trigger has got its decision, which is late for those without."""
        with self._changed:
            self._ending = True
            for entry in self._open:
                if entry.inspection is None:
                    entry.inspection = self._late(entry)
            self._let_out()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def enter(self, *, id: str | None = None, recipe: str | None = None) -> Entry:
        """Enter a trigger that has come now.

        Raises:
            EndedError: `end` was called.
        """
        now, moment = self._clock(), self._wall()
        with self._changed:
            if self._ending:
                raise EndedError(f"camera {self._camera}: expected a camera that works, found one that is being ended")
            number, self._next = self._next, self._next + 1
            entry = Entry(
                Trigger(
                    camera=self._camera,
                    number=number,
                    id=str(number) if id is None else id,
                    at=now,
                    time=moment,
                    deadline=now + self._seconds,
                    recipe=recipe,
                )
            )
            self._open.append(entry)
            if len(self._open) == 1:
                self._changed.notify_all()  # the thread waits for another deadline, or for none
        return entry

    def note(self, entry: Entry, *, waits_for: str, frame: NDArray[np.uint8] | None = None) -> bool:
        """Note what a trigger waits for now, and its frame. False if it has its decision already."""
        with self._changed:
            if entry.inspection is not None:
                return False
            entry.waits_for = waits_for
            if frame is not None:
                entry.frame = frame
            return True

    def release(self, entry: Entry) -> None:
        """Let a frame go that will not be scored: frames are large, and an entry may wait for long."""
        with self._changed:
            entry.frame = None

    def decide(self, entry: Entry, inspection: Inspection) -> bool:
        """Decide on a trigger. False if it has its decision already, or its deadline has passed: then it is late."""
        with self._changed:
            if entry.inspection is not None:
                return False
            in_time = self._clock() < entry.trigger.deadline
            entry.inspection = inspection if in_time else self._late(entry)
            self._let_out()
            return in_time

    def is_open(self, entry: Entry) -> bool:
        """Whether a trigger has no decision yet."""
        return entry.inspection is None

    def __len__(self) -> int:
        """Triggers whose decision has not been let out."""
        return len(self._open)

    @property
    def next(self) -> int:
        """The running number of the next trigger."""
        return self._next

    def wait_empty(self, *, until: Callable[[], bool]) -> None:
        """Wait until every trigger has its decision, or `until` says so; it is asked ten times a second."""
        with self._changed:
            while self._open and not until():
                self._changed.wait(0.1)

    def _let_out(self) -> None:
        """Let out decisions up to the first trigger without one. Called with the lock, which keeps them in order."""
        while self._open and (inspection := self._open[0].inspection) is not None:
            entry = self._open.popleft()
            now, decision = self._clock(), inspection.decision
            waited = 1000 * (now - entry.trigger.at) - decision.milliseconds >= WAITED
            if waited and decision.verdict != LATE and now >= entry.trigger.deadline:
                entry.waits_for = FOR_OTHERS
                inspection = entry.inspection = self._late(entry)
            elif waited:
                milliseconds = 1000 * (now - entry.trigger.at)
                made = replace(decision, decided=self._wall(), milliseconds=milliseconds)
                inspection = entry.inspection = replace(inspection, decision=made)
            entry.frame = None
            self._emit(inspection)
        if not self._open:
            self._changed.notify_all()  # for `wait_empty`

    def _watch(self) -> None:
        """Make triggers late when their deadline passes; this is what the thread runs."""
        with self._changed:
            while not self._ending:
                if not self._open:
                    self._changed.wait()
                elif (rest := self._open[0].trigger.deadline - self._clock()) > 0:
                    self._changed.wait(rest)
                else:
                    self._open[0].inspection = self._late(self._open[0])
                    self._let_out()
