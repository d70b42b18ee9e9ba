"""What TensorRT's ONNX parsers accept, versions 8 to 11, by published operator lists and release notes, without a GPU.

`tensorrt_operators.json` holds the list and its source; further limits stand here with their sources. Only an engine
built on the device is proof.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from spade_edge.export.lint_finding import REFUSED, TARGETS, WARNING, Finding, clean, foreign, kind_of, name_of
from spade_edge.export.onnx_graph import QUANTIZING, OnnxGraph, input_of

ONLY = ("tensorrt",)
JETPACK_6 = (10, 3)  # TensorRT of JetPack 6.1 and 6.2; 6.0 has 8.6
LARGEST_TENSOR = 2**31 - 1  # elements
TOP_K = 3840  # the list, at TopK
INT32 = np.iinfo(np.int32)

PARTITIONING = ("NonZero", "NonMaxSuppression", "RoiAlign", "If", "Loop", "Scan")
RESIZE = {
    "mode": ("nearest", "linear"),
    "coordinate_transformation_mode": (
        "half_pixel",
        "pytorch_half_pixel",
        "tf_half_pixel_for_nn",
        "asymmetric",
        "align_corners",
    ),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
    "keep_aspect_ratio_policy": ("stretch",),
}  # by the list; ONNX's defaults are among these
TYPES: Mapping[int, str] = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.INT8: "INT8",
    TensorProto.UINT8: "UINT8",
    TensorProto.BOOL: "BOOL",
    TensorProto.FLOAT8E4M3FN: "FP8",
    TensorProto.INT4: "INT4",
}  # as named in the list


@cache
def tensorrt_operators() -> Mapping[str, Any]:
    """The operator list: `tensorrt` is its version, `source` its origin, `supported` has types by operator."""
    text = files("spade_edge.export").joinpath("tensorrt_operators.json").read_text("utf-8")
    listed: dict[str, Any] = json.loads(text)
    return listed


def check_domains(graph: OnnxGraph) -> Iterator[Finding]:
    """Operators that are not ONNX's own."""
    local = {(function.domain, function.name) for function in graph.model.functions}
    if local:
        where = tuple(name for _, name in sorted(local))
        expected, remedy = "no local functions: TensorRT 8 has none, and lint checks none", "inline them: onnx.inliner"
        yield Finding(REFUSED, "domains", ONLY, where, expected, "functions of the model's own", remedy)
    for node in graph.nodes:
        if foreign(node) and (node.domain, node.op_type) not in local:
            ours = ", which only onnxruntime has" if node.domain == "com.microsoft" else ""
            remedy = "export without onnxruntime's graph optimisation"
            found = kind_of(node) + ours
            yield Finding(REFUSED, "domains", ONLY, (name_of(node),), "operators of ai.onnx", found, remedy)


def check_operators(graph: OnnxGraph) -> Iterator[Finding]:
    """Operators that are not in the list, too new, or that split the graph."""
    listed = tensorrt_operators()
    trial = "build an engine on the device before relying on it"
    for node in graph.nodes:
        kind, where = node.op_type, (name_of(node),)
        if foreign(node):
            continue
        if kind not in listed["supported"]:
            expected, remedy = (
                f"an operator that TensorRT is known to have, up to {listed['newest']}",
                "replace it with listed operators",
            )
            yield Finding(REFUSED, "operators", ONLY, where, expected, clean(kind), remedy)
            continue
        if kind in listed["since"]:
            since = listed["since"][kind]
            severity = REFUSED if since and tuple(map(int, since.split("."))) > JETPACK_6 else WARNING
            found = f"{kind}, " + (f"new in TensorRT {since}" if since else f"known to be in {listed['tensorrt']} only")
            expected = "TensorRT 10.3 or 8.6, as on JetPack 6"
            yield Finding(severity, "operators", ONLY, where, expected, found, trial, _lacking(since))
        if kind in listed["restrictions"]:
            expected = f"{kind}: {listed['restrictions'][kind]}"
            yield Finding(WARNING, "operators", ONLY, where, expected, "something that lint does not check", trial)
        if kind in PARTITIONING:
            found, remedy = f"{kind}, which splits the graph", "move it out of the network"
            yield Finding(WARNING, "operators", ONLY, where, "one engine for the whole graph", found, remedy)


def _lacking(since: str | None) -> tuple[int, ...]:
    """The major versions that lack an operator on a Jetson, where TensorRT 8 is 8.6 and TensorRT 10 at least 10.3."""
    if since is None:
        return (8,)
    first = tuple(map(int, since.split(".")))
    return tuple(version for version, has in ((8, (8, 6)), (10, JETPACK_6)) if first > has)


