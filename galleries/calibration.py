"""The threshold from the leave-one-out scores of good images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spade_edge.galleries.conformal import Limit, limit, lowest_rate, rate_of
from spade_edge.galleries.duplicates import distinct
from spade_edge.galleries.leave_one_out import LeaveOneOut
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.threshold import EXTRAPOLATED, MANUAL, Threshold

RATES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)  # listed for comparison


def calibrated(
    left_out: LeaveOneOut,
    *,
    rate: float | None,
    area: float,
    duplicates: Sequence[Sequence[int]],
    now: str,
    reason: str = "",
) -> Threshold:
    """Find the thresholds for a false-reject rate.

    Only the largest score of a group of duplicates counts: a part photographed ten times is one piece of evidence.

    Args:
        left_out: leave-one-out scores and map maxima.
        rate: fraction of good frames that may be rejected; None for the lowest that can be certified.
        area: of the smallest region that is reported, in frame pixels.
        duplicates: groups of image numbers.
        now: UTC, ISO 8601.
        reason: why, for people to read.

    Raises:
        UsageError: a rate out of range, or too low to be extrapolated from so few images.
    """
    scores = evidence(left_out.scores, duplicates)
    found = limit(scores, rate=rate)
    complete = len(left_out.map_maxima) == len(left_out.scores)
    map_maxima = evidence(left_out.map_maxima, duplicates) if complete else left_out.map_maxima
    wanted = lowest_rate(len(scores)) if rate is None else rate
    pixel = limit(map_maxima, rate=wanted if complete else max(wanted, lowest_rate(len(map_maxima))))
    return Threshold(
        score=found.value,
        pixel=pixel.value,
        area=area,
        rate=found.rate,
        interval=found.interval,
        basis=found.basis,
        method=_method(found, len(scores)),
        set=now,
        reason=reason,
        scores=left_out.scores,
        map_maxima=left_out.map_maxima,
        duplicates=tuple(tuple(group) for group in duplicates),
    )


def recalibrated(threshold: Threshold, *, rate: float, now: str, reason: str) -> Threshold:
    """Choose another rate; see `calibrated`."""
    left_out = LeaveOneOut(threshold.scores, threshold.map_maxima)
    duplicates = threshold.duplicates
    return calibrated(left_out, rate=rate, area=threshold.area, duplicates=duplicates, now=now, reason=reason)


def alternatives(threshold: Threshold) -> list[Threshold]:
    """The thresholds for other rates, `RATES`, as far as the good images are enough for them."""
    found: list[Threshold] = []
    for rate in RATES:
        try:
            found.append(recalibrated(threshold, rate=rate, now="", reason=""))
        except UsageError:
            break  # too few images to extrapolate; lower rates would need even more
    return found


def manual(
    threshold: Threshold, *, now: str, reason: str, score: float | None = None, pixel: float | None = None
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
    rate, interval = rate_of(evidence(threshold.scores, threshold.duplicates), score)
    return replace(changed, score=score, rate=rate, interval=interval, basis=MANUAL, method="set manually")


def evidence(values: Sequence[float], duplicates: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """One value for each distinct part: the largest of a group of duplicates, and those of all other images."""
    return tuple(max(values[image] for image in part) for part in distinct(len(values), duplicates))


def _method(found: Limit, count: int) -> str:
    if found.basis == EXTRAPOLATED:
        return f"exponential tail of {count} leave-one-out scores of good images"
    rank = round((count + 1) * (1 - found.rate))
    place = count + 1 - rank
    ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10 if place % 100 not in (11, 12, 13) else 0, "th")
    which = "largest" if place == 1 else f"{place}{ending} largest"
    return f"{which} of {count} leave-one-out scores of good images"
