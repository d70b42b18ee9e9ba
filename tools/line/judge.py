"""One thread scores the frames of all cameras, the one whose decision is due first."""

from __future__ import annotations

import heapq
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from threading import Condition, Thread

from spade_edge.tools.line.state import HUNG, WELL, Health

log = logging.getLogger(__name__)

MOST = 64  # frames that wait for scoring
RECENT = 15  # times by which it is known how long scoring usually takes


@dataclass(order=True)
class Job:
    """A frame to score.

    Attributes:
        deadline: when its decision is due, in seconds of `time.monotonic`.
        order: settles equal deadlines.
        camera: whose frame it is.
        wanted: whether the decision is still open.
        run: scores the frame and decides; it must not raise.
        drop: called instead of `run` where too many frames wait.
    """

    deadline: float
    order: int
    camera: str = field(compare=False)
    wanted: Callable[[], bool] = field(compare=False)
    run: Callable[[], None] = field(compare=False)
    drop: Callable[[], None] = field(compare=False)


class Judge:
    """Scores frames one after the other.

    More than one thread would not be faster: the network uses all cores, or one GPU. A frame that is late already is
    not scored. Neither is one that would be late in the usual time if others wait: it would only make the next one late
    as well. So a line that is too fast for a while recovers, and one that is always too fast still judges as many parts
    as it can, and not each of them too late.

    Args:
        patience: seconds after which a frame that is not scored counts as hung.
        clock: returns seconds.
        wall: returns seconds since 1970.
    """

    def __init__(
        self,
        *,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._patience, self._clock, self._wall = patience, clock, wall
        self._changed = Condition()
        self._jobs: list[Job] = []
        self._orders = count()
        self._busy: float | None = None  # since when a frame is being scored
        self._took: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))  # seconds, by camera
        self._ending = False
        self._thread = Thread(target=self._run, name="judge", daemon=True)  # a network that hangs must not block

    def start(self) -> None:
        """Begin to score."""
        self._thread.start()

    def end(self, *, patience: float = 2.0) -> None:
        """Finish the frame that is being scored, and stop."""
        with self._changed:
            self._ending = True
            self._jobs.clear()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(patience)

    def submit(
        self,
        *,
        deadline: float,
        camera: str = "",
        wanted: Callable[[], bool],
        run: Callable[[], None],
        drop: Callable[[], None] = lambda: None,
    ) -> bool:
        """Queue a frame. False if too many wait that are due earlier: frames are large, so their number is bounded. One
        that is due earlier takes the place of the one that is due last.
        """
        job = Job(deadline, next(self._orders), camera, wanted, run, drop)
        dropped = None
        with self._changed:
            if len(self._jobs) >= MOST:
                self._jobs = [job for job in self._jobs if job.wanted()]
                heapq.heapify(self._jobs)
            if len(self._jobs) >= MOST and (last := max(self._jobs)) > job and not self._ending:
                self._jobs.remove(last)
                heapq.heapify(self._jobs)
                dropped = last
            taken = len(self._jobs) < MOST and not self._ending
            if taken:
                heapq.heappush(self._jobs, job)
                self._changed.notify_all()
        for refused in [each for each in (dropped, None if taken else job) if each is not None]:
            refused.drop()
        return taken

    @property
    def health(self) -> Health:
        """Whether it answers."""
        busy = self._busy
        if busy is not None and (lasts := self._clock() - busy) >= self._patience:
            return Health(HUNG, f"the network has been scoring one frame for {lasts:.0f} s", self._wall() - lasts)
        return Health(WELL, "", self._wall())

    def _run(self) -> None:
        """Score; this is what the thread runs."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._ending)
                if self._ending:
                    return
                job = heapq.heappop(self._jobs)
                others = bool(self._jobs)
            if not job.wanted() or (others and self._would_be_late(job)):
                continue
            self._busy = began = self._clock()
            try:
                job.run()
            except Exception:  # a fault of ours: the trigger becomes late, and the line runs on
                log.exception("a frame could not be decided on")
            finally:
                self._busy = None
            self._took[job.camera].append(self._clock() - began)
            del job  # and the frame that it holds

    def _would_be_late(self, job: Job) -> bool:
        """Whether a frame that is still due will be late, if scoring takes as long as it usually does."""
        took = self._took[job.camera]
        now = self._clock()
        return bool(took) and now < job.deadline < now + median(took)
