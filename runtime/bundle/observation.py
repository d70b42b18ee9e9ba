"""What a machine makes of a frame, step by step, to hold it against what another machine made of it.

The heat map of an HNSW search is no measure of two machines: features that differ in the last digit may lead to another
cell of the gallery. So features are kept by themselves, and distances to a few good images, searched exactly: those
move no more than the features do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLES = 8  # rows and columns of a level that are kept
REFERENCE_IMAGES = 2  # good images whose distances are kept


@dataclass(frozen=True)
class Observation:
    """One frame, seen by one machine.

    Attributes:
        features: for each level, (8, 8, C) float32, an even sample of the middle view's positions.
        distances: (h, w) float32, Eq. 3 for the middle view against the first two good images, all embeddings.
        heatmap: (H, W) float32, as the scorer gives it.
        score: the image score.
        verdict: "good", "defect" or "cannot_judge".
    """

    features: tuple[NDArray[np.float32], ...]
    distances: NDArray[np.float32]
    heatmap: NDArray[np.float32]
    score: float
    verdict: str


@dataclass(frozen=True)
class Difference:
    """How far one observation is from another of the same frame.

    Attributes:
        levels: by name, root mean square of the difference as a share of that of the expected features.
        distances: largest difference as a share of the largest expected distance.
        heatmap: mean difference as a share of the mean of the expected map.
        score: difference as a share of the threshold, or of the expected score where that is larger.
        expected, found: the verdicts.
    """

    levels: Mapping[str, float]
    distances: float
    heatmap: float
    score: float
    expected: str
    found: str

    @property
    def parts(self) -> dict[str, float]:
        """All shares, by name."""
        return {**self.levels, "distances": self.distances, "heatmap": self.heatmap, "score": abs(self.score)}

    @property
    def worst(self) -> str:
        """The name of the largest share; NaN is larger than any."""
        return max(self.parts, key=lambda name: np.inf if np.isnan(self.parts[name]) else self.parts[name])

    @property
    def largest(self) -> float:
        """The largest share; NaN if there is one."""
        return self.parts[self.worst]


def sample(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """The positions of a level that an observation keeps: (h, w, C) to (8, 8, C), float32."""
    rows, columns = (np.arange(SAMPLES) * count // SAMPLES for count in level.shape[:2])
    return np.ascontiguousarray(level[rows[:, np.newaxis], columns])


def difference(expected: Observation, found: Observation, *, names: tuple[str, ...], threshold: float) -> Difference:
    """Hold one observation against another.

    Args:
        expected: the reference.
        found: of the same frame, by another machine, provider or precision.
        names: of the levels.
        threshold: of the reference.
    """
    levels = {}
    for name, want, have in zip(names, expected.features, found.features, strict=True):
        levels[name] = _share(rms(have - want), rms(want))
    return Difference(
        levels=levels,
        distances=_share(np.abs(found.distances - expected.distances).max(), np.abs(expected.distances).max()),
        heatmap=_share(np.abs(found.heatmap - expected.heatmap).mean(), np.abs(expected.heatmap).mean()),
        score=_share(found.score - expected.score, max(abs(threshold), abs(expected.score))),
        expected=expected.verdict,
        found=found.verdict,
    )


def rms(values: NDArray[np.float32]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def _share(part: float, whole: float) -> float:
    """A part of nothing is none, or all."""
    return float(part) / float(whole) if whole else (0.0 if part == 0 else float("inf"))
