"""The pyramid in 8-bit numbers: quantised and dequantised (QDQ) around every operator that an engine then fuses."""

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
from spade_edge.export.sensitivity import measure_sensitivity, worst

HARM_VIEWS = 4


@dataclass(frozen=True)
class Target:
    """What an engine wants of 8-bit numbers.

    Attributes:
        operators: that are put to 8 bits.
        signed: activations from -128 to 127 around 0, or from 0 to 255.
        bits: of the weights.
        options: of onnxruntime's quantisation.
    """

    operators: tuple[str, ...]
    signed: bool
    bits: int
    options: tuple[tuple[str, Any], ...]


TARGETS = {
    # onnxruntime fuses an operator whose output is quantised too. Unsigned activations, as its fast kernels want them.
    # Weights of 7 bits: with 8, processors without VNNI add up pairs of products in 16 bits, and overflow.
    CPU: Target(operators=("Conv", "Relu", "MaxPool", "Add"), signed=False, bits=7, options=()),
    # TensorRT fuses a convolution with what follows it where only its input and weights are quantised; it wants zero
    # points of 0 and cannot read biases in 32-bit whole numbers.
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
    """Put the network to 8 bits, but for the convolutions that this harms most.

    Args:
        model: in float32.
        views: (N, H, W, 3) float32 BGR, 0 to 255, of good parts.
        target: "cpu" or "tensorrt": one file cannot be fast on both.
        progress: wraps the convolutions, each of which is measured.

    Returns:
        the model, and how it was made, for its card.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    wanted = TARGETS[target]
    ranges = activation_ranges(model, views, operators=wanted.operators)
    some = views[np.unique(np.linspace(0, len(views) - 1, HARM_VIEWS).astype(int))]
    harms = measure_sensitivity(model, ranges, some, signed=wanted.signed, bits=wanted.bits, progress=progress)
    left = worst(harms)
    # An addition that reads what stays in float would only be rounded on its way in.
    outputs = {node.output[0] for node in model.graph.node if node.name in left}
    additions = [node.name for node in model.graph.node if node.op_type == "Add" and outputs & set(node.input)]
    with TemporaryDirectory() as folder, _quiet():
        plain, quantised = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, str(plain))
        quantize_static(
            str(plain),
            str(quantised),
            ViewReader(views[:1]),  # asked for, but every range is given below
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(wanted.operators),
            per_channel=True,
            reduce_range=wanted.bits == 7,
            activation_type=QuantType.QInt8 if wanted.signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*left, *additions],
            extra_options={
                "WeightSymmetric": True,
                "TensorQuantOverrides": {
                    name: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for name, (low, high) in ranges.items()
                },
                **dict(wanted.options),
            },
        )
        found = onnx.load(str(quantised))
    found.ir_version = IR_VERSION
    onnx.checker.check_model(found, full_check=True)
    note = {
        "target": target,
        "calibration": f"percentile {PERCENTILE} of {len(views)} views of good parts",
        "weights": f"{wanted.bits} bits, symmetric, a scale for each output channel",
        "activations": "8 bits, signed, zero point 0" if wanted.signed else "8 bits, unsigned",
        "float_layers": list(left),
        "harm": {harm.name: float(f"{harm.error:.2g}") for harm in harms},
    }
    return found, note


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice, which is not for who exports, off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)
