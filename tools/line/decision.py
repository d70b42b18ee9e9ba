"""The decision on one trigger: what goes to the reject gate, to the control room and into the files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import FrameResult
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.drift.change import Drift
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD, Region
from spade_edge.tools.line.trigger import Trigger

VERSION = 1  # of the fields of a decision; a field may be added without a new one
LATE = "late"
DECISIONS = (GOOD, DEFECT, CANNOT_JUDGE, LATE)


@dataclass(frozen=True)
class Decision:
    """What was decided on one trigger. There is exactly one for each trigger.

    Attributes:
        line: name of the line.
        trigger: what was decided on.
        verdict: "good", "defect", "cannot_judge" or "late": no verdict by the deadline.
        gate: "pass" or "reject": what the gate has to do.
        reason: one short sentence why the verdict is not good; empty if it is.
        recipe: name of the product that it was judged as.
        decided: when, in seconds since 1970, UTC.
        milliseconds: from the trigger to the decision.
        score, threshold, pixel_threshold, p: as in `FrameResult`; None where no frame was judged.
        regions: parts of the frame above the pixel threshold, worst first.
        bundle: first 16 hexadecimal digits of the SHA-256 of the bundle's manifest; empty where no frame was judged.
        drift: how parts look different from the first ones; empty if they do not.
        stages: milliseconds by stage of scoring.
        test: whether this is a test message, and there is no part.
    """

    line: str
    trigger: Trigger
    verdict: str
    gate: str
    reason: str
    recipe: str
    decided: float
    milliseconds: float
    score: float | None = None
    threshold: float | None = None
    pixel_threshold: float | None = None
    p: float | None = None
    regions: tuple[Region, ...] = ()
    bundle: str = ""
    drift: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    test: bool = False

    def to_json(self) -> dict[str, Any]:
        """The payload of every output: JSON values, documented in docs/line.md."""
        fields: dict[str, Any] = {
            "version": VERSION,
            "line": self.line,
            "camera": self.trigger.camera,
            "number": self.trigger.number,
            "trigger": self.trigger.id,
            "triggered": _time(self.trigger.time),
            "decided": _time(self.decided),
            "milliseconds": round(self.milliseconds, 3),
            "verdict": self.verdict,
            "gate": self.gate,
            "reason": self.reason,
            "recipe": self.recipe,
            "score": self.score,
            "threshold": self.threshold,
            "pixel_threshold": self.pixel_threshold,
            "p": self.p,
            "regions": [asdict(region) for region in self.regions],
            "bundle": self.bundle,
            "drift": self.drift,
            "stages": {stage: round(time, 3) for stage, time in self.stages.items()},
        }
        return fields | {"test": True} if self.test else fields


@dataclass(frozen=True, eq=False)
class Inspection:
    """A decision with the frame that it is about, for those who look at pictures: the evidence and the page.

    Attributes:
        decision: the decision.
        frame: (H, W, 3) uint8 BGR or (H, W) uint8 grey; None if none came by the deadline.
        result: of scoring it; None if it was not scored by the deadline.
        bundle: that judged it; None if none did.
        drift: how parts look different; None if they do not.
    """

    decision: Decision
    frame: NDArray[np.uint8] | None = None
    result: FrameResult | None = None
    bundle: Bundle | None = None
    drift: Drift | None = None


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
