"""The thresholds to choose from, and what each of them means in false rejects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spade_edge.galleries.advice import choices
from spade_edge.galleries.calibration import calibrated
from spade_edge.galleries.conformal import Limit, limit
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.bundle.threshold import EXTRAPOLATED, Threshold
from spade_edge.tools.drawing.overlay import figure
from spade_edge.tools.line.page.memory import Scored

HIGHEST = 0.25  # false-reject rate that is offered
RANKS = 16  # certified rates that are offered beside the round ones


@dataclass(frozen=True)
class Stop:
    """A threshold to choose.

    Attributes:
        rate: the false-reject rate to ask for; None for the threshold in force, where no rate leads to it.
        threshold: as it would be.
        in_force: whether it is the one in force.
    """

    rate: float | None
    threshold: Threshold
    in_force: bool


def stops(manifest: Manifest) -> list[Stop]:
    """The thresholds to choose from, the lowest first: it rejects most."""
    now, evidence = manifest.threshold, manifest.evidence
    found: dict[float, Limit] = {}
    for choice in (*choices(evidence), *_ranks(manifest)):
        found.setdefault(choice.value, choice)
    made = []
    for choice in sorted(found.values(), key=lambda one: one.value):
        threshold = calibrated(evidence, rate=choice.rate, area=now.area, now=now.set, reason="", source=now.source)
        made.append(Stop(choice.rate, threshold, in_force=threshold.score == now.score))
    if not any(stop.in_force for stop in made):
        made.append(Stop(None, now, in_force=True))
        made.sort(key=lambda stop: stop.threshold.score)
    return made


def stops_view(manifest: Manifest, scored: Sequence[Scored]) -> dict[str, Any]:
    """The thresholds to choose from with what each means, as JSON values.

    Args:
        manifest: of the bundle in force.
        scored: the latest judged parts of its recipe.
    """
    return {
        "parts": len(scored),
        "score": figure(manifest.threshold.score),
        "sentence": manifest.threshold.sentence(),
        "caution": manifest.threshold.caution(),
        "stops": [_stop(stop, scored, manifest.threshold.score) for stop in stops(manifest)],
    }


def of_thousand(rate: float) -> str:
    """A rate as parts of 1,000, or of 100,000 if it is low."""
    if rate >= 0.001:
        return f"{math.ceil(round(1000 * rate, 6)):,} of 1,000"
    return f"{math.ceil(round(100_000 * rate, 6)):,} of 100,000"


def _stop(stop: Stop, scored: Sequence[Scored], now: float) -> dict[str, Any]:
    threshold = stop.threshold
    to_good, to_defect = changed(scored, threshold.score, than=now)
    about = "about" if threshold.basis == EXTRAPOLATED else "at most"
    return {
        "rate": stop.rate,
        "score": figure(threshold.score),
        "in_force": stop.in_force,
        "basis": threshold.basis,
        "words": f"{about} {of_thousand(threshold.rate)} good parts rejected",
        "sentence": threshold.sentence(),
        "to_good": to_good,
        "to_defect": to_defect,
    }


def changed(scored: Iterable[Scored], score: float, *, than: float) -> tuple[int, int]:
    """How many parts are good with a threshold and not with another one, and how many are defects.

    Args:
        scored: the parts.
        score: the threshold.
        than: the other one.
    """
    pairs = [(one.score > score, one.score > than) for one in scored]
    then, now = np.array(pairs, bool).reshape(-1, 2).T
    return int((now & ~then).sum()), int((then & ~now).sum())


def _ranks(manifest: Manifest) -> Iterable[Limit]:
    """Thresholds at the scores of single parts: the rates that are certified."""
    parts = manifest.evidence.parts
    most = max(1, int(HIGHEST * (parts + 1)))
    over = sorted({round(one) for one in np.geomspace(1, most, RANKS)})
    for count in over:
        try:
            yield limit(manifest.evidence, rate=min(count / (parts + 1), 0.999))
        except UsageError:
            continue
