"""When a line has to be active, and a thread that sees to it."""

from __future__ import annotations

import heapq
import logging
import os
import time
from collections.abc import Callable
from threading import Condition, Thread

log = logging.getLogger(__name__)

PRIORITY = 10  # of real time, 1 to 99. Measured beside scoring: 0.1 ms late in 9 of 10 cases; without it up to 20 ms
NEAR = 0.003  # seconds before its time at which the thread sleeps rather than waits to be woken, which is less exact


class Schedule:
    """Pulses to come. Those that overlap become one longer one."""

    def __init__(self) -> None:
        self._pulses: list[tuple[float, float]] = []
        self._until = float("-inf")  # when what has begun ends

    def __len__(self) -> int:
        """How many have not begun."""
        return len(self._pulses)

    def add(self, begin: float, end: float) -> None:
        """Add a pulse; times in seconds of any clock."""
        heapq.heappush(self._pulses, (begin, end))

    def begin(self, now: float) -> tuple[bool, int]:
        """What is due.

        Returns:
            whether the line has to be active now, and how many pulses have passed since the last call without having
            been given at all.
        """
        passed = 0
        while self._pulses and self._pulses[0][0] <= now:
            _, end = heapq.heappop(self._pulses)
            passed += end <= now and end > self._until
            self._until = max(self._until, end)
        return now < self._until, passed

    def next(self, now: float) -> float | None:
        """When the line may have to change next; None for never."""
        times = [pulse[0] for pulse in self._pulses[:1]]
        if now < self._until:
            times.append(self._until)
        return min(times, default=None)


class Pulses:
    """Gives pulses at their time, in a thread of its own.

    Args:
        drive: makes the line active or inactive; only the thread calls it.
        name: of the thread.
    """

    def __init__(self, drive: Callable[[bool], None], *, name: str) -> None:
        self._drive, self._name = drive, name
        self._schedule = Schedule()
        self._changed = Condition()
        self._ending: float | None = None  # until when pulses are still given
        self._passed = 0
        self.problem: Exception | None = None  # why the thread has ended before its time
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def add(self, begin: float, end: float) -> None:
        """Give a pulse; times in seconds of `time.monotonic`. Returns at once."""
        with self._changed:
            self._schedule.add(begin, end)
            self._changed.notify()

    def __len__(self) -> int:
        """How many have not begun."""
        with self._changed:
            return len(self._schedule)

    def passed(self) -> int:
        """How many were not given since the last call, because this thread did not run in time."""
        with self._changed:
            passed, self._passed = self._passed, 0
            return passed

    def end(self, *, patience: float) -> int:
        """Give what is due within `patience` seconds, and make the line inactive. The number of those given up."""
        with self._changed:
            self._ending = time.monotonic() + patience
            self._changed.notify()
        self._thread.join(patience + 1)
        return len(self)

    def _run(self) -> None:
        """Give pulses; this is what the thread runs."""
        self._become_urgent()
        active = False
        try:
            while True:
                with self._changed:
                    now = time.monotonic()
                    wanted, passed = self._schedule.begin(now)
                    self._passed += passed
                    if wanted == active:
                        next_time = self._schedule.next(now)
                        if self._ending is not None and (next_time is None or next_time > self._ending):
                            break
                        if next_time is None or next_time - now > NEAR:
                            self._changed.wait(None if next_time is None else next_time - now - NEAR)
                            continue
                if wanted != active:
                    self._drive(wanted)
                    active = wanted
                elif next_time is not None:
                    time.sleep(max(0.0, next_time - time.monotonic()))
        except Exception as problem:  # such as a chip that was pulled out
            self.problem = problem
        finally:
            self._rest()

    def _rest(self) -> None:
        try:
            self._drive(False)
        except Exception as problem:
            self.problem = self.problem or problem

    def _become_urgent(self) -> None:
        """Let the system run this thread as soon as it is due, where that is allowed."""
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))  # 0: this thread
        except (OSError, AttributeError):  # AttributeError: not Linux
            log.warning(
                "%s: real-time priority is not allowed, so pulses may be some 20 ms late while the processor is busy; "
                "set LimitRTPRIO=%d in the systemd unit",
                self._name,
                PRIORITY,
            )
