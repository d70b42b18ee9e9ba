"""The soak in short; `python tests/soak/run.py` is the long one."""

from __future__ import annotations

import pytest
from soak.run import soak

from spade_edge.galleries import Built


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_everything_that_a_bad_camera_does_adds_up(edge: Built, seed: int) -> None:
    summary = soak(edge.path, frames=600, seed=seed)
    assert summary["failures"] == []
    assert summary["frames"] == 600
