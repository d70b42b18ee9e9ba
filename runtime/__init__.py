"""The ground floor: scores camera frames with nothing but numpy and onnxruntime.

    from spade_edge.runtime import Scorer

    scorer = Scorer.open("part.spade")
    result = scorer(frame)              # frame: (H, W, 3) uint8 BGR, or (H, W) uint8 grey
    if result.verdict != "good":
        print(result.reason, result.regions)

Errors are drawn at the top of `spade_edge.runtime.errors`.
"""

from __future__ import annotations

from spade_edge.runtime.errors import (
    BundleError,
    DataError,
    DeviceError,
    FrameError,
    ModelError,
    SpadeError,
    UsageError,
)
from spade_edge.runtime.network.provider import Provider
from spade_edge.runtime.result import FrameResult, Match, Region
from spade_edge.runtime.scorer import Scorer

__all__ = [
    "BundleError",
    "DataError",
    "DeviceError",
    "FrameError",
    "FrameResult",
    "Match",
    "ModelError",
    "Provider",
    "Region",
    "Scorer",
    "SpadeError",
    "UsageError",
]
