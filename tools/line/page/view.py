"""The line as the page shows it: figures, and what they mean in words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from spade_edge.tools.drawing.overlay import figure
from spade_edge.tools.line.configuration.options import MESSAGE, LineConfiguration
from spade_edge.tools.line.decision import LATE
from spade_edge.tools.line.page.memory import Memory
from spade_edge.tools.line.page.rejects import Reject
from spade_edge.tools.line.state import HUNG, WELL, CameraState, LineState

BARS = 32  # of the histogram
SILENT = 3.0  # seconds without a heartbeat of the service after which it must not be believed, at least
BAD, WARNING = "bad", "warning"


def line_view(state: LineState, *, configuration: LineConfiguration, memory: Memory) -> dict[str, Any]:
    """Everything that the page shows of the line, as JSON values."""
    silent = memory.silent
    dead = is_silent(silent, configuration)
    return {
        "line": state.line,
        "software": state.version,
        "started": state.started,
        "at": state.at,
        "beat": state.beat,
        "silent": dead,
        "troubles": _troubles(state, silent if dead else None),
        "cameras": [_camera(camera, configuration, memory) for camera in state.cameras],
        "outputs": [
            {
                "name": one.name,
                "kind": one.kind,
                "state": one.health.state,
                "words": one.health.words,
                "since": one.health.since,
                "sent": one.sent,
                "lost": one.lost,
                "waiting": one.waiting,
            }
            for one in state.outputs
        ],
        "rejected": memory.rejected,
    }


def is_silent(silent: float | None, configuration: LineConfiguration) -> bool:
    """Whether the service has given no sign of life for so long that what is shown may be old."""
    return silent is not None and silent > max(SILENT, configuration.line.silence_s)


def reject_view(reject: Reject, *, teachable: bool) -> dict[str, Any]:
    """A part that was not good, as JSON values.

    Args:
        reject: the part.
        teachable: whether its frame may be taught in.
    """
    decision = reject.decision
    fields = ("camera", "number", "trigger", "verdict", "gate", "reason", "recipe", "triggered")
    return {
        "id": reject.id,
        **{name: decision[name] for name in fields},
        "score": _figure(decision.get("score")),
        "threshold": _figure(decision.get("threshold")),
        "pictured": reject.pictured,
        "teachable": teachable,
    }


def p_words(p: float) -> str:
    """What a p-value means: of so many good parts, how many score as high."""
    if p >= 0.995:
        return "good parts score as high, or higher"
    if p >= 0.01:
        return f"at most {math.ceil(round(100 * p, 6))} of 100 good parts score as high"
    return f"at most {max(1, math.ceil(round(1000 * p, 6)))} of 1,000 good parts score as high"


def _troubles(state: LineState, silent: float | None) -> list[dict[str, str]]:
    """What is wrong, the worst first, each in a sentence."""
    bad, less = [], []
    if silent is not None:
        bad.append(f"The service has given no sign of life for {silent:.0f} s: what is shown here is old.")
    for camera in state.cameras:
        if camera.health.state != WELL:
            how = "hangs" if camera.health.state == HUNG else "has a fault"
            bad.append(f"Camera {camera.name} {how}: {_sentence(camera.health.words)}")
        if camera.refused:
            less.append(f"The new bundle of camera {camera.name} is not used: {_sentence(camera.refused)}")
        if camera.drift:
            less.append(f"Camera {camera.name}: {_sentence(camera.drift)}")
    for output in state.outputs:
        if output.health.state != WELL:
            less.append(f"Output {output.name}: {_sentence(output.health.words)}")
    if state.news:
        less.insert(0, _sentence(state.news))
    return [{"level": BAD, "words": words} for words in bad] + [{"level": WARNING, "words": words} for words in less]


def _camera(camera: CameraState, configuration: LineConfiguration, memory: Memory) -> dict[str, Any]:
    options = configuration.cameras.get(camera.name)
    return {
        "name": camera.name,
        "state": camera.health.state,
        "words": camera.health.words,
        "since": camera.health.since,
        "recipe": camera.recipe,
        "recipes": list(camera.recipes),
        "by_message": options is not None and options.trigger == MESSAGE,
        "deadline_ms": None if options is None else options.deadline_ms,
        "triggers": camera.triggers,
        "counts": dict(camera.counts),
        "rejected": camera.rejected,
        "waiting": camera.waiting,
        "bundle": camera.bundle,
        "certificate": camera.certificate,
        "refused": camera.refused,
        "drift": camera.drift,
        "milliseconds": {"p50": camera.p50, "p99": camera.p99, "longest": camera.longest},
        "hours": memory.hours(camera.name),
        "histogram": _histogram(camera, memory),
        "shown": _shown(camera, memory),
    }


def _shown(camera: CameraState, memory: Memory) -> dict[str, Any] | None:
    found = memory.shown(camera.name)
    if found is None:
        return None
    number, shown = found
    decision = shown.decision
    return {
        "picture": number,
        "pictured": shown.pictured,
        "number": decision.trigger.number,
        "trigger": decision.trigger.id,
        "verdict": decision.verdict,
        "gate": decision.gate,
        "reason": decision.reason if decision.verdict != LATE or decision.reason else "no verdict by the deadline",
        "recipe": decision.recipe,
        "decided": decision.decided,
        "milliseconds": decision.milliseconds,
        "score": _figure(decision.score),
        "threshold": _figure(decision.threshold),
        "share": _share(decision.score, decision.threshold),
        "p": "" if decision.p is None else p_words(decision.p),
        "regions": len(decision.regions),
        "drift": decision.drift,
    }


def _histogram(camera: CameraState, memory: Memory) -> dict[str, Any] | None:
    """The latest scores of the product that is chosen, in bars of equal width; None before the first."""
    scores = np.array([one.score for one in memory.scores(recipe=camera.recipe, camera=camera.name)], np.float64)
    scores = scores[np.isfinite(scores)]
    if not scores.size or not math.isfinite(camera.threshold):
        return None
    # One extreme score must not press all others into a single bar.
    low = float(min(scores.min(), camera.threshold))
    high = float(max(camera.threshold, min(scores.max(), camera.threshold + 2 * max(camera.threshold - low, 1e-9))))
    if high <= low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    margin = 0.05 * (high - low)
    low, high = low - margin, high + margin
    beyond = bool(scores.max() > high)
    counts, _ = np.histogram(np.clip(scores, low, high), bins=BARS, range=(low, high))
    return {
        "counts": counts.tolist(),
        "parts": int(scores.size),
        "over": int((scores > camera.threshold).sum()),
        "threshold": (camera.threshold - low) / (high - low),
        "words": {
            "low": figure(low),
            "threshold": figure(camera.threshold),
            "high": figure(high) + (" and more" if beyond else ""),
        },
    }


def _share(score: float | None, threshold: float | None) -> float | None:
    """Where a score stands on a bar in whose middle the threshold is, 0 to 1."""
    if score is None or threshold is None or not math.isfinite(score) or not math.isfinite(threshold) or not threshold:
        return None
    return min(1.0, max(0.0, 0.5 + 0.5 * (score - threshold) / abs(threshold)))


def _figure(value: Any) -> str:
    return figure(float(value)) if isinstance(value, (int, float)) else ""


def _sentence(words: str) -> str:
    return words if words.endswith((".", "!", "?")) else f"{words}."
