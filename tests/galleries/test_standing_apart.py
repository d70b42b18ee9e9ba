"""Scores that stand apart, by example, and whether the promised rate is kept on simulated lines."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries.standing_apart import promised_rate, standing_apart


def ladder(count: int, *apart: float) -> list[float]:
    """Evenly spaced scores under 1, and others instead of the largest of them, shuffled."""
    scores = [i / count for i in range(count - len(apart))] + list(apart)
    return np.random.default_rng(count).permutation(scores).tolist()


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (ladder(20), 0),
        (ladder(20, 9.0), 1),
        (ladder(19, 9.0), 0),  # a twentieth of 19 is less than one
        (ladder(60, 9.0, 9.1, 9.2), 3),
        (ladder(60, 9.0, 30.0, 90.0), 3),  # the widest group, although the largest stands apart from the second too
        (ladder(100, *np.linspace(9, 10, 10)), 5),  # ten stand apart; a twentieth of all is passed over
        (ladder(100, *np.linspace(9, 10, 30)), 0),  # a kind of part, not a few odd ones
        ([3.0] * 40, 0),
        ([3.0] * 39 + [3.1], 1),
        ([-4.0] * 39 + [-3.9], 1),
        ([], 0),
        ([1.0], 0),
    ],
)
def test_scores_beyond_a_wide_gap_stand_apart(scores: list[float], expected: int) -> None:
    assert standing_apart(scores) == expected


@pytest.mark.parametrize("width", [3.9, 4.1])
def test_a_gap_is_measured_in_mean_excesses_of_the_tail(width: float) -> None:
    """39 scores below the gap: the tail is the nine largest, 1 to 9 above the score where it begins; 5 on average."""
    scores = [float(i) for i in range(39)] + [38 + width * 5]
    assert standing_apart(scores) == (width > 4)


def test_unit_and_zero_of_the_scores_do_not_matter() -> None:
    for seed in range(200):
        scores = np.random.default_rng(seed).standard_t(2, 64)
        expected = standing_apart(scores.tolist())
        assert standing_apart((1000 * scores[::-1] - 7).tolist()) == expected


def normal(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return rng.standard_normal(count)


def over_normal(value: float) -> float:
    return math.erfc(value / math.sqrt(2)) / 2


def exponential(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return rng.standard_exponential(count)


def with_odd_ones(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Exponential, but one in twenty lies between 12 and 18."""
    odd = rng.random(count) < 0.05
    return np.where(odd, rng.uniform(12, 18, count), rng.standard_exponential(count))


def over_odd_ones(value: float) -> float:
    return 0.95 * math.exp(-value) + 0.05 * min(1.0, max(0.0, (18 - value) / 6))


@pytest.mark.parametrize(
    ("draw", "over"),
    [(normal, over_normal), (exponential, lambda value: math.exp(-value)), (with_odd_ones, over_odd_ones)],
)
@pytest.mark.parametrize("count", [20, 60, 100])
def test_promised_is_found(
    draw: Callable[[np.random.Generator, int], NDArray[np.float64]], over: Callable[[float], float], count: int
) -> None:
    """The rate of new scores over the limit, averaged over 1,500 lines, is at most the promised one."""
    rng = np.random.default_rng(count)
    promised, found = [], []
    for _ in range(1500):
        scores = draw(rng, count)
        apart = standing_apart(scores.tolist())
        promised.append(promised_rate(apart, count))
        found.append(float(over(float(np.sort(scores)[-1 - apart]))))
    error = float(np.std(found) / np.sqrt(len(found)))
    assert np.mean(found) < 1.05 * np.mean(promised) + 2 * error


def test_without_odd_scores_the_rate_is_that_of_counting() -> None:
    assert promised_rate(0, 19) == 1 / 20
    assert promised_rate(1, 59) == 3 / 60
    assert promised_rate(4, 99) == 7 / 100
