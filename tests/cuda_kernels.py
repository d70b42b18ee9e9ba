"""Which operators CUDAExecutionProvider has kernels for, as onnxruntime's docs/OperatorKernels.md lists them.

onnxruntime gives the CPU every node that the provider has no kernel for, and copies its inputs there and back, without
a word. A graph for a GPU must have no such node.
"""

from __future__ import annotations

import onnx
import onnx.helper
import onnx.shape_inference

from spade_edge.runtime.kernels.graph_writer import Graph

_FLOATS = {"float32", "float64", "float16"}
_NUMBERS = _FLOATS | {"int8", "int16", "int32", "int64", "uint8"}
_ALL = _NUMBERS | {"bool"}
_WIDE = _FLOATS | {"int32", "int64"}
# Opset 17: operator to the types that its data may have. Shapes and limits of slices are read on the CPU anyway.
KERNELS = {
    "Abs": _NUMBERS,
    "Add": _NUMBERS,
    "And": {"bool"},
    "ArgMin": _FLOATS,
    "Cast": _ALL,
    "Clip": _FLOATS | {"int8", "int64", "uint8"},
    "Concat": _ALL,
    "Div": _NUMBERS,
    "Equal": _WIDE | {"bool"},
    "Gather": _ALL,
    "GatherND": _FLOATS | {"int64", "bool"},
    "Less": _WIDE,
    "MatMul": _FLOATS,
    "MatMulInteger": {"int8"},
    "Max": _WIDE,
    "Min": _WIDE,
    "Mod": _WIDE,
    "Mul": _NUMBERS,
    "Neg": _NUMBERS - {"uint8"},
    "ReduceMax": _WIDE,
    "ReduceMin": _WIDE | {"int8", "uint8"},
    "ReduceSum": _WIDE,
    "ReduceSumSquare": _FLOATS,
    "Relu": _FLOATS,
    "Reshape": _ALL,
    "Round": _FLOATS,
    "Shape": _ALL,
    "Sign": _NUMBERS,
    "Slice": _ALL,
    "Split": _ALL,
    "Sqrt": _FLOATS,
    "Sub": _NUMBERS,
    "TopK": _WIDE,
    "Transpose": _ALL,
    "Unsqueeze": _ALL,
    "Where": _WIDE | {"uint8"},
}
_DATA = {"Where": 1}  # which input is the data, if not the first


def left_to_the_cpu(graph: Graph) -> list[str]:
    """Operators of a graph, with the type of their data, that CUDA has no kernel for."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph.to_bytes()), strict_mode=True)
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {constant.name: constant.data_type for constant in model.graph.initializer}
    found = []
    for node in model.graph.node:
        kind = onnx.helper.tensor_dtype_to_np_dtype(types[node.input[_DATA.get(node.op_type, 0)]]).name
        if kind not in KERNELS.get(node.op_type, ()):
            found.append(f"{node.op_type} of {kind}")
    return found
