"""The threshold from good images alone: every one is scored against all the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from spade_edge.runtime.heatmap import Stitching
from spade_edge.runtime.manifest import Threshold
from spade_edge.runtime.matcher import FROM_MAP, Matcher

MAPS = 16  # maps made for the pixel threshold alone, where the image score does not need one


def leave_one_out(
    matcher: Matcher, stitching: Stitching, *, progress: Callable[[Iterable[int]], Iterable[int]]
) -> Threshold:
    """Score each good image with its own embeddings left out, and take the largest score as the threshold.

    The frame is judged as on the line, by the same matcher; only the image itself may not be matched. No rate of false
    rejects is promised for the largest of N scores beyond the exchangeability bound of 1 in N + 1: it is uncalibrated.

    Args:
        matcher: the gallery, at least two images, with the way to match.
        stitching: distances to heat map.
        progress: wraps the images still to do, e.g. tqdm.
    """
    gallery = matcher.gallery
    count, views = len(gallery), range(gallery.views)
    from_map = matcher.matching.image_score == FROM_MAP
    # An image score from vectors costs nothing, so all images get one; maps may be slow then, and a sample has to do.
    mapped = np.arange(count) if from_map else np.linspace(0, count - 1, MAPS).round().astype(int)
    mapped = np.unique(mapped)
    others = ~np.eye(count, dtype=bool)
    scores, peaks = {}, []
    for image in progress(mapped.tolist()):
        distances = []
        for view in views:
            pyramid = gallery.pyramid(view * count + image)
            (matches,) = matcher.matches([pyramid], views=[view], allowed=others[image])
            distances.append(matches.distances)
        heatmap = stitching(distances)
        peaks.append(float(heatmap.max()))
        scores[image] = stitching.score(heatmap)
    if not from_map:
        for image in range(count):
            vectors = [(view, gallery.images[view * count + image]) for view in views]
            scores[image] = max(
                matcher.vector_score(vector, view=view, allowed=others[image]) for view, vector in vectors
            )
    ordered = tuple(scores[i] for i in range(count))
    return Threshold(
        score=max(ordered),
        pixel=max(peaks),
        method="largest leave-one-out score of the good images",
        calibrated=False,
        scores=ordered,
        maps=len(mapped),
    )
