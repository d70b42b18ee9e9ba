"""A hint about frames in many sizes, once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import Scorer
from spade_edge.tools.scoring.frame_sizes import MANY, FrameSizes
from spade_edge.tools.scoring.scored import Scored
from spade_edge.tools.sources import Shot


def test_many_sizes_are_said_once(
    edge: Built, part: Callable[..., NDArray[np.uint8]], caplog: pytest.LogCaptureFixture
) -> None:
    result = Scorer.open(edge.path)(part(20))
    sizes = FrameSizes()
    for _ in range(3):
        for number in range(MANY):
            sizes.add(Scored(Shot(number, np.zeros((90 + number, 80, 3), np.uint8)), result))
    sizes.add(Scored(Shot(0, None, "cut off"), None, "cut off"))
    sizes.add(Scored(Shot(0, np.zeros((50, 50), np.uint8)), None, "too small"))
    assert not caplog.records
    for number in range(MANY, 30):
        sizes.add(Scored(Shot(number, np.zeros((90 + number, 80, 3), np.uint8)), result))
    assert len(caplog.records) == 1
