"""What the page remembers of the line, all of it bounded: newest parts, counts per hour, scores, times, rejects."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock

from spade_edge.runtime.result import DEFECT, GOOD
from spade_edge.tools.line.decision import DECISIONS, Decision, Inspection
from spade_edge.tools.line.page.pictures import SHOWN, jpeg
from spade_edge.tools.line.state import LineState

HOURS = 24
HOUR = 3600  # seconds
SCORES = 1000  # of the latest judged parts of a camera
REJECTS = 24  # of all cameras
NEW_EVERY = 0.25  # seconds between two parts that are shown; a line may be faster than people
KEPT = 4  # parts of a camera that have been announced, and whose picture may still be asked for
DRAWN_EVERY = 0.5  # seconds between two rejects whose picture is kept; a line that rejects all must not draw all
# Upper bounds of the buckets in seconds; deadlines are between some 20 ms and some seconds.
BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)


class Shown:
    """A part as it is announced to browsers; its picture is drawn when the first of them asks for it.

    Args:
        inspection: the part. Its frame is let go once the picture is drawn.
    """

    def __init__(self, inspection: Inspection) -> None:
        self.decision = inspection.decision
        self.pictured = inspection.frame is not None
        self._inspection: Inspection | None = inspection
        self._drawn: dict[bool, bytes] = {}
        self._lock = Lock()

    def picture(self, *, heat: bool) -> bytes | None:
        """The frame as JPEG, with or without its heat map; None if there is no frame."""
        with self._lock:
            if heat not in self._drawn and self._inspection is not None and self.pictured:
                self._drawn[heat] = jpeg(self._inspection, side=SHOWN, heat=heat)
            if len(self._drawn) == 2:
                self._inspection = None
            return self._drawn.get(heat)


@dataclass(frozen=True)
class Scored:
    """A judged part.

    Attributes:
        recipe: that judged it.
        verdict: "good", "defect" or "cannot_judge".
        score: of it.
    """

    recipe: str
    verdict: str
    score: float


@dataclass(frozen=True)
class Rejected:
    """A part that was not good, without a picture from before the page was opened.

    Attributes:
        decision: on it.
        picture: JPEG, at most `SHOWN` pixels wide and high; None if there is none.
    """

    decision: Decision
    picture: bytes | None


@dataclass
class _Camera:
    newest: Inspection | None = None
    shown: dict[int, Shown] = field(default_factory=dict)  # by a running number; a dict keeps the order
    last: int = 0  # that number
    last_at: float = float("-inf")
    scores: deque[Scored] = field(default_factory=lambda: deque(maxlen=SCORES))
    hours: dict[int, dict[str, int]] = field(default_factory=dict)  # hours since 1970 to counts
    counts: Mapping[str, int] | None = None  # of the last heartbeat
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0  # the sum of all times


class Memory:
    """What the page remembers. Any thread may use it; the lock is held for microseconds only.

    Args:
        keep_rejects: whether rejects are kept here, because there is no evidence.
        clock: returns seconds.
        wall: returns seconds since 1970.
    """

    def __init__(
        self,
        *,
        keep_rejects: bool,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._keep_rejects, self._clock, self._wall = keep_rejects, clock, wall
        self._lock = Lock()
        self._cameras: dict[str, _Camera] = {}
        self._rejects: deque[Rejected] = deque(maxlen=REJECTS)
        self._drawn_at = float("-inf")
        self._rejected = 0
        self._beat_at: float | None = None

    def add(self, inspection: Inspection) -> None:
        """Take a part in."""
        decision = inspection.decision
        rejected = None
        if decision.verdict != GOOD:
            picture = None
            if self._keep_rejects and inspection.frame is not None and self._clock() - self._drawn_at >= DRAWN_EVERY:
                self._drawn_at = self._clock()
                with suppress(Exception):  # a frame that is no picture, which is why it could not be judged
                    picture = jpeg(inspection, side=SHOWN, heat=True)
            rejected = Rejected(decision, picture)
        seconds = decision.milliseconds / 1000
        with self._lock:
            camera = self._cameras.setdefault(decision.trigger.camera, _Camera())
            camera.newest = inspection
            if decision.score is not None:
                camera.scores.append(Scored(decision.recipe, decision.verdict, decision.score))
            camera.buckets[bisect_left(BUCKETS, seconds)] += 1
            camera.seconds += seconds
            if rejected is not None:
                self._rejected += 1
                if self._keep_rejects:
                    self._rejects.append(rejected)

    def beat(self, state: LineState) -> None:
        """Count what was decided since the last heartbeat in this hour. Counts are exact even where parts were lost."""
        hour = int(state.at // HOUR)
        began_now = int(state.started // HOUR) == hour
        with self._lock:
            self._beat_at = self._clock()
            names = {camera.name for camera in state.cameras}
            for name in [name for name in self._cameras if name not in names]:
                del self._cameras[name]
            for seen in state.cameras:
                camera = self._cameras.setdefault(seen.name, _Camera())
                before = camera.counts
                camera.counts = dict(seen.counts)
                if before is None:
                    before = {} if began_now else seen.counts  # what came before is of hours that nobody knows
                elif sum(seen.counts.values()) < sum(before.values()):
                    before = {}  # the camera was opened anew
                bucket = camera.hours.setdefault(hour, dict.fromkeys(DECISIONS, 0))
                for verdict in DECISIONS:
                    bucket[verdict] += max(0, seen.counts.get(verdict, 0) - before.get(verdict, 0))
                for old in [one for one in camera.hours if one <= hour - HOURS]:
                    del camera.hours[old]

    @property
    def silent(self) -> float | None:
        """Seconds since the last heartbeat of the service; None before the first."""
        with self._lock:
            return None if self._beat_at is None else max(0.0, self._clock() - self._beat_at)

    @property
    def rejected(self) -> int:
        """How many parts were not good since the page was opened; a browser asks for the rejects if it changes."""
        with self._lock:
            return self._rejected

    def rejects(self) -> list[tuple[int, Rejected]]:
        """The last parts that were not good, newest first, each with its number."""
        with self._lock:
            return [(self._rejected - i, one) for i, one in enumerate(reversed(self._rejects))]

    def shown(self, camera: str) -> tuple[int, Shown] | None:
        """The part to show now, and the number under which its picture may be asked for."""
        with self._lock:
            known = self._cameras.get(camera)
            if known is None:
                return None
            if known.newest is not None and self._clock() - known.last_at >= NEW_EVERY:
                known.last += 1
                known.last_at = self._clock()
                known.shown[known.last] = Shown(known.newest)
                known.newest = None
                while len(known.shown) > KEPT:
                    del known.shown[next(iter(known.shown))]
            return (known.last, known.shown[known.last]) if known.shown else None

    def announced(self, camera: str, number: int) -> Shown | None:
        """A part that was shown; None if it is gone."""
        with self._lock:
            known = self._cameras.get(camera)
            return None if known is None else known.shown.get(number)

    def hours(self, camera: str) -> list[list[int]]:
        """Counts of the last 24 hours, the oldest first; one for each verdict in the order of `DECISIONS`."""
        now = int(self._wall() // HOUR)
        with self._lock:
            known = self._cameras.get(camera, _Camera())
            counts = [known.hours.get(hour, {}) for hour in range(now - HOURS + 1, now + 1)]
            return [[hour.get(verdict, 0) for verdict in DECISIONS] for hour in counts]

    def scores(self, *, recipe: str, camera: str | None = None) -> list[Scored]:
        """The latest judged parts of a recipe, of one camera or of all; good and defective ones."""
        with self._lock:
            cameras = list(self._cameras) if camera is None else [camera]
            return [
                one
                for name in cameras
                for one in self._cameras.get(name, _Camera()).scores
                if one.recipe == recipe and one.verdict in (GOOD, DEFECT)
            ]

    def times(self) -> dict[str, tuple[list[int], float]]:
        """For each camera how many decisions fell into each of `BUCKETS` and beyond, and the sum of their seconds."""
        with self._lock:
            return {name: (list(camera.buckets), camera.seconds) for name, camera in self._cameras.items()}
