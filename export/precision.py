"""In which arithmetic the network computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from spade_edge.export.half import to_half
from spade_edge.export.int8 import TARGETS, to_int8
from spade_edge.runtime.errors import UsageError

FP32, FP16, INT8 = "fp32", "fp16", "int8"

Progress = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Precision:
    """A choice of arithmetic.

    Attributes:
        name: "fp32", "fp16" inside with float32 at both ends, or "int8", quantised for a target.
        target: "cpu" or "tensorrt", for int8: one file cannot be fast on both.
        views: (N, H, W, 3) float32 BGR, 0 to 255, of good parts, which int8 is calibrated on; None for the others.
    """

    name: str = FP32
    target: str = "cpu"
    views: NDArray[np.float32] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.name not in (FP32, FP16, INT8):
            raise UsageError(f"expected a precision of {FP32}, {FP16} or {INT8}, found {self.name!r}")
        if self.target not in TARGETS:
            raise UsageError(f"expected a target of {', '.join(TARGETS)}, found {self.target!r}")
        if self.name == INT8 and (self.views is None or not len(self.views)):
            raise UsageError(f"expected views of good parts to calibrate {INT8} on, found none")

    def apply(self, model: onnx.ModelProto, progress: Progress) -> tuple[onnx.ModelProto, dict[str, Any]]:
        """Turn a float32 model into this precision; gives it and how it was quantised, empty for the others."""
        if self.name == FP16:
            return to_half(model), {}
        if self.name == INT8 and self.views is not None:
            return to_int8(model, self.views, target=self.target, progress=progress)
        return model, {}
