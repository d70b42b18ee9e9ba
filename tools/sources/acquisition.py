"""Reads a source in a separate thread, so that neither the camera nor the scoring waits for the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from threading import Condition, Event, Thread

from spade_edge.tools.sources.shot import Shot

NEWEST, ALL = "newest", "all"
AHEAD = 2  # shots read ahead where all are kept
FAULTS = 1000  # unread faults and news that are kept beside the newest frame
SLICE = 0.25  # seconds between two checks of `ended`, which a signal handler sets and so cannot notify waiters
PATIENCE = 2.0  # seconds that a read in progress is given at the end


class Acquisition:
    """The shots of a source, read in a thread while others are being processed.

        with Acquisition(shots, keep=NEWEST, stall=5) as acquired:
            for shot in acquired:
                ...

    Args:
        shots: read by the thread, and closed by it.
        keep: "newest" for a live camera: a frame that has not been taken when the next one comes is dropped and
            counted, while faults and news are kept; "all" reads a few shots ahead and drops none.
        stall: seconds without a shot after which a shot of news reports it, once until the next frame; 0 for never.
            Silence after a reported stop is not a stall.
        ended: set this event to end the source; waits inside `shots` should end with it, too.
        patience: seconds that a read in progress is given at the end, before it is abandoned.
        clock: returns seconds.

    Attributes:
        dropped: number of frames dropped so far.
    """

    def __init__(
        self,
        shots: Iterable[Shot],
        *,
        keep: str,
        stall: float = 0.0,
        ended: Event | None = None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keep = keep
        self.stall = stall
        self.patience = patience
        self.clock = clock
        self.ended = ended or Event()
        self.dropped = 0
        self._shots = iter(shots)
        self._waiting: deque[Shot] = deque()
        self._changed = Condition()
        self._arrived = self.clock()  # when the latest shot came
        self._told = False  # whether the silence has been reported
        self._finished = False
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._read, name="acquisition", daemon=True)  # a read that hangs must not block

    def __enter__(self) -> Acquisition:
        self._arrived = self.clock()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._thread.join(self.patience)

    def end(self) -> None:
        """End the iteration before its next shot. A signal handler may call this."""
        self.ended.set()

    def __iter__(self) -> Iterator[Shot]:
        return self

    def __next__(self) -> Shot:
        with self._changed:
            while not self.ended.is_set():
                if self._waiting:
                    self._changed.notify_all()
                    return self._waiting.popleft()
                if self._failure is not None:
                    raise self._failure
                if self._finished:
                    break
                if self._stalled():
                    return self._silence()
                self._changed.wait(SLICE if self._told or not self.stall else min(SLICE, self.stall))
        raise StopIteration

    def _read(self) -> None:
        """Read all shots; this is what the thread runs."""
        try:
            for shot in self._shots:
                self._put(shot)
                if self.ended.is_set():
                    break
        except BaseException as problem:
            self._failure = problem  # raised by __next__
        finally:
            close = getattr(self._shots, "close", None)
            if close is not None:  # in the thread that has used the camera
                close()
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _put(self, shot: Shot) -> None:
        with self._changed:
            if self._stalled():  # nobody was waiting in __next__, so nobody has reported it
                self._waiting.append(self._silence())
            while self.keep == ALL and len(self._waiting) >= AHEAD and not self.ended.is_set():
                self._changed.wait(SLICE)
            self._waiting.append(shot)
            if self.keep == NEWEST:
                self._thin_out()
            self._arrived = self.clock()
            self._told = shot.news
            self._changed.notify_all()

    def _thin_out(self) -> None:
        """Drop frames older than the newest one, and the oldest shot where too many faults wait."""
        frames = [place for place, shot in enumerate(self._waiting) if shot.frame is not None]
        for place in frames[:-1] or [0] * (len(self._waiting) > FAULTS):
            old, after = self._waiting[place], self._waiting[place + 1]
            self._waiting[place + 1] = replace(after, dropped=after.dropped + old.dropped + (not old.news))
            del self._waiting[place]
            self.dropped += not old.news

    def _stalled(self) -> bool:
        return self.stall > 0 and not self._told and self.clock() - self._arrived >= self.stall

    def _silence(self) -> Shot:
        self._told = True
        return Shot(None, None, f"no frame for {self.stall:.1f} s")
