"""The evidence for a threshold: scores of good frames that were not in the gallery when they were scored.

Frames of the same part are no independent evidence. With one score per part, the p-value of conformal prediction (Vovk
et al. 2005) is (k + 1) / (n + 1), where k of n parts score as high or higher. A part with m scores counts 1/m for each
of them (hierarchical conformal prediction: Dunn, Wasserman & Ramdas 2022; Lee, Barber & Willett 2023), so that it
weighs as much as any other part, and no score is thrown away.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

IMAGES, FRAMES, BOTH = "images", "frames", "both"
SOURCES = (IMAGES, FRAMES, BOTH)


@dataclass(frozen=True)
class Evidence:
    """Scores of good frames, and which of them show the same part.

    Attributes:
        scores: image scores, at least one.
        groups: for each score, the number of the part.
        map_maxima: for each score, the largest value of the anomaly map; None where no map was made.
    """

    scores: tuple[float, ...]
    groups: tuple[int, ...]
    map_maxima: tuple[float | None, ...]

    @cached_property
    def parts(self) -> int:
        """n, the number of distinct parts."""
        return len(set(self.groups))

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """For each score, its share of a part: 1 / m for a part with m scores."""
        frames = Counter(self.groups)
        return tuple(1 / frames[group] for group in self.groups)

    @property
    def of_parts(self) -> tuple[float, ...]:
        """The largest score of each part."""
        largest: dict[int, float] = {}
        for group, score in zip(self.groups, self.scores, strict=True):
            largest[group] = max(score, largest.get(group, score))
        return tuple(largest.values())

    @property
    def of_maps(self) -> Evidence:
        """The same for the map maxima, as far as there are maps."""
        kept = [i for i, value in enumerate(self.map_maxima) if value is not None]
        maxima = [value for value in self.map_maxima if value is not None]
        return Evidence(tuple(maxima), tuple(self.groups[i] for i in kept), tuple(maxima))

    def p(self, score: float) -> float:
        """The fraction of good parts that score as high or higher, counting the frame itself: (k + 1) / (n + 1).

        A good frame has a value of at most p with a probability of at most p.
        """
        ordered, over = self._ordered
        return float((over[np.searchsorted(ordered, score, side="left")] + 1) / (self.parts + 1))

    @cached_property
    def _ordered(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The scores in ascending order, and the parts from each of them upwards; 0 beyond the last."""
        scores = np.array(self.scores, np.float64)
        order = np.argsort(scores, kind="stable")
        weights = np.array(self.weights, np.float64)[order]
        return scores[order], np.append(np.cumsum(weights[::-1])[::-1], 0.0)
