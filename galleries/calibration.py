"""The threshold from the scores of good parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spade_edge.galleries.conformal import Limit, limit, lowest_rate, parts_over, rate_of
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.evidence import BOTH, FRAMES, IMAGES, Evidence
from spade_edge.runtime.bundle.threshold import EXTRAPOLATED, MANUAL, Threshold

USUAL = 0.05
_SCORES = {
    IMAGES: "leave-one-out scores of good images",
    FRAMES: "scores of held-back frames",
    BOTH: "scores of good images and held-back frames",
}


def calibrated(
    evidence: Evidence, *, rate: float | None, area: float, now: str, reason: str = "", source: str = IMAGES
) -> Threshold:
    """Find the thresholds for a false-reject rate.

    Args:
        evidence: scores and map maxima of good parts.
        rate: fraction of good frames that may be rejected; None for `usual_rate`.
        area: of the smallest region that is reported, in frame pixels.
        now: UTC, ISO 8601.
        reason: why, for people to read.
        source: where the evidence comes from; see `Threshold`.

    Raises:
        UsageError: a rate out of range, or too low to be extrapolated from so few parts.
    """
    wanted = usual_rate(evidence.parts) if rate is None else rate
    found = limit(evidence, rate=wanted)
    maps = evidence.of_maps
    complete = maps.parts == evidence.parts
    pixel = limit(maps, rate=wanted if complete else max(wanted, lowest_rate(maps.parts)))
    return Threshold(
        score=found.value,
        pixel=pixel.value,
        area=area,
        rate=found.rate,
        interval=found.interval,
        basis=found.basis,
        method=_method(found, evidence, source),
        set=now,
        reason=reason,
        source=source,
        parts=evidence.parts,
        wanted=rate,
    )


def again(threshold: Threshold, evidence: Evidence, *, now: str) -> Threshold:
    """The threshold for changed evidence, as the user wanted the former one: by a rate, by default or manually.

    Raises:
        UsageError: as for `calibrated`.
    """
    if threshold.basis == MANUAL:
        rate, interval = rate_of(evidence, threshold.score)
        return replace(threshold, rate=rate, interval=interval, parts=evidence.parts)
    return calibrated(
        evidence,
        rate=threshold.wanted,
        area=threshold.area,
        now=now,
        reason=threshold.reason,
        source=threshold.source,
    )


def usual_rate(parts: int) -> float:
    """The rate of a threshold that nobody asked for: a twentieth, or the lowest that so few parts can certify.

    It is settled before the scores are seen, so it is kept. At the lowest rate the largest score alone would decide,
    and one odd image among the good ones would let many defects pass.
    """
    return max(USUAL, lowest_rate(parts))


def manual(
    threshold: Threshold,
    evidence: Evidence,
    *,
    now: str,
    reason: str,
    score: float | None = None,
    pixel: float | None = None,
) -> Threshold:
    """Set the score threshold, the pixel threshold, or both; None leaves a value as it is.

    Raises:
        UsageError: a value that is not finite, or a pixel threshold that is not over 0.
    """
    for value in (score, pixel):
        if value is not None and not np.isfinite(value):
            raise UsageError(f"expected a finite number as the threshold, found {value:g}")
    if pixel is not None and pixel <= 0:
        raise UsageError(f"expected a pixel threshold over 0, found {pixel:g}")
    changed = replace(threshold, pixel=threshold.pixel if pixel is None else pixel, set=now, reason=reason)
    if score is None:
        return changed
    rate, interval = rate_of(evidence, score)
    return replace(changed, score=score, rate=rate, interval=interval, basis=MANUAL, method="set manually", wanted=None)


def _method(found: Limit, evidence: Evidence, source: str) -> str:
    if found.basis == EXTRAPOLATED:
        return f"exponential tail of {evidence.parts} {_SCORES[source]}"
    higher = parts_over(evidence, found.value)
    if len(evidence.scores) > evidence.parts:
        return f"{higher:.3g} of {evidence.parts} parts higher, by {len(evidence.scores)} {_SCORES[source]}"
    place = int(higher) + 1
    ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10 if place % 100 not in (11, 12, 13) else 0, "th")
    which = "largest" if place == 1 else f"{place}{ending} largest"
    return f"{which} of {evidence.parts} {_SCORES[source]}"
