"""The record of a scored shot: the JSON object that `spade-edge score` prints."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from spade_edge.runtime.bundle.threshold import Threshold
from spade_edge.runtime.result import CANNOT_JUDGE
from spade_edge.tools.scoring.scored import Scored


def record(scored: Scored, *, threshold: Threshold, live: bool) -> dict[str, Any]:
    """The fields of one shot, as JSON values.

    Args:
        scored: the shot and its result.
        threshold: of the bundle.
        live: whether the source drops frames; the record then says how many.
    """
    shot, result = scored.shot, scored.result
    taken = datetime.fromtimestamp(shot.time, timezone.utc)
    fields: dict[str, Any] = {"frame": shot.name, "time": taken.isoformat(timespec="milliseconds")}
    if shot.part is not None:
        fields["part"] = shot.part
    if live:
        fields["dropped"] = shot.dropped
    fields |= {"score": None, "threshold": threshold.score, "pixel_threshold": threshold.pixel, "p": None}
    if result is None:
        nothing: dict[str, Any] = {"regions": [], "nearest": [], "pose": None, "milliseconds": {}}
        return fields | {"verdict": CANNOT_JUDGE, "reason": scored.fault} | nothing
    return fields | {
        "score": result.score,
        "p": result.p,
        "verdict": result.verdict,
        "reason": result.reason,
        "regions": [asdict(region) for region in result.regions],
        "nearest": [match.to_json() for match in result.nearest],
        "pose": None if result.pose is None else asdict(result.pose),
        "milliseconds": {stage: round(time, 3) for stage, time in result.milliseconds.items()},
        "provider": result.provider,
        "providers": {name: round(fraction, 4) for name, fraction in result.providers.items()},
    }
