"""Intermediate values of scoring a frame, to compare two machines.

The anomaly map of an HNSW search is a poor measure for this: features that differ in the last digit may lead to another
cell of the gallery. So an observation also keeps features, and distances to a few good images by exact search, which
change no more than the features do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLES = 8  # rows and columns kept of each level
REFERENCE_IMAGES = 2  # good images whose distances are kept


@dataclass(frozen=True)
class Observation:
    """Intermediate values of one frame on one machine.

    Attributes:
        features: per level, (8, 8, C) float32, an evenly spaced sample of the middle view's positions.
        distances: (h, w) float32, Eq. 3 for the middle view against all embeddings of the first two good images.
        heatmap: (H, W) float32, the anomaly map as in `FrameResult`.
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
    """The difference between two observations of the same frame.

    Attributes:
        levels: by name, root mean square of the difference, as a fraction of that of the expected features.
        distances: largest difference, as a fraction of the largest expected distance.
        heatmap: mean difference, as a fraction of the mean of the expected map.
        score: difference, as a fraction of the threshold or of the expected score, whichever is larger.
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
        """All fractions, by name."""
        return {**self.levels, "distances": self.distances, "heatmap": self.heatmap, "score": abs(self.score)}

    @property
    def worst(self) -> str:
        """The name of the largest fraction; NaN counts as larger than any number."""
        return max(self.parts, key=lambda name: np.inf if np.isnan(self.parts[name]) else self.parts[name])

    @property
    def largest(self) -> float:
        """The largest fraction; NaN if there is one."""
        return self.parts[self.worst]


def sample(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """The positions of a level that an observation keeps: (h, w, C) to (8, 8, C), float32."""
    rows, columns = (np.arange(SAMPLES) * count // SAMPLES for count in level.shape[:2])
    return np.ascontiguousarray(level[rows[:, np.newaxis], columns])


def difference(expected: Observation, found: Observation, *, names: tuple[str, ...], threshold: float) -> Difference:
    """Compare an observation with a reference.

    Args:
        expected: the reference.
        found: of the same frame, from another machine, provider or precision.
        names: names of the levels.
        threshold: the reference's threshold of the image score.
    """
    levels = {}
    for name, want, have in zip(names, expected.features, found.features, strict=True):
        levels[name] = _fraction(rms(have - want), rms(want))
    return Difference(
        levels=levels,
        distances=_fraction(np.abs(found.distances - expected.distances).max(), np.abs(expected.distances).max()),
        heatmap=_fraction(np.abs(found.heatmap - expected.heatmap).mean(), np.abs(expected.heatmap).mean()),
        score=_fraction(found.score - expected.score, max(abs(threshold), abs(expected.score))),
        expected=expected.verdict,
        found=found.verdict,
    )


def rms(values: NDArray[np.float32]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def _fraction(part: float, whole: float) -> float:
    """`part / whole`; of 0 it is 0 for no part, else infinite."""
    return float(part) / float(whole) if whole else (0.0 if part == 0 else float("inf"))
