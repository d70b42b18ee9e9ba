"""One quantity against naive loops: ranks are counted, normal scores integrated, and every start of a sum is tried."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
import pytest

from spade_edge.runtime import UsageError
from spade_edge.runtime.drift.options import DriftOptions
from spade_edge.runtime.drift.quantity import QUANTITIES, Quantity
from spade_edge.runtime.drift.series import Series

N = 20
OPTIONS = DriftOptions(frames=N)
PLAIN = Quantity("p", "p", 0.0)


def naive_score(reference: list[float], value: float) -> float:
    """Where the normal distribution has the fraction of reference values below, found by halving."""
    rank = sum(r < value for r in reference) + sum(r == value for r in reference) / 2
    wanted, low, high = (rank + 0.5) / (len(reference) + 1), -10.0, 10.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 + math.erf(middle / math.sqrt(2))) / 2 < wanted else (low, middle)
    return low


def naive_sum(scores: list[float], slack: float) -> tuple[float, int]:
    """The largest sum of the scores from any start to the end, and that start."""
    sums = [sum(s - slack for s in scores[start:]) for start in range(len(scores))]
    best = max(range(len(sums)), key=lambda i: sums[i])
    return sums[best], best


def learned(values: list[float], quantity: Quantity = PLAIN, options: DriftOptions = OPTIONS) -> Series:
    series = Series(quantity, options)
    for value in values:
        series.add(value, 0.0)
    return series


@pytest.mark.parametrize("name", ["p", "brightness", "right"])
@pytest.mark.parametrize("sign", [1, -1])
def test_drift_is_raised_when_the_largest_sum_passes_the_level_and_since_its_start(name: str, sign: int) -> None:
    (quantity,) = (q for q in QUANTITIES if q.name == name)
    rng = np.random.default_rng(3)
    scale = {"p": 0.1, "brightness": 3.0, "right": 0.01}[name]
    reference = (50 + scale * rng.normal(size=N)).round(2 if name == "p" else 6).tolist()
    series = learned(reference, quantity)
    assert series.reference == tuple(sorted(reference))
    later = (50 + scale * np.r_[rng.normal(size=40), sign * 2 + rng.normal(size=40)]).round(6).tolist()
    shift = -1 if sign > 0 else 1
    for count, value in enumerate(later, 1):
        series.add(value, float(count))
        tolerated = [
            v + shift * quantity.tolerance
            if not quantity.relative
            else ((v + quantity.offset) * (1 + quantity.tolerance) ** shift - quantity.offset)
            for v in later[:count]
        ]
        scores = [sign * naive_score(reference, v) for v in tolerated]
        value_of_sum, start = naive_sum(scores, OPTIONS.slack)
        assert (series.change() is not None) == (value_of_sum > OPTIONS.level)
        if value_of_sum > OPTIONS.level:
            before, now, since = series.change()  # type: ignore[misc]
            assert before == median(reference)
            assert now == median(later[start:count])
            assert since == start + 1
            assert 38 <= start <= 45
            return
    pytest.fail("two standard deviations were not heard in 40 frames")


def test_ten_frames_beyond_a_reference_of_a_hundred_raise_drift_and_it_ends_soon_after_them() -> None:
    series = learned(
        [i / 100 for i in range(0, 100)][::2] + [i / 100 for i in range(1, 100, 2)], options=DriftOptions()
    )
    for count in range(1, 11):
        assert series.change() is None
        series.add(2.0, float(count))
    assert series.change() == (0.495, 2.0, 1.0)
    for _ in range(1000):  # a drift of days ends no later than one of minutes
        series.add(2.0, 11.0)
    assert series.change() == (0.495, 2.0, 1.0)
    usual = np.random.default_rng(0).permutation(100) / 100
    frames = 0
    while series.change() is not None:
        series.add(float(usual[frames % 100]), 12.0)
        frames += 1
    assert 20 < frames < 140


def test_values_that_are_all_equal_are_no_drift_and_any_other_value_is() -> None:
    series = learned([1 / 3] * N)
    for count in range(1000):
        series.add(1 / 3, float(count))
    assert series.change() is None
    for _ in range(20):
        series.add(1.0, 2000.0)
    assert series.change() == (1 / 3, 1.0, 2000.0)


def test_a_change_up_to_the_tolerance_is_none_and_one_beyond_it_is() -> None:
    quantity = Quantity("brightness", "light", 0.02, relative=True)
    for factor, heard in ((1.0199, False), (1.0201, True), (1 / 1.0199, False), (1 / 1.0201, True)):
        series = learned([100.0] * N, quantity)
        for count in range(1000):
            series.add(100 * factor, float(count))
        assert (series.change() is not None) == heard


def test_a_change_from_one_side_to_the_other_is_that_to_the_other() -> None:
    series = learned([float(i) for i in range(0, N, 2)] + [float(i) for i in range(1, N, 2)])
    for count in range(60):
        series.add(100.0, float(count))
    for count in range(60, 75):  # after 14 frames the one sum is over the level, after 17 the other is 0
        assert series.change() == ((9.5, 100.0, 0.0) if count < 74 else (9.5, -100.0, 60.0))
        series.add(-100.0, float(count))
    assert series.change() == (9.5, -100.0, 60.0)


def test_outliers_count_no_more_than_the_frames_just_beyond_the_reference() -> None:
    far, near = (learned([float(i) for i in range(0, N, 2)] + [float(i) for i in range(1, N, 2)]) for _ in range(2))
    for count in range(30):
        far.add(1e9 if count % 10 == 9 else 9.5, float(count))
        near.add(20.0 if count % 10 == 9 else 9.5, float(count))
        assert far.to_json()["up"] == near.to_json()["up"]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_lamp_that_warms_up_is_learned_when_it_is_warm(sign: int) -> None:
    rng = np.random.default_rng(5)
    warm = 100 - sign * 20 * np.exp(-np.arange(400) / 30) + rng.normal(size=400)
    series = learned(warm.tolist(), options=DriftOptions(frames=100))
    assert abs(median(series.reference) - 100) < 1
    for count in range(2000):
        series.add(100 + float(rng.normal()), float(count))
        assert series.change() is None


def test_a_quantity_that_never_stops_changing_is_learned_after_ten_halves() -> None:
    series = Series(PLAIN, OPTIONS)
    for count in range(N + 10 * N // 2):
        assert not series.reference
        series.add(float(count), 0.0)
    assert len(series.reference) == N and series.reference[-1] == N + 10 * N // 2 - 1


def test_frames_that_do_not_change_raise_no_drift() -> None:
    """Ten streams of ten thousand frames."""
    for seed in range(10):
        values = np.random.default_rng(seed).normal(size=10_100).tolist()
        series = learned(values[:100], options=DriftOptions())
        for count, value in enumerate(values[100:]):
            series.add(value, float(count))
            assert series.change() is None


@pytest.mark.parametrize(
    "wrong", [{"frames": 19}, {"frames": 10_001}, {"slack": 0.05}, {"slack": 2.5}, {"level": 0.5}, {"level": 1001}]
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        DriftOptions(**wrong)  # type: ignore[arg-type]
