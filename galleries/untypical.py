"""Which good images resemble the others least: a defect among them, another part, a bad picture.

A single odd image has a high leave-one-out score. Several that are alike match each other, so their scores are lower.
Therefore the images that look untypical are set aside and all images are scored once more against the rest. Those that
only resembled the images set aside now score high too. Where none looks untypical, nothing is scored again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.leave_one_out import LeaveOneOut
from spade_edge.runtime.anomaly_map.regions import Blob, worst_blob
from spade_edge.runtime.geometry.layout import Canvas

ROUNDS = 2  # times that all images are scored again; a third time found hardly any more
SPREADS = 2.5  # robust standard deviations over the median, beyond which an image is worth a look
FEW = 4  # with this many parts twice as far, because median and spread of a few scores are uncertain
LEAST = 0.05  # of the median, the least spread: scores that hardly differ are all typical
MOST = 1 / 3  # fraction of the parts that may be set aside
NORMAL = 1.4826, 1.2533  # median and mean absolute deviation of a normal distribution are so many times smaller than σ

PLACES = (
    ("at the upper left", "at the top", "at the upper right"),
    ("at the left", "in the middle", "at the right"),
    ("at the lower left", "at the bottom", "at the lower right"),
)

Rescored = Callable[[NDArray[np.bool_]], LeaveOneOut]


@dataclass(frozen=True)
class Untypical:
    """How little a good image resembles the others.

    Attributes:
        value: 0 for a score as good images usually have, 1 at the limit above which the image is worth a look.
        region: where it differs most, (x, y, width, height) as fractions of the frame; None where scores need no map.
        reason: what is untypical about it, in words; empty for a value of 1 or less.
    """

    value: float
    region: tuple[float, float, float, float] | None
    reason: str


def untypical(
    left_out: LeaveOneOut,
    *,
    groups: Sequence[int],
    included: NDArray[np.bool_],
    canvas: Canvas,
    rescored: Rescored,
) -> tuple[Untypical, ...]:
    """Find how untypical each good image is, not misled by untypical images that are alike.

    Args:
        left_out: leave-one-out scores of all images, against those included.
        groups: for each image, the number of the part that it shows.
        included: (N,) bool; the other images are judged as well, but they count for nothing.
        canvas: places the anomaly map on the frame.
        rescored: scores all images again, against some (N,) bool only; at most `ROUNDS` times, and not at all where
            scores come without maps: they are means over many images, and maps may be slow.
    """
    parts = np.array(groups)
    usual = _Usual.of(left_out.scores, parts, included)
    at_first = values = usual.values(left_out.scores)
    aside = np.zeros(len(parts), bool)
    for _ in range(0 if left_out.maps is None else ROUNDS):
        suspected = _suspected(values, parts, included)
        if not suspected.any() or (suspected == aside).all():
            break
        aside = suspected
        left_out = rescored(included & ~aside)
        again = _Usual.of(left_out.scores, parts, included & ~aside)
        usual = again if again.margin > 0 else usual  # the others may all be equal
        values = usual.values(left_out.scores)
    found = []
    for image, value in enumerate(values.tolist()):
        worst = _worst(left_out, image)
        reason = ""
        if value > 1:
            reason = _reason(worst, canvas, times=usual.times(left_out.scores[image]), masked=at_first[image] <= 1)
        found.append(Untypical(value=value, region=_region(worst, canvas), reason=reason))
    return tuple(found)


@dataclass(frozen=True)
class _Usual:
    """The scores of typical images.

    Attributes:
        median: of the parts.
        margin: what an image may score above it.
    """

    median: float
    margin: float

    @classmethod
    def of(cls, scores: Sequence[float], parts: NDArray[np.int_], counted: NDArray[np.bool_]) -> _Usual:
        """Learn from the images that are counted. A part counts once, with its largest score."""
        own = np.asarray(scores, np.float64)
        largest = np.array([own[counted & (parts == part)].max() for part in np.unique(parts[counted])])
        return cls(median=float(np.median(largest)), margin=SPREADS * (1 + FEW / len(largest)) * spread_of(largest))

    def values(self, scores: Sequence[float]) -> NDArray[np.float64]:
        """See `Untypical.value`; 0 for all if all scores are equal."""
        above = np.asarray(scores, np.float64) - self.median
        return above / self.margin if self.margin > 0 else np.zeros_like(above)

    def times(self, score: float) -> float | None:
        """How many times the usual score; None where that says nothing."""
        return score / self.median if 0 < self.median < score else None


def spread_of(scores: NDArray[np.float64]) -> float:
    """A robust standard deviation of scores, one of each part."""
    median = float(np.median(scores))
    off = np.abs(scores - median)
    spread = max(NORMAL[0] * float(np.median(off)), LEAST * abs(median))
    return spread if spread > 0 else NORMAL[1] * float(off.mean())  # most are equal


def _suspected(values: NDArray[np.float64], parts: NDArray[np.int_], included: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The included images above the limit, those of the most untypical parts if that were too many: (N,) bool."""
    suspected = included & (values > 1)
    order = np.argsort(-values, kind="stable")
    ranked = list(dict.fromkeys(parts[order][suspected[order]].tolist()))
    most = int(MOST * len(np.unique(parts[included])))
    return np.asarray(suspected & np.isin(parts, ranked[:most]))


def _worst(left_out: LeaveOneOut, image: int) -> Blob | None:
    """Where the map of an image is furthest over its baseline; None without a map, or if it is nowhere over it."""
    if left_out.maps is None or left_out.baseline is None:
        return None
    heatmap = np.asarray(left_out.maps[image])
    return next(iter(worst_blob(heatmap, heatmap - left_out.baseline)), None)


def _region(worst: Blob | None, canvas: Canvas) -> tuple[float, float, float, float] | None:
    """The box of a part of the map as fractions of the frame."""
    if worst is None:
        return None
    left, top, wide, high = canvas.extent((1, 1))
    rows, columns = canvas.size
    x, y, width, height = worst.box
    return left + x * wide / columns, top + y * high / rows, width * wide / columns, height * high / rows


def _reason(worst: Blob | None, canvas: Canvas, *, times: float | None, masked: bool) -> str:
    """Why an image is untypical, for people to read."""
    score = "scores higher than good images usually do"
    if times is not None:
        score = f"scores {times:.1f} times as high as good images usually do"
    if masked:
        score += ", once images that are untypical in the same way are left out"
    region = _region(worst, canvas)
    if worst is None or region is None:
        return score
    x, y, width, height = region
    row, column = (min(int(3 * centre), 2) for centre in (y + height / 2, x + width / 2))
    share = worst.area * canvas.pixel_area((1, 1))
    size = f"{share:.0%}" if share >= 0.01 else "less than 1%"
    return f"differs most {PLACES[row][column]}, in {size} of the frame; {score}"
