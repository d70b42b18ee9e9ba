"""The arithmetic of the network: fp32, fp16 or int8."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from spade_edge.export.fp16 import to_fp16
from spade_edge.export.int8 import TARGETS, to_int8
from spade_edge.runtime.errors import UsageError

FP32, FP16, INT8 = "fp32", "fp16", "int8"

Progress = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Precision:
    """A choice of arithmetic.

    Attributes:
        name: "fp32"; "fp16", with float32 input and outputs; or "int8", quantized for a target.
        target: of int8, "cpu" or "tensorrt": no single file is fast on both.
        views: (N, H, W, 3) float32 BGR, 0 to 255, of good parts, to calibrate int8 on; None for fp32 and fp16.
    """

    name: str = FP32
    target: str = "cpu"
    views: NDArray[np.float32] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.name not in (FP32, FP16, INT8):
            raise UsageError(f"expected a precision of {FP32}, {FP16} or {INT8}, found '{self.name}'")
        if self.target not in TARGETS:
            raise UsageError(f"expected a target of {', '.join(TARGETS)}, found '{self.target}'")
        if self.name == INT8 and (self.views is None or not len(self.views)):
            raise UsageError(f"expected views of good parts to calibrate {INT8} on, found none")

    def apply(self, model: onnx.ModelProto, progress: Progress) -> tuple[onnx.ModelProto, dict[str, Any]]:
        """Convert a float32 model; returns it and, for int8, how it was quantized (else empty)."""
        if self.name == FP16:
            return to_fp16(model), {}
        if self.name == INT8 and self.views is not None:
            return to_int8(model, self.views, target=self.target, progress=progress)
        return model, {}