def check_restrictions(graph: OnnxGraph) -> Iterator[Finding]:
    """The list's restrictions of single operators."""
    for node in graph.nodes:
        if node.op_type in RESTRICTED and not foreign(node):
            attributes = {x.name: onnx.helper.get_attribute_value(x) for x in node.attribute if not x.ref_attr_name}
            for severity, expected, found, remedy in RESTRICTED[node.op_type](graph, node, attributes):
                allowed = f"{node.op_type}: {expected}"
                yield Finding(severity, "restrictions", ONLY, (name_of(node),), allowed, found, remedy)


Restriction = Iterator[tuple[str, str, str, str]]  # severity, expected, found, remedy


def _axes(graph: OnnxGraph, node: NodeProto, attributes: Mapping[str, Any]) -> Restriction:
    if input_of(node, 1) and input_of(node, 1) not in graph.constants:
        yield REFUSED, "constant axes", "computed ones", "export with constant axes"


def _constant(graph: OnnxGraph, node: NodeProto, attributes: Mapping[str, Any]) -> Restriction:
    if attributes.keys() & {"sparse_value", "value_string", "value_strings"}:
        yield REFUSED, "a dense tensor of numbers", "something else", "store it as a tensor"


def _pool(graph: OnnxGraph, node: NodeProto, attributes: Mapping[str, Any]) -> Restriction:
    rank = len(graph.shapes.get(input_of(node, 0), ()))
    if node.op_type != "LpPool" and rank not in {0, 4, 5}:
        yield REFUSED, "2 or 3 spatial dimensions", str(rank - 2), "add a dimension of size 1"
    if any(step != 1 for step in attributes.get("dilations", ())):
        yield REFUSED, "no dilation", f"dilations {list(attributes['dilations'])}", "pool without dilation"
    if any(node.output[1:]):
        yield REFUSED, "no indices", "the output Indices", "drop that output"


def _normalization(graph: OnnxGraph, node: NodeProto, attributes: Mapping[str, Any]) -> Restriction:
    if any(node.output[1:]):
        yield REFUSED, "only the first output", "further ones", "drop those outputs"


def _scatter(graph: OnnxGraph, node: NodeProto, attributes: Mapping[str, Any]) -> Restriction:
    if _text(attributes.get("reduction", "none")) != "none":
        yield REFUSED, "no reduction", _text(attributes["reduction"]), "reduce in a separate step"


def _resize(graph: OnnxGraph, node: NodeProto, attributes: Mapping[str, Any]) -> Restriction:
    if attributes.get("antialias"):
        remedy = "resample outside the network, or multiply by constant matrices"
        yield REFUSED, "no antialiasing", "antialias 1", remedy
    for name, allowed in RESIZE.items():
        if name in attributes and _text(attributes[name]) not in allowed:
            yield REFUSED, f"{name} {', '.join(allowed)}", _text(attributes[name]), "use one of these"


def _top_k(graph: OnnxGraph, node: NodeProto, attributes: Mapping[str, Any]) -> Restriction:
    k = np.array(attributes["k"]) if "k" in attributes else graph.values(input_of(node, 1))
    if attributes.get("sorted", 1) == 0:
        yield REFUSED, "sorted results", "sorted 0", "set sorted to 1"
    if k is None:
        yield WARNING, f"K under {TOP_K}", "a K known only at run time", "make K a constant"
    elif np.any(k >= TOP_K):
        yield REFUSED, f"K under {TOP_K}", str(int(k.max())), "use a smaller K"


REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
RESTRICTED: Mapping[str, Callable[[OnnxGraph, NodeProto, Mapping[str, Any]], Restriction]] = {
    **dict.fromkeys(("CumSum", "Squeeze", "Unsqueeze", *(f"Reduce{how}" for how in REDUCTIONS)), _axes),
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), _pool),
    "Constant": _constant,
    "LayerNormalization": _normalization,
    "Resize": _resize,
    "ScatterND": _scatter,
    "TopK": _top_k,
}


