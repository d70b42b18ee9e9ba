"""Tests of a promised rate and of likeness, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from spade_edge.galleries.promise import promise, rank_test


@pytest.mark.parametrize(("rejected", "parts"), [(0, 1), (1, 1), (0, 30), (1, 40), (3, 20), (20, 20), (7, 300)])
def test_the_binomial_test_is_scipys(rejected: int, parts: int) -> None:
    for rate in (0.005, 0.024, 0.1, 0.5):
        expected = scipy.stats.binomtest(rejected, parts, rate, alternative="greater")
        found = promise(rate, rejected=rejected, parts=parts)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
        interval = scipy.stats.binomtest(rejected, parts).proportion_ci(0.95, method="exact")
        assert found.interval == pytest.approx((interval.low, interval.high), abs=1e-9)
        assert found.kept == (expected.pvalue >= 0.05)


def test_the_rank_test_is_scipys() -> None:
    rng = np.random.default_rng(0)
    for n, m, ties in ((1, 5, False), (12, 40, False), (30, 30, True), (200, 9, True)):
        some, others = rng.normal(0.3, 1, n), rng.normal(0, 1, m)
        if ties:
            some, others = some.round(), others.round()
        expected = scipy.stats.mannwhitneyu(some, others, alternative="two-sided", method="asymptotic")
        p, higher = rank_test(some.tolist(), others.tolist())
        assert p == pytest.approx(expected.pvalue, rel=1e-9)
        assert higher == pytest.approx(expected.statistic / (n * m))
    assert rank_test([1.0, 1.0], [1.0]) == (1.0, 0.5)


def test_it_doubts_a_promise_that_is_kept_one_time_in_twenty_at_most() -> None:
    rng = np.random.default_rng(1)
    doubted = [not promise(0.1, rejected=rejected, parts=40).kept for rejected in range(41)]
    found = np.array(doubted)[rng.binomial(40, 0.1, 20000)]
    assert 0.01 < found.mean() <= 0.05 + 3 * np.sqrt(0.05 / 20000)
