"""Percentiles that the number of durations supports, and frames that were late."""

from __future__ import annotations

import numpy as np
import pytest

from spade_edge.tools.benchmark.times import Late, Times


@pytest.mark.parametrize(
    ("count", "known"),
    [
        (1, ["p50"]),
        (9, ["p50"]),
        (10, ["p50", "p90"]),
        (99, ["p50", "p90"]),
        (100, ["p50", "p90", "p99"]),
        (1023, ["p50", "p90", "p99"]),
        (1024, ["p50", "p90", "p99", "p999"]),
        (5000, ["p50", "p90", "p99", "p999"]),
    ],
)
def test_percentiles_are_those_of_numpy_or_not_stated(count: int, known: list[str]) -> None:
    milliseconds = np.random.default_rng(count).lognormal(3, 1, count)
    times = Times.of(milliseconds.tolist())
    for name, percent in {"p50": 50, "p90": 90, "p99": 99, "p999": 99.9}.items():
        expected = pytest.approx(np.percentile(milliseconds, percent)) if name in known else None
        assert getattr(times, name) == expected, name
    assert times.largest == milliseconds.max() and times.count == count


def test_percentiles_by_hand() -> None:
    times = Times.of([float(i) for i in range(100, 0, -1)])
    assert (times.p50, times.p90, times.p99, times.p999, times.largest) == pytest.approx((50.5, 90.1, 99.01, None, 100))


def counted(milliseconds: list[float], deadline: float) -> tuple[int, int]:
    late = run = longest = 0
    for time in milliseconds:
        run = run + 1 if time > deadline else 0
        late += time > deadline
        longest = max(longest, run)
    return late, longest


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_late_frames_are_counted_as_a_loop_counts_them(share: float) -> None:
    random = np.random.default_rng(7)
    for count in (1, 2, 3, 200):
        milliseconds = np.where(random.random(count) < share, 60.0, random.choice([40.0, 50.0], count)).tolist()
        late = Late.of(milliseconds, deadline=50.0)
        assert (late.frames, late.count, late.in_a_row) == (count, *counted(milliseconds, 50.0))


@pytest.mark.parametrize(
    ("milliseconds", "count", "in_a_row"),
    [
        ([50.0], 0, 0),  # in time
        ([50.1], 1, 1),
        ([60.0, 60.0, 1.0, 60.0], 3, 2),
        ([1.0, 60.0, 1.0, 60.0, 60.0, 60.0], 4, 3),  # up to the last
        ([60.0] * 5, 5, 5),
    ],
)
def test_late_frames_by_hand(milliseconds: list[float], count: int, in_a_row: int) -> None:
    assert Late.of(milliseconds, deadline=50.0) == Late(len(milliseconds), count, in_a_row)