def check_types(graph: OnnxGraph) -> Iterator[Finding]:
    """Element types: 64-bit ones, and those that an operator is not listed for."""
    doubles = [name for name, kind in graph.types.items() if kind == TensorProto.DOUBLE]
    doubles += [x.name for x in graph.tensors if x.data_type == TensorProto.DOUBLE and x.name not in graph.types]
    if doubles:
        yield Finding(REFUSED, "types", ONLY, tuple(doubles), "float32 or float16", "float64", "export in float32")
    sparse = tuple(x.values.name for part in graph.graphs for x in part.sparse_initializer)
    if sparse:
        yield Finding(REFUSED, "types", ONLY, sparse, "dense weights", "sparse ones", "store them dense")
    for name, tensor in graph.constants.items():
        values = graph.values(name) if tensor.data_type == TensorProto.INT64 else None
        if values is not None and values.size and (values.min() < INT32.min or values.max() > INT32.max):
            expected, remedy = "values of int32", "use smaller ones: TensorRT 8 clamps them"
            yield Finding(WARNING, "types", ONLY, (name,), expected, "int64 out of that range", remedy)
    wide = tuple(x for x, kind in graph.types.items() if kind == TensorProto.INT64 and x in graph.computed)
    if wide:
        expected, remedy = "int32 for computed integers", "make them constants: TensorRT 8 casts them"
        yield Finding(WARNING, "types", ONLY, wide, expected, "int64", remedy)
    supported = tensorrt_operators()["supported"]
    for node in graph.nodes:
        if foreign(node) or node.op_type in QUANTIZING or not supported.get(node.op_type):
            continue
        ports = (*node.input[:1], *(node.output[:1] if node.op_type == "Cast" else ()))
        for kind in {graph.types[port] for port in ports if port in graph.types} - {TensorProto.DOUBLE}:
            if TYPES.get(kind) not in supported[node.op_type]:
                expected = f"{node.op_type} of {', '.join(supported[node.op_type])}"
                found, remedy = type_name(kind), "cast it to one of these first"
                yield Finding(REFUSED, "types", ONLY, (name_of(node),), expected, found, remedy)


def check_sizes(graph: OnnxGraph) -> Iterator[Finding]:
    """Tensors that are too large at the given batch."""
    for name, shape in graph.shapes.items():
        sizes = [size for size in shape if size is not None]
        if len(sizes) == len(shape) and prod(sizes) > LARGEST_TENSOR:
            expected, remedy = "at most 2147483647 elements per tensor", "use a smaller view or a smaller batch"
            yield Finding(REFUSED, "sizes", ONLY, (name,), expected, "x".join(map(str, sizes)), remedy)


def check_quantization(graph: OnnxGraph) -> Iterator[Finding]:
    """Q/DQ pairs. The parser requires zero points of 0, as many as scales, and scales over 0; it rejects UINT8."""
    remedy = "export with --precision int8 --target tensorrt"
    weights = {x.output[0] for x in graph.nodes if x.op_type == "QuantizeLinear" and input_of(x, 0) in graph.constants}
    weights |= graph.constants.keys()
    for node in graph.nodes:
        if node.op_type not in QUANTIZING or foreign(node):
            continue
        where, zero_point = (name_of(node),), input_of(node, 2)
        codes, scale, zero = graph.code_type(node), graph.values(input_of(node, 1)), graph.values(zero_point)
        faults: list[tuple[str, str]] = []
        if codes == TensorProto.INT32:
            faults.append(("no quantized bias: TensorRT dequantizes only int8", "int32"))
        elif codes != TensorProto.INT8:
            faults.append(
                ("int8 codes", type_name(codes) + ("" if zero_point else ", the default without a zero point"))
            )
        elif not zero_point:
            expected = "a zero point, which TensorRT 8 requires"
            yield Finding(WARNING, "quantisation", ONLY, where, expected, "none", remedy, (8,))
        if zero is not None and np.any(zero):
            faults.append(("zero points of 0", "others"))
        if input_of(node, 1) in graph.computed or zero_point in graph.computed:
            faults.append(("constant scales and zero points", "computed ones"))
        if scale is not None and zero is not None and scale.size != zero.size:
            faults.append(("as many zero points as scales", f"{zero.size} and {scale.size}"))
        if scale is not None and scale.size > 1 and input_of(node, 0) not in weights:
            faults.append(("one scale for an activation", f"{scale.size}"))
        for expected, found in faults:
            yield Finding(REFUSED, "quantisation", ONLY, where, expected, found, remedy)
        if scale is not None and not np.all((scale > 0) & np.isfinite(scale)):
            again = "calibrate again with images that show parts"
            yield Finding(REFUSED, "quantisation", TARGETS, where, "finite scales over 0", "another one", again)


def type_name(elem_type: int) -> str:
    """The NumPy name of an element type."""
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, ValueError, TypeError):
        return f"type {elem_type}"


def _text(value: Any) -> str:
    return clean(value.decode(errors="replace") if isinstance(value, bytes) else str(value))
