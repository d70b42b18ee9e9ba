"""Leave-one-out scores: each good image is scored against all the others, as a frame on the line would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.disk import open_reserved
from spade_edge.galleries.duplicates import distinct, groups
from spade_edge.galleries.progress import Progress
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.matching.config import FROM_MAP
from spade_edge.runtime.matching.matcher import Matcher

FEW = 8  # with this many maps, half of their mean is taken as the baseline
MAPS = 16  # maps computed for the pixel threshold alone, where the image score needs none


@dataclass(frozen=True)
class LeaveOneOut:
    """What good images score when they and their duplicates are left out of the gallery.

    Attributes:
        scores: of every image.
        map_maxima: largest value of the anomaly map of every image, or of a sample where maps are slow.
        baseline: (h, w) float32, the anomaly map expected of a good frame; None where scores do not need it.
    """

    scores: tuple[float, ...]
    map_maxima: tuple[float, ...]
    baseline: NDArray[np.float32] | None = None


def leave_one_out(
    matcher: Matcher,
    stitching: Stitching,
    *,
    duplicates: NDArray[np.bool_],
    scratch: Path,
    progress: Progress,
) -> LeaveOneOut:
    """Score each good image with the matcher of the line, but without itself and its duplicates in the gallery.

    Args:
        matcher: of a gallery of at least two images.
        stitching: turns distances into an anomaly map.
        duplicates: (N, N) bool, images that are left out together; true on the diagonal.
        scratch: a file that may hold the maps meanwhile.
        progress: wraps the images still to do, with a label.
    """
    count = len(matcher.gallery)
    if matcher.matching.image_score == FROM_MAP:
        maps = open_reserved(scratch, np.float32, (count, *stitching.canvas.size))
        for image in progress(range(count), "leave-one-out"):
            maps[image] = _anomaly_map(matcher, stitching, image, allowed=~duplicates[image])
        return _over_baseline(maps, stitching, groups(duplicates))
    # Scores from global descriptors cost nothing, so every image gets one. Maps may be slow here: a sample has to do.
    sample = np.unique(np.linspace(0, count - 1, MAPS).round().astype(int)).tolist()
    map_maxima = [
        float(_anomaly_map(matcher, stitching, image, allowed=~duplicates[image]).max())
        for image in progress(sample, "leave-one-out")
    ]
    scores = []
    for image in range(count):
        vectors = matcher.gallery.descriptors[image::count]
        scores.append(
            max(matcher.descriptor_score(v, view=i, allowed=~duplicates[image]) for i, v in enumerate(vectors))
        )
    return LeaveOneOut(tuple(scores), tuple(map_maxima))


def _anomaly_map(
    matcher: Matcher, stitching: Stitching, image: int, *, allowed: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The anomaly map of a good image that may be matched with the allowed images only."""
    gallery = matcher.gallery
    distances = []
    for view in range(gallery.views):
        pyramid = gallery.pyramid(view * len(gallery) + image)
        (matches,) = matcher.match([pyramid], views=[view], allowed=allowed)
        distances.append(matches.distances)
    return stitching(distances)


def _over_baseline(maps: NDArray[np.float32], stitching: Stitching, duplicates: Sequence[Sequence[int]]) -> LeaveOneOut:
    """Score each map after subtracting the baseline of the others.

    Good parts do not differ equally everywhere: edges of the image, folds and print vary more than the rest. The mean
    of a few maps is uncertain, so it is scaled down by `FEW`. Duplicates count once, with their mean.
    """
    parts = distinct(len(maps), duplicates)
    total = np.zeros(maps.shape[1:], np.float64)
    for part in parts:
        total += maps[part].mean(axis=0)
    fraction = len(parts) / (len(parts) + FEW)
    scores = np.zeros(len(maps))
    for part in parts:
        others = (total - maps[part].mean(axis=0)) / (len(parts) - 1)
        for image in part:
            scores[image] = stitching.score((maps[image] - fraction * others).astype(np.float32))
    baseline = (fraction * total / len(parts)).astype(np.float32)
    return LeaveOneOut(tuple(scores.tolist()), tuple(float(own.max()) for own in maps), baseline)
