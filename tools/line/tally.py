"""What a camera has decided so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

from spade_edge.tools.line.configuration.options import REJECT
from spade_edge.tools.line.decision import DECISIONS, Decision
from spade_edge.tools.scoring.durations import Durations


@dataclass(frozen=True)
class Counted:
    """The counts at one moment.

    Attributes:
        verdicts: number of decisions by verdict.
        rejected: number of parts rejected.
        p50, p99, longest: milliseconds from trigger to decision; None before the first.
    """

    verdicts: Mapping[str, int]
    rejected: int
    p50: float | None = None
    p99: float | None = None
    longest: float | None = None


class Tally:
    """Counts the decisions of a camera, also where its configuration changes meanwhile."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._verdicts: Counter[str] = Counter()
        self._rejected = 0
        self._durations = Durations()

    def add(self, decision: Decision) -> None:
        """Count a decision."""
        with self._lock:
            self._verdicts[decision.verdict] += 1
            self._rejected += decision.gate == REJECT
            self._durations.add(decision.milliseconds)

    @property
    def now(self) -> Counted:
        """The counts so far."""
        with self._lock:
            verdicts = {verdict: self._verdicts[verdict] for verdict in DECISIONS}
            times = self._durations
            if not len(times):
                return Counted(verdicts, self._rejected)
            return Counted(verdicts, self._rejected, times.percentile(0.5), times.percentile(0.99), times.largest)
