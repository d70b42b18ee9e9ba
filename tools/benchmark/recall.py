"""The approximate search of a bundle, compared with exact search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import Scorer
from spade_edge.runtime.matching.config import EXACT


@dataclass(frozen=True)
class Recall:
    """The approximate search compared with exact search, on the same codes.

    Attributes:
        frames: number of frames compared.
        distance: mean distance (root of d) of the approximate search, divided by that of exact search, minus 1.
        same: fraction of positions at which both find the same nearest embedding.
        score: largest difference of a score, as a fraction of the exact score.
    """

    frames: int
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
) -> Recall:
    """Compare a bundle's search with exact search over the same gallery. This is slow.

    Args:
        path: the bundle folder.
        scorer: opened from it.
        frames: (H, W, 3) uint8 BGR or (H, W) uint8 grey.
        threads: threads for exact search; None for one per core.
        progress: wraps the frames, e.g. tqdm.
    """
    opened = Scorer.open(path, threads=threads, search=EXACT, verify="structure")
    exact = Scorer(opened.bundle, scorer.session, opened.matcher, threads=threads)  # both use the same features
    near, true, same, scores = 0.0, 0.0, 0, []
    positions = int(np.prod(scorer.matcher.gallery.grid)) * scorer.matcher.gallery.views
    # Frames that are in the gallery have distances near 0, which are compared with a hundredth of the threshold.
    threshold = scorer.bundle.manifest.threshold
    least, least_score = 0.01 * np.sqrt(threshold.pixel) * positions * len(frames), 0.01 * threshold.score
    for frame in progress(frames):
        for view, seen in enumerate(scorer.preprocessor(frame)):
            pyramid = scorer.session(seen[np.newaxis])
            (found,), (best,) = (one.matcher.match(pyramid, views=[view]) for one in (scorer, exact))
            near += float(np.sqrt(found.distances).sum(dtype=np.float64))
            true += float(np.sqrt(best.distances).sum(dtype=np.float64))
            same += int(np.count_nonzero(found.distances <= best.distances * (1 + 1e-4) + 1e-3))
        want = exact(frame).score
        scores.append(abs(scorer(frame).score - want) / max(want, least_score))
    return Recall(len(frames), (near - true) / max(true, least), same / len(frames) / positions, max(scores))
