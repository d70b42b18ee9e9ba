"""The graph of an ONNX file: nodes, constants, and types and shapes of its tensors, without running it.

References to other files are never followed, and weights take no part in shape inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from spade_edge.runtime.errors import ModelError

LARGEST_FILE = 2**31 - 1  # bytes of one protobuf message
SMALL = 1024  # elements of an initializer whose values shape inference may need

QUANTIZING = ("QuantizeLinear", "DequantizeLinear")
INTEGER_OPERATORS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")

Shape = tuple[int | None, ...]  # None for a free axis


class OnnxGraph:
    """A model, indexed for checks.

    Args:
        model: not changed.
        batch: size of the first axis of the inputs where it is free.

    Attributes:
        model: the model; a copy with its nodes in order if they are not.
        ordered: whether every node comes after those that it depends on, as ONNX requires.
        nodes: of the graph, each followed by the nodes of its subgraphs; local functions are not entered.
        graphs: the graph and the subgraphs of its nodes.
        inputs: those that must be fed.
        opset: of ai.onnx.
        problem: the complaint of ONNX's checker or shape inference; None if there is none.
        types, shapes: element types (TensorProto's numbers) and shapes by tensor, where known.
    """

    def __init__(self, model: ModelProto, *, batch: int) -> None:
        order = _order(model.graph)
        self.ordered = order == sorted(order)
        self.model = model = model if self.ordered else _reordered(model, order)
        self.nodes = tuple(_nodes(model.graph.node))
        self.graphs = (model.graph, *(graph for node in self.nodes for graph in _graphs(node)))
        stored = {tensor.name for tensor in model.graph.initializer}
        self.inputs = tuple(port for port in model.graph.input if port.name not in stored)
        self.opset = max((x.version for x in model.opset_import if x.domain in {"", "ai.onnx"}), default=0)
        self.types: dict[str, int] = {name: tensor.data_type for name, tensor in self.constants.items()}
        self.shapes: dict[str, Shape] = {name: tuple(tensor.dims) for name, tensor in self.constants.items()}
        self.problem: str | None = None
        if not self.external:  # the checker would open those files
            try:
                onnx.checker.check_model(model)
                self._infer(batch)
            except Exception as problem:  # ValidationError, InferenceError, and what C++ lets through
                self.problem = str(problem)

    def _infer(self, batch: int) -> None:
        inferred = infer_shapes(self.model, batch=batch).graph
        for port in (*inferred.input, *inferred.value_info, *inferred.output):
            if port.type.HasField("tensor_type"):
                self.types[port.name] = port.type.tensor_type.elem_type
                if port.type.tensor_type.HasField("shape"):
                    self.shapes[port.name] = shape_of(port)

    @cached_property
    def constants(self) -> Mapping[str, TensorProto]:
        """Initializers and outputs of Constant nodes, by name."""
        found = {tensor.name: tensor for graph in self.graphs for tensor in graph.initializer}
        for node in self.nodes:
            for tensor in map(_tensor, node.attribute if node.op_type == "Constant" else ()):
                if tensor is not None and node.output:
                    found[node.output[0]] = tensor
        return found

    @cached_property
    def tensors(self) -> tuple[TensorProto, ...]:
        """Every tensor that is stored in the file, wherever it stands."""
        found = [tensor for graph in self.graphs for tensor in graph.initializer]
        for graph in self.graphs:
            found += [part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices)]
        inside = (node for function in self.model.functions for node in _nodes(function.node))
        for attribute in (attribute for node in (*self.nodes, *inside) for attribute in node.attribute):
            found += [attribute.t, attribute.sparse_tensor.values, attribute.sparse_tensor.indices, *attribute.tensors]
        return tuple(found)

    @property
    def readable(self) -> bool:
        """Whether all names are text: for other than UTF-8, protobuf returns bytes or fails."""
        try:
            return all(isinstance(name, str) for name in self._names())
        except UnicodeDecodeError:
            return False

    def _names(self) -> Iterator[str]:
        for node in self.nodes:
            yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
            yield from (attribute.name for attribute in node.attribute)
        for graph in self.graphs:
            for port in (*graph.input, *graph.output, *graph.value_info):
                yield from (port.name, *(size.dim_param for size in port.type.tensor_type.shape.dim))
        yield from (tensor.name for tensor in self.tensors)
        yield from (text for function in self.model.functions for text in (function.domain, function.name))
        yield from (text for entry in self.model.metadata_props for text in (entry.key, entry.value))

    @property
    def external(self) -> tuple[str, ...]:
        """Names of tensors whose values are in other files."""
        return tuple(x.name for x in self.tensors if x.data_location == TensorProto.EXTERNAL)

    @cached_property
    def computed(self) -> frozenset[str]:
        """Names of tensors that are not constants."""
        return frozenset(name for node in self.nodes for name in node.output if name and name not in self.constants)

    def values(self, name: str) -> NDArray[Any] | None:
        """The values of a constant of a sound model; None for a computed tensor."""
        tensor = self.constants.get(name)
        return None if tensor is None else onnx.numpy_helper.to_array(tensor)

    @cached_property
    def quantization(self) -> str | None:
        """None; "signed" or "unsigned" for the codes of Q/DQ pairs; "operators" for integer operators."""
        if any(node.op_type in INTEGER_OPERATORS for node in self.nodes):
            return "operators"
        codes = {self.code_type(node) for node in self.nodes if node.op_type in QUANTIZING}
        if not codes:
            return None
        return "unsigned" if TensorProto.UINT8 in codes else "signed"

    @property
    def precision(self) -> str:
        """The precision of the graph in the card's terms: "fp32", "fp16" or "int8"."""
        if self.quantization is not None:
            return "int8"
        half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in self.constants.values())
        return "fp16" if half else "fp32"

    def code_type(self, node: NodeProto) -> int:
        """The element type of the codes that a QuantizeLinear returns or a DequantizeLinear takes."""
        if node.op_type == "DequantizeLinear" and input_of(node, 0) in self.types:
            return self.types[input_of(node, 0)]
        return self.types.get(input_of(node, 2), TensorProto.UINT8)  # ONNX: a missing zero point is 0 of uint8

    @property
    def sound(self) -> bool:
        """Whether the checker has seen all of it and found no problem."""
        return self.problem is None and not self.external

    @property
    def batch(self) -> int | None:
        """Views that the input takes, None for any number."""
        shape = shape_of(self.inputs[0]) if self.inputs else ()
        return shape[0] if shape else None


