"""Results of frames without scoring any."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from spade_edge.runtime import FrameResult, Pose

Results = Callable[..., FrameResult]


@pytest.fixture
def results() -> Results:
    """A frame of 400x200 that was judged, with values by name."""

    def make(
        *,
        verdict: str = "good",
        p: float = 0.5,
        place: tuple[float, float, float] | None = (0.0, 0.0, 0.0),
        **values: float,
    ) -> FrameResult:
        usual = {"brightness": 100.0, "contrast": 40.0, "focus": 0.5, "chroma": 20.0, "red": 1.1, "blue": 0.9}
        return FrameResult(
            score=1.0,
            threshold=2.0,
            pixel_threshold=2.0,
            p=p,
            verdict=verdict,
            reason="",
            heatmap=np.zeros((2, 2), np.float32),
            extent=(0.0, 0.0, 400.0, 200.0),
            looked_at=None,
            regions=(),
            nearest=(),
            milliseconds={},
            provider="",
            pose=None if place is None else Pose(*place, aligned=False),
            condition=usual | values,
        )

    return make
