"""Percentiles of times, against numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from spade_edge.tools.scoring.durations import Durations


def test_percentiles_are_right_to_one_in_a_hundred() -> None:
    times = np.random.default_rng(0).lognormal(3, 1, 20_000)
    durations = Durations()
    for value in times.tolist():
        durations.add(value)
    for fraction in (0.01, 0.5, 0.9, 0.99, 1.0):
        assert durations.percentile(fraction) == pytest.approx(
            np.quantile(times, fraction, method="inverted_cdf"), rel=0.01
        )
    assert durations.largest == times.max() and len(durations) == 20_000
    assert len(durations._bins) < 1200
    durations.add(0.0)
    assert durations.percentile(1e-9) == pytest.approx(1e-3, rel=0.01)
