"""Evidence for thresholds, made from lists of scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spade_edge.runtime.bundle.evidence import Evidence


def evidence(scores: Iterable[float], *, groups: Sequence[int] | None = None) -> Evidence:
    """Scores of different parts, or of parts with these numbers; the map maxima are twice the scores."""
    values = tuple(float(score) for score in scores)
    numbers = tuple(range(len(values))) if groups is None else tuple(groups)
    return Evidence(scores=values, groups=numbers, map_maxima=tuple(2 * score for score in values))
