"""The counts of a run: verdicts, stops of the source, and times."""

from __future__ import annotations

from collections import Counter

from spade_edge.runtime.result import CANNOT_JUDGE, GOOD
from spade_edge.tools.scoring.durations import Durations
from spade_edge.tools.scoring.scored import Scored


class Tally:
    """Counts scored shots.

    Attributes:
        verdicts: number of frames by verdict.
        stops: how often the source stopped or fell silent.
        milliseconds: total times of the scored frames.
    """

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.stops = 0
        self.milliseconds = Durations()

    def add(self, scored: Scored) -> None:
        """Count one shot."""
        if scored.shot.news:
            self.stops += 1
        else:
            self.verdicts[CANNOT_JUDGE if scored.result is None else scored.result.verdict] += 1
        if scored.result is not None:
            self.milliseconds.add(scored.result.milliseconds["total"])

    def __bool__(self) -> bool:
        """Whether anything has been counted."""
        return bool(self.verdicts or self.stops)

    @property
    def good(self) -> bool:
        """Whether every verdict is good and the source never stopped."""
        return not self.stops and set(self.verdicts) <= {GOOD}
