"""The pyramid in half precision: on GPUs float16 is up to twice as fast and takes half the memory."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from spade_edge.runtime.errors import ModelError
from spade_edge.runtime.network.card import DESCRIPTOR, INPUT

LARGEST = 65504.0  # of float16


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert the network to float16; input and outputs stay float32.

    Colours are normalised in float32, and the global descriptor, a mean over a whole level, is computed in float32. The
    runtime computes sums of squares and distances in float32 for every model.

    onnxruntime.transformers.float16 does this too, but leaves the nodes in an order that ONNX does not allow, and casts
    the input to float16 and back.

    Args:
        model: in float32; it is not changed.

    Raises:
        ModelError: a weight is too large for float16.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    colours, tail = _colours(graph), _descriptor(graph)
    body = [node for node in graph.node if node not in (*colours, *tail)]
    outputs = {output.name for output in graph.output}
    constants = {name for node in body for name in _of_any_type(node)}
    for tensor in graph.initializer:
        if tensor.name in constants and tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(_half(tensor, tensor.name))
    for node in body:
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(_half(attribute.t, node.output[0]))  # of a Constant, such as the bounds of a Clip
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    entry = colours[-1].output[0]
    ends: dict[str, str] = {}
    nodes = [*colours, helper.make_node("Cast", [entry], ["half"], name="/ToHalf", to=TensorProto.FLOAT16)]
    for node in body:
        node.input[:] = ["half" if name == entry else ends.get(name, name) for name in node.input]
        ends |= {name: f"{name}/half" for name in node.output if name in outputs}
        node.output[:] = [ends.get(name, name) for name in node.output]
        nodes.append(node)
    for node in tail:
        if node.op_type == "GlobalAveragePool":
            ends[f"{node.input[0]}/single"] = node.input[0]
            node.input[0] = f"{node.input[0]}/single"
    for single, name in ends.items():
        nodes.append(helper.make_node("Cast", [name], [single], name=f"/ToSingle/{single}", to=TensorProto.FLOAT))
    ordered = [*nodes, *tail]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
    onnx.checker.check_model(half, full_check=True)
    return half


def _colours(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes from the input to normalised colours."""
    name, found = INPUT, list[onnx.NodeProto]()
    while not found or found[-1].op_type != "Div":
        found.append(next(node for node in graph.node if node.op_type != "Shape" and name in node.input))
        name = found[-1].output[0]
    return found


def _descriptor(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes from the image level to the global descriptor: its mean, flattened."""
    flatten = next(node for node in graph.node if DESCRIPTOR in node.output)
    return [next(node for node in graph.node if flatten.input[0] in node.output), flatten]


def _of_any_type(node: onnx.NodeProto) -> list[str]:
    """The inputs that may be float16; the sizes of a Resize may not."""
    return list(node.input[:1] if node.op_type == "Resize" else node.input)


def _half(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor)
    largest = np.abs(values).max(initial=0)
    if not largest <= LARGEST:
        raise ModelError(
            f"expected weights up to {LARGEST:g} for half precision, found {largest:g} in {name}; use --precision fp32"
        )
    return numpy_helper.from_array(values.astype(np.float16), tensor.name)
