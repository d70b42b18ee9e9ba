"""One quantity, frame by frame: learned from the first frames, then followed.

A frame is compared with the frames of the reference by rank, so nothing is assumed of how the values are spread. Its
rank in a reference of n frames, as a normal score, is its conformal p-value against them (Vovk et al. 2005) on another
scale. Normal scores are bounded: a frame that is far off, such as a defect, counts no more than one that is just beyond
the reference. The scores of frames that are lower by the tolerance are added up, and so are those of frames that are
higher by it: a change up to the tolerance adds nothing, and a larger one adds up however small it is in each frame.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, median
from typing import Any

from spade_edge.runtime.drift.options import DriftOptions
from spade_edge.runtime.drift.quantity import Quantity
from spade_edge.runtime.errors import DataError
from spade_edge.runtime.fields import Fields

LARGEST_VALUE = 1e6  # of a quantity in a file; a frame has none that is nearly as large
LATEST_TIME = 2.0**37  # seconds since 1970 in a file: the year 6325
RECENT = 50  # frames whose median is the value of now
AGREE = 0.7  # of pairs of frames of two halves, how many may be higher in the later half; by chance about a half
LATEST = 10  # halves that may be forgotten: a quantity that never stops changing is learned as it is
CAP = 2.0  # of the level: a sum grows no farther, so that it falls soon after parts look as before


@dataclass
class Sum:
    """A one-sided CUSUM.

    Attributes:
        options: slack and level.
        value: the sum; never below 0.
        raised: whether it passed the level, and has not been 0 since.
        since: time of the first frame since it was 0; 0 where it is.
        frames: number of frames since then.
    """

    options: DriftOptions
    value: float = 0.0
    raised: bool = False
    since: float = 0.0
    frames: int = 0

    def add(self, score: float, time: float) -> None:
        """Add the normal score of a frame."""
        if not self.value:
            self.since, self.frames = time, 0
        level = self.options.level
        self.value = min(max(self.value + score - self.options.slack, 0.0), CAP * level)
        self.frames += 1
        if not self.value:
            self.raised, self.since, self.frames = False, 0.0, 0
        elif self.value > level:
            self.raised = True

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "raised": self.raised, "since": self.since, "frames": self.frames}

    @classmethod
    def from_fields(cls, own: Fields, *, options: DriftOptions, source: str) -> Sum:
        found = cls(
            options, own.number("value"), own.flag("raised"), own.number("since"), own.integer("frames", most=2**53)
        )
        own.done()
        if not 0 <= found.value <= CAP * options.level or not 0 <= found.since <= LATEST_TIME:
            raise DataError(f"{source}: expected a sum and a time within their limits, found others; delete the file")
        return found


class Series:
    """The values of one quantity.

    Args:
        quantity: what it is.
        options: how drift is heard.

    Attributes:
        reference: the values that it was learned from, in ascending order; empty while it is being learned.
    """

    def __init__(self, quantity: Quantity, options: DriftOptions) -> None:
        self.quantity = quantity
        self.options = options
        self.reference: tuple[float, ...] = ()
        self._learned: list[float] = []
        self._forgotten = 0
        self._up, self._down = Sum(options), Sum(options)
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._scores = _normal_scores(options.frames)

    def add(self, value: float, time: float) -> None:
        """Take a frame's value and time, in seconds since 1970."""
        self._recent.append(value)
        if not self.reference:
            self._learn(value)
            return
        self._up.add(self._score(self.quantity.less(value)), time)
        self._down.add(-self._score(self.quantity.more(value)), time)

    def change(self) -> tuple[float, float, float] | None:
        """Median before and now, and time of the first frame that differs; None if nothing has changed."""
        raised = [each for each in (self._up, self._down) if each.raised]
        if not raised:
            return None
        # After a change to the other side, both may be raised for a while; the higher sum is that of now.
        latest = max(raised, key=lambda each: each.value)
        now = list(self._recent)[-latest.frames :]
        return median(self.reference), median(now), latest.since

    def _learn(self, value: float) -> None:
        """Learn from a value. While the later half differs from the earlier one, the earlier one is forgotten."""
        self._learned.append(value)
        if len(self._learned) < self.options.frames:
            return
        half = len(self._learned) // 2
        earlier, later = sorted(self._learned[:half]), self._learned[half:]
        higher = _mean_rank(earlier, later, self.quantity.less)
        lower = 1 - _mean_rank(earlier, later, self.quantity.more)
        if max(higher, lower) > AGREE and self._forgotten < LATEST:
            self._learned, self._forgotten = later, self._forgotten + 1
            return
        self.reference, self._learned = tuple(sorted(self._learned)), []

    def _score(self, value: float) -> float:
        return self._scores[bisect_left(self.reference, value) + bisect_right(self.reference, value)]

    def to_json(self) -> dict[str, Any]:
        return {
            "reference": list(self.reference),
            "learned": self._learned,
            "forgotten": self._forgotten,
            "up": self._up.to_json(),
            "down": self._down.to_json(),
            "recent": list(self._recent),
        }

    @classmethod
    def from_fields(cls, own: Fields, quantity: Quantity, options: DriftOptions, *, source: str) -> Series:
        """Read what `to_json` gives.

        Raises:
            DataError: it is something else.
        """
        series = cls(quantity, options)
        series.reference, learned = own.numbers("reference"), own.numbers("learned")
        series._forgotten = own.integer("forgotten", most=LATEST)
        series._up = Sum.from_fields(own.object("up"), options=options, source=source)
        series._down = Sum.from_fields(own.object("down"), options=options, source=source)
        recent = own.numbers("recent")
        own.done()
        complete = len(series.reference) == options.frames and not learned
        learning = not series.reference and len(learned) < options.frames
        idle = not (series._up.frames or series._down.frames)
        sums = [each for each in (series._up, series._down) if each.frames]
        if (
            not (complete or (learning and idle))
            or list(series.reference) != sorted(series.reference)
            or len(recent) > RECENT
            or any(not recent or bool(each.value) != bool(each.frames) for each in sums)
            or any(each.raised and not each.frames for each in (series._up, series._down))
            or any(abs(value) > LARGEST_VALUE for value in (*series.reference, *learned, *recent))
        ):
            raise DataError(
                f"{source}: expected the {options.frames} values of {quantity.name} that were learned, found others; "
                "delete the file"
            )
        series._learned = list(learned)
        series._recent.extend(recent)
        return series


@lru_cache(maxsize=8)
def _normal_scores(count: int) -> tuple[float, ...]:
    """Normal scores by twice the number of reference values below a value, values that are equal counted once."""
    normal = NormalDist()
    return tuple(normal.inv_cdf((twice / 2 + 0.5) / (count + 1)) for twice in range(2 * count + 1))


def _mean_rank(ordered: Sequence[float], values: Sequence[float], shifted: Callable[[float], float]) -> float:
    """Fraction of pairs in which the shifted value is the higher one; equal ones count half."""
    ranks = (bisect_left(ordered, shifted(v)) + bisect_right(ordered, shifted(v)) for v in values)
    return sum(ranks) / (2 * len(ordered) * len(values))
