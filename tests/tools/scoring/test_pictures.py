"""Pictures written beside the scoring, with a disk that is slow or full."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import Scorer
from spade_edge.tools.scoring.pictures import WAITING, Pictures, ScoredFrame

LONG = 60  # seconds; no test waits so long unless something is wrong


def test_pictures_are_left_out_if_the_disk_is_too_slow_or_full(
    edge: Built, part: Callable[..., NDArray[np.uint8]], caplog: pytest.LogCaptureFixture
) -> None:
    frame = part(20)
    result = Scorer.open(edge.path)(frame)
    slow = threading.Event()

    def wait(scored: ScoredFrame) -> None:
        assert slow.wait(LONG)

    with Pictures(wait, wait=False, strict=False) as pictures:
        for number in range(WAITING + 10):
            pictures.add(number, frame, result)
        assert 9 <= pictures.left_out <= 10
        slow.set()

    def fail(scored: ScoredFrame) -> None:
        raise OSError(28, "No space left on device")

    with Pictures(fail, wait=False, strict=False) as pictures:
        for number in range(3):
            pictures.add(number, frame, result)
    assert pictures.left_out == 3 and caplog.text.count("No space left on device") == 1
    with pytest.raises(OSError, match="No space"), Pictures(fail, wait=True, strict=True) as pictures:
        for number in range(100):
            pictures.add(number, frame, result)
