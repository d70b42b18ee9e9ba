"""The threshold from good images alone: every one is scored against all the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.conformal import Limit, limit, lowest_rate, rate_of
from spade_edge.galleries.staging import open_reserved
from spade_edge.runtime import UsageError
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.bundle.threshold import BY_HAND, EXTRAPOLATED, Threshold
from spade_edge.runtime.matching.config import FROM_MAP
from spade_edge.runtime.matching.matcher import Matcher

FEW = 8  # maps whose mean is worth half
MAPS = 16  # maps made for the pixel threshold alone, where the image score does not need one


@dataclass(frozen=True)
class LeftOut:
    """What good images score with their own embeddings, and those of their duplicates, left out.

    Attributes:
        scores: of every image.
        peaks: largest values of maps; of every image, or of some where maps take long.
        expected: (h, w) float32, what the map of a good frame is expected to be; None where scores do not need it.
    """

    scores: tuple[float, ...]
    peaks: tuple[float, ...]
    expected: NDArray[np.float32] | None = None


def leave_one_out(
    matcher: Matcher,
    stitching: Stitching,
    *,
    duplicates: NDArray[np.bool_],
    scratch: Path,
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> LeftOut:
    """Score each good image as on the line, by the same matcher, but for what it may be matched with.

    Args:
        matcher: the gallery, at least two images, with the way to match.
        stitching: distances to heat map.
        duplicates: (N, N) bool, images that are left out together; true on the diagonal.
        scratch: a file that maps may be kept in meanwhile.
        progress: wraps the images still to do, e.g. tqdm.
    """
    count = len(matcher.gallery)
    if matcher.matching.image_score == FROM_MAP:
        maps = open_reserved(scratch, np.float32, (count, *stitching.canvas.size))
        for image in progress(range(count)):
            maps[image] = _heatmap(matcher, stitching, image, allowed=~duplicates[image])
        return _over_expected(maps, stitching, groups(duplicates))
    # An image score from vectors costs nothing, so all images get one; maps may be slow then, and a sample has to do.
    some = np.unique(np.linspace(0, count - 1, MAPS).round().astype(int)).tolist()
    peaks = [float(_heatmap(matcher, stitching, i, allowed=~duplicates[i]).max()) for i in progress(some)]
    scores = []
    for image in range(count):
        vectors = matcher.gallery.images[image::count]
        scores.append(max(matcher.vector_score(v, view=i, allowed=~duplicates[image]) for i, v in enumerate(vectors)))
    return LeftOut(tuple(scores), tuple(peaks))


def _heatmap(matcher: Matcher, stitching: Stitching, image: int, *, allowed: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The map of a good image that may be matched with some others only."""
    gallery = matcher.gallery
    distances = []
    for view in range(gallery.views):
        pyramid = gallery.pyramid(view * len(gallery) + image)
        (matches,) = matcher.matches([pyramid], views=[view], allowed=allowed)
        distances.append(matches.distances)
    return stitching(distances)


def _over_expected(maps: NDArray[np.float32], stitching: Stitching, duplicates: Sequence[Sequence[int]]) -> LeftOut:
    """Hold each map against the mean of the others.

    Good parts are not equally far from each other everywhere: edges of the picture, folds and print vary more than the
    rest. A few maps tell little of their mean, so it is taken down by `FEW`. Duplicates count as one, their mean.
    """
    distinct = kinds(len(maps), duplicates)
    total = np.zeros(maps.shape[1:], np.float64)
    for kind in distinct:
        total += maps[kind].mean(axis=0)
    share = len(distinct) / (len(distinct) + FEW)
    scores = np.zeros(len(maps))
    for kind in distinct:
        others = (total - maps[kind].mean(axis=0)) / (len(distinct) - 1)
        for image in kind:
            scores[image] = stitching.score((maps[image] - share * others).astype(np.float32))
    expected = (share * total / len(distinct)).astype(np.float32)
    return LeftOut(tuple(scores.tolist()), tuple(float(own.max()) for own in maps), expected)


