"""Inspections for tests: a decision with a frame and a result."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sample_decisions import decision

from spade_edge.runtime import FrameResult
from spade_edge.tools.line.decision import Inspection


def frame(seed: int = 0, *, size: tuple[int, ...] = (48, 64, 3)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def result(shape: tuple[int, ...], *, verdict: str = "defect") -> FrameResult:
    heatmap = np.linspace(0, 9, 12 * 16, dtype=np.float32).reshape(12, 16)
    return FrameResult(
        score=6.5,
        threshold=5.0,
        pixel_threshold=4.0,
        p=0.01,
        verdict=verdict,
        reason="",
        heatmap=heatmap,
        extent=(0.0, 0.0, float(shape[1]), float(shape[0])),
        looked_at=None,
        regions=(),
        nearest=(),
        milliseconds={"total": 30.0},
        provider="CPUExecutionProvider",
    )


def inspection(number: int = 1, *, size: tuple[int, ...] = (48, 64, 3), **fields: Any) -> Inspection:
    """An inspection; a defect if not said otherwise."""
    pixels = frame(number, size=size)
    made = decision(number, **fields)
    return Inspection(made, frame=pixels, result=result(pixels.shape, verdict=made.verdict))


def good(number: int, **fields: Any) -> Inspection:
    return inspection(number, verdict="good", gate="pass", reason="", **fields)
