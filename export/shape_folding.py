"""Sizes as constants: a transformer's graph, as torch writes it, computes them anew for each frame.

What follows from the shape of the input alone is the same for every frame: sizes, tables of places, rotary positions.
Here it is computed once for two batch sizes, and stored. Where the two differ, the difference is the batch: a Reshape
takes -1 for it, and what is the same for each view, as a class token is, is repeated as often as the input has views.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.kernels.ort import CPU, open_session
from spade_edge.runtime.network.card import INPUT

BATCHES = (2, 3)
INT32 = np.iinfo(np.int32)

Values = dict[str, NDArray[np.generic]]


def fold_shapes(model: onnx.ModelProto, *, view: View) -> None:
    """Store what depends on the shape of the input only, and remove what computes it.

    Args:
        model: with one input, whose batch is free; changed in place. Nothing is done if it computes no shapes.
        view: the size of that input.
    """
    graph = model.graph
    if all(node.op_type != "Shape" for node in graph.node):
        return
    edge = _edge(graph.node)
    reshaped = [node.output[0] for node in graph.node if node.op_type == "Reshape" and node.input[1] in edge]
    first, second = (_values(model, edge, reshaped, batch=batch, view=view) for batch in BATCHES)
    constants: Values = {}
    repeated: list[str] = []  # tensors that are the same for each view
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name not in edge:
                continue
            value, other = first[name], second[name]
            if node.op_type == "Reshape" and not np.array_equal(value, other):
                value, other = first[f"{node.output[0]}/shape"], second[f"{node.output[0]}/shape"]
                if np.count_nonzero(value != other) == 1:
                    node.input[place] = f"{node.output[0]}/sizes"
                    constants[node.input[place]] = np.where(value == other, value, -1)
            elif np.array_equal(value, other) and node.op_type == "Slice":
                node.input[place] = f"{name}/ends"  # "up to the end" is 2⁶³ - 1, which TensorRT does not know
                constants[node.input[place]] = np.clip(value, INT32.min, INT32.max)
            elif np.array_equal(value, other):
                node.input[place] = f"{name}/fixed"
                constants[node.input[place]] = value
            elif (len(value), len(other)) == BATCHES and (value == value[:1]).all() and (other == value[:1]).all():
                node.input[place] = f"{name}/views"
                constants[f"{name}/view"], constants[f"{name}/ones"] = value[:1], np.ones(value.ndim - 1, np.int64)
                repeated.append(name)
    if repeated:
        constants["first"] = np.array([0])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    _replace(graph, [*_repetitions(dict.fromkeys(repeated)), *graph.node])
    del graph.value_info[:]


def _edge(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """What nodes that compute with pixels take from nodes that do not."""
    nodes = list(nodes)
    pixels = {INPUT}
    computing = []
    for node in nodes:
        if node.op_type != "Shape" and pixels.intersection(node.input):
            pixels.update(node.output)
            computing.append(node)
    others = {name for node in nodes for name in node.output} - pixels
    return others.intersection(name for node in computing for name in node.input)


def _values(model: onnx.ModelProto, edge: Iterable[str], reshaped: Iterable[str], *, batch: int, view: View) -> Values:
    """Tensors by name, and the shapes of others as "name/shape", for a batch of black views."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    shapes = [f"{name}/shape" for name in reshaped]
    graph.node.extend(helper.make_node("Shape", [name.removesuffix("/shape")], [name]) for name in shapes)
    names = [*sorted(edge), *shapes]
    del graph.output[:]
    graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = open_session(copy.SerializeToString(), providers=(CPU,), threads=None)
    found = session.run(names, {INPUT: np.zeros((batch, *view.size, 3), np.float32)})
    return dict(zip(names, found, strict=True))


def _repetitions(names: Iterable[str]) -> list[onnx.NodeProto]:
    """Nodes that repeat "name/view" for each view of the input as "name/views"."""
    nodes = [
        helper.make_node("Shape", [INPUT], ["input/shape"], name="/Views/Shape"),
        helper.make_node("Gather", ["input/shape", "first"], ["input/count"], name="/Views/Gather"),
    ]
    for name in names:
        counts = ["input/count", f"{name}/ones"]
        nodes += [
            helper.make_node("Concat", counts, [f"{name}/sizes"], name=f"{name}/Concat", axis=0),
            helper.make_node("Expand", [f"{name}/view", f"{name}/sizes"], [f"{name}/views"], name=f"{name}/Expand"),
        ]
    return nodes


def _replace(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Give a graph these nodes, without those that no output needs."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    used = [tensor for tensor in graph.initializer if tensor.name in needed]
    tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(tensors)
