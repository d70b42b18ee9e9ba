"""Quantization sensitivity: how much INT8 in one convolution changes the features, and which should stay in float."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from spade_edge.export.activation_ranges import Range
from spade_edge.runtime.bundle.observation import rms
from spade_edge.runtime.kernels.ort import CPU, open_session
from spade_edge.runtime.network.card import INPUT

# Convolutions stay in float, the most sensitive first, until the others are expected to cause at most this error (root
# mean square, as a fraction of the features'), or until more than these fractions of the weights (file size) or of the
# products (time) would be in float.
ENOUGH, MOST_WEIGHTS, MOST_PRODUCTS = 0.02, 0.02, 0.15


@dataclass(frozen=True)
class Sensitivity:
    """The effect of INT8 in one convolution.

    Attributes:
        name: of the convolution's node.
        error: root mean square of the change in the most affected level, as a fraction of the level's own.
        weights: number of its weights.
        products: multiplications per view.
    """

    name: str
    error: float
    weights: int
    products: int


def measure_sensitivity(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    views: NDArray[np.float32],
    *,
    signed: bool,
    bits: int,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = lambda items: items,
) -> tuple[Sensitivity, ...]:
    """Quantize the input and the weights of one convolution after another.

    Args:
        model: in float32.
        ranges: of activations.
        views: (N, H, W, 3) float32 BGR, 0 to 255.
        signed: codes of activations from -127 to 127 around 0, else from 0 to 255.
        bits: of the weights.
        progress: wraps the convolutions.
    """
    shapes = _shapes(model)
    expected = _levels(model, views)
    found = []
    for node in progress([node for node in model.graph.node if node.op_type == "Conv"]):
        altered, weights = _with_one(model, node, ranges[node.input[0]], signed=signed, bits=bits)
        levels = _levels(altered, views)
        error = max(rms(have - want) / rms(want) for have, want in zip(levels, expected, strict=True))
        products = weights.size * int(np.prod(shapes[node.output[0]][2:]))
        found.append(Sensitivity(node.name, error, weights.size, products))
    return tuple(found)


def convolved(model: onnx.ModelProto) -> float:
    """The fraction of a network's multiplications that are in convolutions, 0 to 1; the others are matrix products."""
    shapes = _shapes(model) | {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    convolutions = products = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            convolutions += int(np.prod(shapes[node.input[1]]) * np.prod(shapes[node.output[0]][2:]))
        elif node.op_type in ("MatMul", "Gemm"):
            sizes = [max(size, 1) for size in shapes.get(node.output[0], [])]  # a free batch is 0
            products += int(np.prod(sizes)) * max(shapes[node.input[0]][-1], 1)
    return convolutions / max(convolutions + products, 1)


def kept_in_float(sensitivities: Iterable[Sensitivity]) -> tuple[str, ...]:
    """Names of the convolutions that should stay in float, in the network's order."""
    sensitivities = tuple(sensitivities)
    remaining = sum(one.error**2 for one in sensitivities)  # errors of different layers are hardly correlated
    weights, products = (limit * sum(getattr(one, name) for one in sensitivities) for name, limit in _LIMITS.items())
    kept = set()
    for one in sorted(sensitivities, key=lambda one: one.error, reverse=True):
        if remaining <= ENOUGH**2:
            break
        if one.weights <= weights and one.products <= products:
            weights, products, remaining = weights - one.weights, products - one.products, remaining - one.error**2
            kept.add(one.name)
    return tuple(one.name for one in sensitivities if one.name in kept)


_LIMITS = {"weights": MOST_WEIGHTS, "products": MOST_PRODUCTS}


def _with_one(
    model: onnx.ModelProto, node: onnx.NodeProto, limits: Range, *, signed: bool, bits: int
) -> tuple[onnx.ModelProto, NDArray[np.float32]]:
    """The model with the input and the weights of one convolution rounded, and its weights before."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    number = next(i for i, other in enumerate(copy.graph.node) if other.name == node.name)
    tensor = next(tensor for tensor in copy.graph.initializer if tensor.name == node.input[1])
    weights = numpy_helper.to_array(tensor)
    own = f"{tensor.name}/rounded"  # several convolutions may share equal weights
    scale, zero = scale_of(limits, signed=signed)
    copy.graph.initializer.extend(
        [
            numpy_helper.from_array(_rounded(weights, bits), own),
            numpy_helper.from_array(scale, "scale"),
            numpy_helper.from_array(zero, "zero"),
        ]
    )
    copy.graph.node[number].input[0], copy.graph.node[number].input[1] = "seen", own
    copy.graph.node.insert(number, helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["seen"]))
    copy.graph.node.insert(number, helper.make_node("QuantizeLinear", [node.input[0], "scale", "zero"], ["codes"]))
    return copy, weights


def scale_of(limits: Range, *, signed: bool) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Step and zero point for a range, which is widened to include 0."""
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    if signed:
        return np.array(max(-low, high, 1e-12) / 127, np.float32), np.array(0, np.int8)
    step = max(high - low, 1e-12) / 255
    return np.array(step, np.float32), np.array(round(-low / step), np.uint8)


def _rounded(weights: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Round to `bits`, symmetrically, with a scale per output channel."""
    largest = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True)
    step = np.where(largest == 0, 1, largest) / (2 ** (bits - 1) - 1)
    return np.asarray(np.rint(weights / step) * step, np.float32)


def _levels(model: onnx.ModelProto, views: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """All outputs but the global descriptor, over all views."""
    session = open_session(model.SerializeToString(), providers=(CPU,), threads=None)
    names = [output.name for output in model.graph.output][:-1]
    each = [session.run(names, {INPUT: view[np.newaxis]}) for view in views]
    return [np.concatenate(level) for level in zip(*each, strict=True)]


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    return {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in known}