def read_model(path: Path, *, source: str) -> ModelProto:
    """Parse a file.

    Args:
        path: the file.
        source: what messages call it.

    Raises:
        ModelError: there is no such file, it is too large, or it is not an ONNX model.
    """
    if not path.is_file():
        raise ModelError(f"{source}: expected a model file, found none; 'spade-edge export' writes one")
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ModelError(
            f"{source}: expected at most 2 GB, the most that one ONNX file can hold, found {size / 1e9:.1f} GB; "
            "export a smaller backbone"
        )
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception:  # protobuf's own class, whose message adds nothing
        raise ModelError(
            f"{source}: expected an ONNX model, found a damaged file or one of another kind; export it again"
        ) from None
    if not model.graph.node:
        raise ModelError(f"{source}: expected an ONNX model, found no operator in it; export it again")
    return model


def infer_shapes(model: ModelProto, *, batch: int) -> ModelProto:
    """The graph without its weights, a free batch axis set to `batch`, and every shape that follows from it.

    Raises:
        onnx.shape_inference.InferenceError: types or shapes contradict each other.
    """
    bare = ModelProto(ir_version=max(model.ir_version, 4))  # from 4 on initializers need not be inputs too
    bare.opset_import.extend(model.opset_import)
    bare.functions.extend(model.functions)
    bare.graph.name = model.graph.name
    bare.graph.node.extend(model.graph.node)
    stored = {tensor.name for tensor in model.graph.initializer}
    bare.graph.input.extend(port for port in model.graph.input if port.name not in stored)
    for port in bare.graph.input:
        fix_batch(port, batch)
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= SMALL:
            bare.graph.initializer.append(tensor)
        else:
            bare.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for port in model.graph.output:  # without the shapes stated in the file
        bare.graph.output.add(name=port.name).type.tensor_type.elem_type = port.type.tensor_type.elem_type
    return onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True)


def fix_batch(port: ValueInfoProto, batch: int) -> None:
    """Set the first axis of an input or output to a size, if it has none."""
    axes = port.type.tensor_type.shape.dim
    if axes and axes[0].dim_value < 1:
        axes[0].dim_value = batch


def shape_of(port: ValueInfoProto) -> Shape:
    """The shape stated for an input, an output or a tensor."""
    return tuple(x.dim_value if x.dim_value > 0 else None for x in port.type.tensor_type.shape.dim)


def input_of(node: NodeProto, place: int) -> str:
    """The name of an input; empty where it is omitted."""
    return node.input[place] if place < len(node.input) else ""


def _order(graph: GraphProto) -> list[int]:
    """The positions of the nodes in an order in which they can be computed; unchanged, if there is none."""
    maker = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    needed = [{maker.get(name, -1) for inner in _nodes([node]) for name in inner.input} for node in graph.node]
    as_it_stands = list(range(len(needed)))
    if all(max(makers, default=-1) < place for place, makers in enumerate(needed)):
        return as_it_stands
    try:
        return list(TopologicalSorter({i: needed[i] - {-1} for i in as_it_stands}).static_order())
    except CycleError:  # the checker will report it
        return as_it_stands


def _reordered(model: ModelProto, order: Iterable[int]) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[:]
    copy.graph.node.extend(model.graph.node[i] for i in order)
    return copy


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for graph in _graphs(node):
            yield from _nodes(graph.node)


def _graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensor(attribute: AttributeProto) -> TensorProto | None:
    """The value of a Constant node, in any of its forms."""
    match attribute.name:
        case "value":
            return attribute.t
        case "value_float":
            return onnx.numpy_helper.from_array(np.array(attribute.f, np.float32))
        case "value_floats":
            return onnx.numpy_helper.from_array(np.array(attribute.floats, np.float32))
        case "value_int":
            return onnx.numpy_helper.from_array(np.array(attribute.i, np.int64))
        case "value_ints":
            return onnx.numpy_helper.from_array(np.array(attribute.ints, np.int64))
    return None
