"""Leave-one-out scores: each good image is scored against all other parts, as a frame on the line would be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.disk import open_reserved
from spade_edge.galleries.left_out import LeftOut
from spade_edge.galleries.progress import Progress
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.matching.config import FROM_MAP
from spade_edge.runtime.matching.matcher import Matcher

FEW = 8  # with this many maps, half of their mean is taken as the baseline
MAPS = 16  # maps computed for the pixel threshold alone, where the image score needs none


@dataclass(frozen=True)
class LeaveOneOut:
    """What good images score when all images of their part are left out of the gallery.

    Attributes:
        scores: of every image.
        map_maxima: largest value of the anomaly map of every image; None for those without a map, where maps are slow.
        maps: (N, h, w) float32, the anomaly maps, in a file; None where scores do not need them.
        baseline: (h, w) float32, the anomaly map expected of a good frame; None where scores do not need it.
    """

    scores: tuple[float, ...]
    map_maxima: tuple[float | None, ...]
    maps: NDArray[np.float32] | None = None
    baseline: NDArray[np.float32] | None = None


def leave_one_out(
    matcher: Matcher,
    stitching: Stitching,
    *,
    groups: tuple[int, ...],
    included: NDArray[np.bool_],
    left_out: LeftOut | None = None,
    scratch: Path,
    progress: Progress,
) -> LeaveOneOut:
    """Score each good image with the matcher of the line, but without the images of its part in the gallery.

    Args:
        matcher: of a gallery of at least two images.
        stitching: turns distances into an anomaly map.
        groups: for each image, the number of the part that it shows. At least two parts are included.
        included: (N,) bool; the other images are scored as well, but no image is matched with them.
        left_out: the distances against the included images, if they are known; None to find them.
        scratch: a file that may hold the maps meanwhile.
        progress: wraps the images still to do, with a label.
    """
    count, parts = len(matcher.gallery), np.array(groups)

    def allowed(image: int) -> NDArray[np.bool_]:
        return included & (parts != parts[image])

    if matcher.matching.image_score == FROM_MAP:
        maps = open_reserved(scratch, np.float32, (count, *stitching.canvas.size))
        if left_out is not None:
            for image in range(count):
                maps[image] = stitching(left_out.of_image(image, matcher.gallery))
        else:
            for image in progress(range(count), "leave-one-out"):
                maps[image] = anomaly_map(matcher, stitching, image, allowed=allowed(image))
        return _over_baseline(maps, stitching, parts, included)
    # Scores from global descriptors cost nothing, so every image gets one. Maps may be slow here: a sample has to do.
    kept = np.flatnonzero(included)
    sample = np.unique(kept[np.linspace(0, len(kept) - 1, MAPS).round().astype(int)]).tolist()
    map_maxima: list[float | None] = [None] * count
    for image in progress(sample, "leave-one-out"):
        map_maxima[image] = float(anomaly_map(matcher, stitching, image, allowed=allowed(image)).max())
    scores = []
    for image in range(count):
        vectors = matcher.gallery.descriptors[image::count]
        own = allowed(image)
        scores.append(max(matcher.descriptor_score(v, view=i, allowed=own) for i, v in enumerate(vectors)))
    return LeaveOneOut(tuple(scores), tuple(map_maxima))


def anomaly_map(
    matcher: Matcher, stitching: Stitching, image: int, *, allowed: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The anomaly map of a good image that may be matched with the allowed images only, (h, w) float32."""
    gallery = matcher.gallery
    distances = []
    for view in range(gallery.views):
        distances.append(matcher.match_item(view * len(gallery) + image, view=view, allowed=allowed).distances)
    return stitching(distances)


def _over_baseline(
    maps: NDArray[np.float32], stitching: Stitching, groups: NDArray[np.int_], included: NDArray[np.bool_]
) -> LeaveOneOut:
    """Score each map after subtracting the baseline of the other parts.

    Good parts do not differ equally everywhere: edges of the image, folds and print vary more than the rest. The mean
    of a few maps is uncertain, so it is scaled down by `FEW`. A part counts once, with the mean of its maps.
    """
    parts = np.unique(groups[included])
    total = np.zeros(maps.shape[1:], np.float64)
    for part in parts:
        total += _mean(maps, included & (groups == part))
    fraction = len(parts) / (len(parts) + FEW)
    scores = np.zeros(len(maps))
    for group in np.unique(groups):
        others, count = total, len(parts)
        if group in parts:
            others, count = total - _mean(maps, included & (groups == group)), len(parts) - 1
        for image in np.flatnonzero(groups == group):
            scores[image] = stitching.score((maps[image] - fraction * others / count).astype(np.float32))
    return LeaveOneOut(
        scores=tuple(scores.tolist()),
        map_maxima=tuple(float(own.max()) for own in maps),
        maps=maps,
        baseline=(fraction * total / len(parts)).astype(np.float32),
    )


def _mean(maps: NDArray[np.float32], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray(maps[chosen].mean(axis=0, dtype=np.float64))
