"""The approximate search of a bundle, compared with exact search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import Scorer
from spade_edge.runtime.matching.config import EXACT, FROM_MAP
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.network.pyramid import Pyramid
from spade_edge.runtime.preprocessing.moved import Moved

SECONDS = 40.0  # that exact search takes, about; fewer frames, and then fewer images, are compared to keep to it
PROBED = 2  # images with which the time of exact search is measured


@dataclass(frozen=True)
class Recall:
    """The approximate search compared with exact search, on the same codes.

    Attributes:
        frames: number of frames compared.
        images: number of good images, drawn at random, that exact search compared them with; None for all. If they
            are not all, the search may be worse than the other figures say: nearer embeddings may be in the others.
        distance: mean distance (root of d) of the approximate search, divided by that of exact search, minus 1.
        same: fraction of positions at which exact search finds no nearer embedding.
        score: largest difference of a score, as a fraction of the exact score.
    """

    frames: int
    images: int | None
    distance: float
    same: float
    score: float


def recall(
    path: Path,
    scorer: Scorer,
    frames: Sequence[NDArray[np.uint8]],
    *,
    threads: int | None,
    progress: Callable[[Sequence[Any]], Any],
    seconds: float = SECONDS,
) -> Recall:
    """Compare a bundle's search with exact search over the same gallery, or over as much of it as the time allows.

    Of a bundle whose cells are matched by place, exact search compares with the embeddings of the same places.

    Args:
        path: the bundle folder.
        scorer: opened from it.
        frames: (H, W, 3) uint8 BGR or (H, W) uint8 grey, at least one; the first ones are compared.
        threads: threads for exact search; None for one per core.
        progress: wraps the frames that are compared, e.g. tqdm.
        seconds: that exact search may take, about. One frame and one good image are compared in any case.
    """
    exact = Scorer.open(path, threads=threads, search=EXACT, verify="structure").matcher
    count, allowed = _sample(scorer, exact, frames, seconds=seconds)
    near, true, same, scores = 0.0, 0.0, 0, []
    positions = int(np.prod(scorer.matcher.gallery.grid)) * scorer.matcher.gallery.views
    # Frames that are in the gallery have distances near 0, which are compared with a hundredth of the threshold.
    threshold = scorer.bundle.manifest.threshold
    least, least_score = 0.01 * np.sqrt(threshold.pixel) * positions * count, 0.01 * threshold.score
    for frame in progress(frames[:count]):
        nearest = []
        views, moved = _views(scorer, frame)
        for view, seen in enumerate(views):
            pyramid, found = _matched(scorer, seen[np.newaxis], view)
            (best,) = exact.match([pyramid], views=[view], allowed=allowed)
            nearest.append(best.distances if allowed is None else np.minimum(best.distances, found))
            near += float(np.sqrt(found).sum(dtype=np.float64))
            true += float(np.sqrt(nearest[-1]).sum(dtype=np.float64))
            same += int(np.count_nonzero(found <= nearest[-1] * (1 + 1e-4) + 1e-3))
        score = scorer(frame).score
        want = _score(scorer, nearest, moved) if scorer.matcher.matching.image_score == FROM_MAP else score
        scores.append(abs(score - want) / max(want, least_score))
    return Recall(
        frames=count,
        images=None if allowed is None else int(allowed.sum()),
        distance=(near - true) / max(true, least),
        same=same / count / positions,
        score=max(scores),
    )


def _views(scorer: Scorer, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Moved | None]:
    """The views of a frame, (views, h, w, 3) float32 BGR, its part brought back, and how it was moved for this."""
    views = scorer.preprocessor(frame)
    if scorer.aligner is None:
        return views, None
    aligned, located = scorer.aligner(views[0])
    return aligned[np.newaxis], located.moved


def _matched(scorer: Scorer, seen: NDArray[np.float32], view: int) -> tuple[Pyramid, NDArray[np.float32]]:
    """The features of a view, and its distances as a frame gets them.

    Args:
        scorer: of the frames.
        seen: (1, h, w, 3) float32 BGR, the view.
        view: its number in the layout.
    """
    if scorer.device is None:
        pyramids = scorer.session(seen)
        return pyramids[0], scorer.matcher.match(pyramids, views=[view])[0].distances
    resident = scorer.device.session.resident(seen)
    return resident[0], scorer.device.match(resident, [view])[0].distances


def _sample(
    scorer: Scorer, exact: Matcher, frames: Sequence[NDArray[np.uint8]], *, seconds: float
) -> tuple[int, NDArray[np.bool_] | None]:
    """How many frames, and which good images, (N,) bool, or None for all, can be compared in so many seconds."""
    included = np.flatnonzero(scorer.bundle.manifest.counts)
    views = scorer.preprocessor(frames[0])
    probed = _only(included[:PROBED], len(exact.gallery))
    pyramid = scorer.session(views[:1])
    exact.match(pyramid, views=[0], allowed=probed)  # the first run takes longer
    start = perf_counter()
    exact.match(pyramid, views=[0], allowed=probed)
    an_image = (perf_counter() - start) / min(PROBED, len(included)) * len(views)
    neighbours = exact.matching.neighbours
    a_frame = an_image * min(len(included), neighbours or len(included))
    count = min(len(frames), max(1, int(seconds / a_frame)))
    # With K neighbours, the K nearest of some images would be others.
    if a_frame <= seconds or neighbours is not None:
        return count, None
    drawn = np.random.default_rng(0).permutation(included)[: max(1, int(seconds / an_image))]
    return count, _only(drawn, len(exact.gallery))


def _only(images: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    allowed = np.zeros(count, bool)
    allowed[images] = True
    return allowed


def _score(scorer: Scorer, distances: Sequence[NDArray[np.float32]], moved: Moved | None) -> float:
    """The image score of a frame with these distances of its views, whose part was moved by this to bring it back."""
    if moved is not None:  # what the frame does not show is no evidence against it
        distances = [np.where(moved.unseen(scorer.matcher.gallery.grid), np.float32(0), distances[0])]
    heatmap = scorer.stitching(list(distances))
    baseline = scorer.bundle.baseline
    return scorer.stitching.score(heatmap if baseline is None else heatmap - baseline)
