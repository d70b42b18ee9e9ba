"""The pyramid in INT8, with Q/DQ pairs around every operator, which onnxruntime and TensorRT then fuse."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from spade_edge.export.activation_ranges import PERCENTILE, ViewReader, activation_ranges
from spade_edge.export.lint_finding import CPU, TENSORRT
from spade_edge.export.onnx_conversion import IR_VERSION
from spade_edge.export.sensitivity import convolved, kept_in_float, measure_sensitivity
from spade_edge.runtime.errors import UsageError

SENSITIVITY_VIEWS = 4
LEAST_CONVOLVED = 0.5  # of a network's multiplications; only convolutions are quantized


@dataclass(frozen=True)
class Target:
    """How an engine wants a network quantized.

    Attributes:
        operators: types that are quantized.
        signed: codes of activations from -128 to 127 around 0, else from 0 to 255.
        bits: of the weights.
        options: of onnxruntime's quantization tools.
    """

    operators: tuple[str, ...]
    signed: bool
    bits: int
    options: tuple[tuple[str, Any], ...]


TARGETS = {
    # onnxruntime fuses operators whose outputs are quantized too; its fast kernels take unsigned activations. Weights
    # have 7 bits: with 8, processors without VNNI add pairs of products in 16 bits, which overflow.
    CPU: Target(operators=("Conv", "Relu", "MaxPool", "Add"), signed=False, bits=7, options=()),
    # TensorRT fuses a convolution with the operators after it where only its input and weights are quantized. It
    # requires zero points of 0 and cannot read int32 biases.
    TENSORRT: Target(
        operators=("Conv",),
        signed=True,
        bits=8,
        options=(
            ("ActivationSymmetric", True),
            ("QuantizeBias", False),
            ("OpTypesToExcludeOutputQuantization", ["Conv"]),
        ),
    ),
}


def to_int8(
    model: onnx.ModelProto,
    views: NDArray[np.float32],
    *,
    target: str,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = lambda items: items,
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Quantize the network to INT8, except for the convolutions that are most sensitive to it.

    Args:
        model: in float32.
        views: (N, H, W, 3) float32 BGR, 0 to 255, of good parts.
        target: "cpu" or "tensorrt": no single file is fast on both.
        progress: wraps the convolutions, whose sensitivity is measured one by one.

    Returns:
        the model, and how it was quantized, for its card.

    Raises:
        UsageError: less than half of the multiplications are in convolutions, as in a transformer.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    fraction = convolved(model)
    if fraction < LEAST_CONVOLVED:
        raise UsageError(
            f"--precision int8: expected a network with at least {LEAST_CONVOLVED:.0%} of its multiplications in "
            f"convolutions, which alone are quantized, found {fraction:.0%}; use --precision fp32, or fp16 for GPUs"
        )
    wanted = TARGETS[target]
    ranges = activation_ranges(model, views, operators=wanted.operators)
    sample = views[np.unique(np.linspace(0, len(views) - 1, SENSITIVITY_VIEWS).astype(int))]
    sensitivities = measure_sensitivity(
        model, ranges, sample, signed=wanted.signed, bits=wanted.bits, progress=progress
    )
    kept = kept_in_float(sensitivities)
    # Quantizing an addition with a float input would only add a rounding.
    outputs = {node.output[0] for node in model.graph.node if node.name in kept}
    additions = [node.name for node in model.graph.node if node.op_type == "Add" and outputs & set(node.input)]
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, _quiet():
        plain, quantized = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, str(plain))
        quantize_static(
            str(plain),
            str(quantized),
            ViewReader(views[:1]),  # required, but every range is given below
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(wanted.operators),
            per_channel=True,
            reduce_range=wanted.bits == 7,
            activation_type=QuantType.QInt8 if wanted.signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*kept, *additions],
            extra_options={
                "WeightSymmetric": True,
                "TensorQuantOverrides": {
                    name: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for name, (low, high) in ranges.items()
                },
                **dict(wanted.options),
            },
        )
        found = onnx.load(str(quantized))
    found.ir_version = IR_VERSION
    onnx.checker.check_model(found, full_check=True)
    note = {
        "target": target,
        "calibration": f"percentile {PERCENTILE} of {len(views)} views of good parts",
        "weights": f"{wanted.bits} bits, symmetric, a scale for each output channel",
        "activations": "8 bits, signed, zero point 0" if wanted.signed else "8 bits, unsigned",
        "float_layers": list(kept),
        "harm": {one.name: float(f"{one.error:.2g}") for one in sensitivities},
    }
    return found, note


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's output, which is of no use to the user of an export, off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)