def groups(duplicates: NDArray[np.bool_]) -> tuple[tuple[int, ...], ...]:
    """Put each image that is like an earlier one, the first of its group, to that; groups of two or more."""
    members: dict[int, list[int]] = {}
    for image, row in enumerate(duplicates):
        first = next((other for other in members if row[other]), image)
        members.setdefault(first, []).append(image)
    return tuple(tuple(group) for group in members.values() if len(group) > 1)


def calibrated(
    left_out: LeftOut,
    *,
    rate: float | None,
    area: float,
    duplicates: Sequence[Sequence[int]],
    now: str,
    reason: str = "",
) -> Threshold:
    """Find the thresholds for a false-reject rate.

    Of duplicates only the largest score counts: a part that was photographed ten times is one piece of evidence.

    Args:
        left_out: leave-one-out scores and peaks.
        rate: of good frames that may be rejected; None for the lowest that can be certified.
        area: of the smallest region that is reported, in pixels of the frame.
        duplicates: groups of image numbers.
        now: UTC, ISO 8601.
        reason: why, for people to read.

    Raises:
        UsageError: no such rate, or one that so few images do not even hint at.
    """
    scores = evidence(left_out.scores, duplicates)
    found = limit(scores, rate=rate)
    complete = len(left_out.peaks) == len(left_out.scores)
    peaks = evidence(left_out.peaks, duplicates) if complete else left_out.peaks
    wanted = lowest_rate(len(scores)) if rate is None else rate
    pixel = limit(peaks, rate=wanted if complete else max(wanted, lowest_rate(len(peaks))))
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
        peaks=left_out.peaks,
        duplicates=tuple(tuple(group) for group in duplicates),
    )


def recalibrated(threshold: Threshold, *, rate: float, now: str, reason: str) -> Threshold:
    """Choose another rate; see `calibrated`."""
    left_out = LeftOut(threshold.scores, threshold.peaks)
    duplicates = threshold.duplicates
    return calibrated(left_out, rate=rate, area=threshold.area, duplicates=duplicates, now=now, reason=reason)


def by_hand(
    threshold: Threshold, *, now: str, reason: str, score: float | None = None, pixel: float | None = None
) -> Threshold:
    """Set the threshold of scores, of pixels, or both; None leaves it.

    Raises:
        UsageError: a value that no score can be held against.
    """
    for value in (score, pixel):
        if value is not None and not np.isfinite(value):
            raise UsageError(f"expected a threshold that is a number, found {value:g}")
    if pixel is not None and pixel <= 0:
        raise UsageError(f"expected a threshold of the map over 0, found {pixel:g}")
    changed = replace(threshold, pixel=threshold.pixel if pixel is None else pixel, set=now, reason=reason)
    if score is None:
        return changed
    rate, interval = rate_of(evidence(threshold.scores, threshold.duplicates), score)
    return replace(changed, score=score, rate=rate, interval=interval, basis=BY_HAND, method="set by hand")


def evidence(values: Sequence[float], duplicates: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """One value for each group of duplicates, the largest, and those of all other images."""
    return tuple(max(values[image] for image in kind) for kind in kinds(len(values), duplicates))


def kinds(count: int, duplicates: Sequence[Sequence[int]]) -> list[list[int]]:
    """Images that repeat no other, each for itself, and the groups of those that do."""
    repeated = {image for group in duplicates for image in group}
    return [[image] for image in range(count) if image not in repeated] + [list(group) for group in duplicates]


def _method(found: Limit, count: int) -> str:
    if found.basis == EXTRAPOLATED:
        return f"exponential tail of {count} leave-one-out scores of good images"
    rank = round((count + 1) * (1 - found.rate))
    place = count + 1 - rank
    ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10 if place % 100 not in (11, 12, 13) else 0, "th")
    which = "largest" if place == 1 else f"{place}{ending} largest"
    return f"{which} of {count} leave-one-out scores of good images"
