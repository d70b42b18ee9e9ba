"""The record of a scored shot: the JSON object that `spade-edge score` prints."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.runtime.drift.change import Drift
from spade_edge.runtime.result import CANNOT_JUDGE
from spade_edge.tools.scoring.scored import Scored


def record(scored: Scored, *, live: bool, drift: Drift | None = None) -> dict[str, Any]:
    """The fields of one shot, as JSON values.

    Args:
        scored: the shot and its result.
        live: whether the source drops frames; the record then says how many.
        drift: how parts look different; None if they do not, or if nobody watches. The record then does not mention it.
    """
    shot, result, threshold = scored.shot, scored.result, scored.bundle.manifest.threshold
    taken = datetime.fromtimestamp(shot.time, timezone.utc)
    fields: dict[str, Any] = {"frame": shot.name, "time": taken.isoformat(timespec="milliseconds")}
    if shot.part is not None:
        fields["part"] = shot.part
    if live:
        fields["dropped"] = shot.dropped
    fields["bundle"] = scored.bundle.digest[:SHORT]
    fields |= {"score": None, "threshold": threshold.score, "pixel_threshold": threshold.pixel, "p": None}
    if result is None:
        nothing: dict[str, Any] = {"regions": [], "nearest": [], "pose": None, "condition": None, "milliseconds": {}}
        return fields | {"verdict": CANNOT_JUDGE, "reason": scored.fault} | nothing
    differs = {} if drift is None else {"drift": drift.to_json()}
    return (
        fields
        | {
            "score": result.score,
            "p": result.p,
            "verdict": result.verdict,
            "reason": result.reason,
            "regions": [asdict(region) for region in result.regions],
            "nearest": [match.to_json() for match in result.nearest],
            "pose": None if result.pose is None else asdict(result.pose),
            "condition": {name: round(value, 4) for name, value in result.condition.items()},
            "milliseconds": {stage: round(time, 3) for stage, time in result.milliseconds.items()},
            "provider": result.provider,
            "providers": {name: round(fraction, 4) for name, fraction in result.providers.items()},
        }
        | differs
    )
