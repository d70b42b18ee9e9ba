"""Makes decisions: from a result, from a fault, or because time is up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import FrameResult
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.runtime.drift.change import Drift
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD
from spade_edge.tools.line.configuration.options import PASS, REJECT, LineOptions
from spade_edge.tools.line.decision import LATE, Decision, Inspection
from spade_edge.tools.line.ledger import Entry
from spade_edge.tools.line.trigger import Trigger


@dataclass(frozen=True)
class Decisions:
    """Makes the decisions of one camera.

    Attributes:
        line: the name of the line and its fail-safe.
        clock: returns seconds, as `Trigger.at` has them.
        wall: returns seconds since 1970.
    """

    line: LineOptions
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time

    def judged(
        self,
        trigger: Trigger,
        *,
        recipe: str,
        frame: NDArray[np.uint8],
        result: FrameResult,
        bundle: Bundle,
        drift: Drift | None,
    ) -> Inspection:
        """The decision on a trigger whose frame was scored."""
        decision = Decision(
            line=self.line.name,
            trigger=trigger,
            verdict=result.verdict,
            gate=self._gate(result.verdict),
            reason=result.reason,
            recipe=recipe,
            decided=self.wall(),
            milliseconds=self._since(trigger),
            score=result.score,
            threshold=result.threshold,
            pixel_threshold=result.pixel_threshold,
            p=result.p,
            regions=result.regions,
            bundle=bundle.digest[:SHORT],
            drift="" if drift is None else drift.words,
            stages=dict(result.milliseconds),
        )
        return Inspection(decision, frame=frame, result=result, bundle=bundle, drift=drift)

    def cannot_judge(
        self, trigger: Trigger, *, recipe: str, reason: str, frame: NDArray[np.uint8] | None = None
    ) -> Inspection:
        """The decision on a trigger whose frame was lost, is damaged, or could not be scored."""
        return Inspection(self._without_result(trigger, CANNOT_JUDGE, recipe=recipe, reason=reason), frame=frame)

    def late(self, entry: Entry, *, recipe: str) -> Inspection:
        """The decision on a trigger whose deadline has passed."""
        trigger = entry.trigger
        within = f"{1000 * (trigger.deadline - trigger.at):.0f} ms"
        decision = self._without_result(
            trigger, LATE, recipe=recipe, reason=f"{entry.waits_for} within {within} of the trigger"
        )
        return Inspection(decision, frame=entry.frame)

    def _without_result(self, trigger: Trigger, verdict: str, *, recipe: str, reason: str) -> Decision:
        return Decision(
            line=self.line.name,
            trigger=trigger,
            verdict=verdict,
            gate=self._gate(verdict),
            reason=reason,
            recipe=recipe,
            decided=self.wall(),
            milliseconds=self._since(trigger),
        )

    def _gate(self, verdict: str) -> str:
        """What the gate does. Only a clear verdict moves it on its own; everything else goes the fail-safe way."""
        return {GOOD: PASS, DEFECT: REJECT}.get(verdict, self.line.fail_safe)

    def _since(self, trigger: Trigger) -> float:
        """Milliseconds since a trigger."""
        return 1000 * (self.clock() - trigger.at)
