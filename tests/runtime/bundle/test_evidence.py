"""The share of good parts that score as high, against counting one part after the other."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from evidence import evidence

from spade_edge.galleries import Built
from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.evidence import Evidence


def naive(scores: list[float], groups: list[int], score: float) -> Fraction:
    """Part by part, with a frame that weighs as much as a part."""
    total = Fraction(1)
    for part in set(groups):
        own = [value for value, group in zip(scores, groups, strict=True) if group == part]
        total += Fraction(sum(value >= score for value in own), len(own))
    return total / (len(set(groups)) + 1)


def test_p_is_counted_in_parts() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        groups = rng.integers(0, 9, 30).tolist()
        scores = rng.integers(0, 12, 30).astype(float).tolist()  # with ties
        parts = evidence(scores, groups=groups)
        for score in (-1.0, *sorted(set(scores)), 3.5, 12.0):
            assert parts.p(score) == pytest.approx(float(naive(scores, groups, score)))
    assert evidence([5.0]).p(5.0) == 1.0 and evidence([5.0]).p(5.1) == 0.5


def test_a_good_frame_has_a_small_p_as_rarely_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(4000):
        parts = rng.gamma(2, 3, 20)
        own = evidence(np.repeat(parts[:19], 3) + rng.normal(0, 0.5, 57), groups=np.repeat(range(19), 3).tolist())
        found.append(own.p(float(parts[19] + rng.normal(0, 0.5))))
    for level in (0.05, 0.1, 0.25, 0.5):
        assert np.mean(np.array(found) <= level + 1e-9) <= level + 3 * np.sqrt(level / 4000)


def test_maps_of_some_images_are_evidence_for_their_parts_only() -> None:
    some = Evidence(scores=(1.0, 2.0, 3.0), groups=(0, 0, 1), map_maxima=(None, 7.0, 9.0))
    assert some.parts == 2 and some.weights == (0.5, 0.5, 1.0) and some.of_parts == (2.0, 3.0)
    assert some.of_maps == Evidence(scores=(7.0, 9.0), groups=(0, 1), map_maxima=(7.0, 9.0))
    assert some.of_maps.weights == (1.0, 1.0)


def test_a_result_says_how_many_good_parts_score_as_high(edge: Built, good_images: object) -> None:
    scorer = Scorer.open(edge.path)
    scores = edge.manifest.evidence.scores
    rng = np.random.default_rng(0)
    for frame in (rng.integers(0, 255, (90, 80, 3), np.uint8), np.full((90, 80), 100, np.uint8)):
        result = scorer(frame)
        assert result.p == pytest.approx((sum(own >= result.score for own in scores) + 1) / 9)
        assert result.pixel_threshold == edge.manifest.threshold.pixel
