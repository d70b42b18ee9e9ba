"""A source that is read by a thread of its own, so that neither camera nor scoring waits for the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from threading import Condition, Event, Thread

from spade_edge.tools.sources.shot import Shot

NEWEST, ALL = "newest", "all"
AHEAD = 2  # shots read ahead where all are kept
FAULTS = 1000  # unread faults and news kept beside the newest frame
SLICE = 0.25  # seconds between two looks at `ended`: a signal's handler sets it, and must not take a lock
PATIENCE = 2.0  # seconds that a read in progress gets at the end


class Acquisition:
    """The shots of a source, read beside the work that is done on them.

        with Acquisition(shots, keep=NEWEST, stall=5) as acquired:
            for shot in acquired:
                ...

    Args:
        shots: read by the thread, and closed by it.
        keep: "newest" for a live camera: a frame that nobody has taken when the next one comes is left out and counted,
            while faults and news are kept; "all" reads a little ahead and loses none.
        stall: seconds without a shot after which one of news says so, once until the next frame; 0 for never. While
            a stop is known, silence is no stall.
        ended: set it to end the source; whatever waits inside `shots` should listen to it.

    Attributes:
        dropped: frames left out so far.
    """

    def __init__(self, shots: Iterable[Shot], *, keep: str, stall: float = 0.0, ended: Event | None = None) -> None:
        self.keep = keep
        self.stall = stall
        self.ended = ended or Event()
        self.dropped = 0
        self._shots = iter(shots)
        self._waiting: deque[Shot] = deque()
        self._changed = Condition()
        self._arrived = time.monotonic()  # when the latest shot came
        self._told = False  # whether it has been said that nothing comes
        self._finished = False
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._read, name="acquisition", daemon=True)  # a hanging read must not keep us

    def __enter__(self) -> Acquisition:
        self._arrived = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._thread.join(PATIENCE)

    def end(self) -> None:
        """Let the iteration end before its next shot; a signal's handler may call this."""
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
        """What the thread does."""
        try:
            for shot in self._shots:
                self._put(shot)
                if self.ended.is_set():
                    break
        except BaseException as problem:
            self._failure = problem  # for whoever iterates
        finally:
            close = getattr(self._shots, "close", None)
            if close is not None:  # here, so that the thread that used a camera also closes it
                close()
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _put(self, shot: Shot) -> None:
        with self._changed:
            if self._stalled():  # nobody was waiting, so nobody has noticed
                self._waiting.append(self._silence())
            while self.keep == ALL and len(self._waiting) >= AHEAD and not self.ended.is_set():
                self._changed.wait(SLICE)
            self._waiting.append(shot)
            if self.keep == NEWEST:
                self._thin_out()
            self._arrived = time.monotonic()
            self._told = shot.news
            self._changed.notify_all()

    def _thin_out(self) -> None:
        """Leave out what is older than the newest frame, and the oldest of a flood of faults."""
        frames = [place for place, shot in enumerate(self._waiting) if shot.frame is not None]
        for place in frames[:-1] or [0] * (len(self._waiting) > FAULTS):
            old, after = self._waiting[place], self._waiting[place + 1]
            self._waiting[place + 1] = replace(after, dropped=after.dropped + old.dropped + (not old.news))
            del self._waiting[place]
            self.dropped += not old.news

    def _stalled(self) -> bool:
        return self.stall > 0 and not self._told and time.monotonic() - self._arrived >= self.stall

    def _silence(self) -> Shot:
        self._told = True
        return Shot(None, None, f"no frame for {self.stall:.1f} s")
