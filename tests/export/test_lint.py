"""Lint: a defect put into a sound little network is found, for the right targets, and nothing else is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from cards import card_of
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array

from spade_edge.export import ExportReport
from spade_edge.export import lint as lint_module
from spade_edge.export.lint import Finding, lint
from spade_edge.runtime.errors import DeviceError, ModelError

CARD = card_of((32, 32), (8, 4))
BOTH = ("cpu", "tensorrt")
TENSORRT = ("tensorrt",)


def little(*extra: NodeProto, **constants: NDArray[Any]) -> ModelProto:
    """A sound model: one convolution, level1 (N, 4, 4, 4) and image (N, 4); `extra` nodes hang at the end of it.

    Tensors to hang them on: x (N, 3, 32, 32), the network's input; y (N, 4, 4, 4), the convolution's output.
    """
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(4, 3, 8, 8)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["frames"], ["x"], "in", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["x", "weight", "bias"], ["y"], "conv", strides=[8, 8]),
        helper.make_node("Relu", ["y"], ["z"], "relu"),
        helper.make_node("Transpose", ["z"], ["level1"], "out", perm=[0, 2, 3, 1]),
        helper.make_node("GlobalAveragePool", ["z"], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["image"], "flatten"),
    ]
    stored = {"weight": weight, "bias": bias, **constants}
    graph = helper.make_graph(
        [*nodes, *extra],
        "little",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["batch", 32, 32, 3])],
        [
            helper.make_tensor_value_info("level1", TensorProto.FLOAT, ["batch", 4, 4, 4]),
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 4]),
        ],
        [from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, CARD.to_metadata())
    return model


def node(kind: str, inputs: str, outputs: str = "e", *, name: str = "extra", **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), name, **attributes)


def int64(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def changed(change: Callable[[ModelProto], object], *extra: NodeProto, **constants: NDArray[Any]) -> ModelProto:
    model = little(*extra, **constants)
    change(model)
    return model


def opset(version: int) -> Callable[[ModelProto], object]:
    return lambda model: setattr(model.opset_import[0], "version", version)


def dimension(port: Callable[[ModelProto], onnx.ValueInfoProto], axis: int, size: int | str) -> ModelProto:
    def change(model: ModelProto) -> None:
        place = port(model).type.tensor_type.shape.dim[axis]
        place.Clear()
        setattr(place, "dim_param" if isinstance(size, str) else "dim_value", size)

    return changed(change)


def other_domain() -> ModelProto:
    gelu = node("Gelu", "z")
    gelu.domain = "com.microsoft"
    return changed(lambda m: m.opset_import.append(helper.make_opsetid("com.microsoft", 1)), gelu)


def external() -> ModelProto:
    def change(model: ModelProto) -> None:
        weight = model.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="../../../etc/passwd")

    return changed(change)


def external_in_a_constant() -> ModelProto:
    hidden = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    hidden.external_data.add(key="location", value="weights.bin")
    return little(node("Constant", "", value=hidden))


def branch(kind: str) -> ModelProto:
    """An If whose branches hold an operator."""
    inner = [
        helper.make_graph(
            [helper.make_node(kind, ["z"], [f"{side}"], f"in {side}")],
            side,
            [],
            [helper.make_tensor_value_info(side, TensorProto.FLOAT, None)],
        )
        for side in ("yes", "no")
    ]
    return little(node("If", "true", then_branch=inner[0], else_branch=inner[1]), true=np.array(True))


def local_function() -> ModelProto:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    function = helper.make_function("own", "Double", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    call = node("Double", "z")
    call.domain = "own"

    def change(model: ModelProto) -> None:
        model.functions.append(function)
        model.opset_import.append(helper.make_opsetid("own", 1))

    return changed(change, call)


def sparse() -> ModelProto:
    value = helper.make_sparse_tensor(
        helper.make_tensor("thin", TensorProto.FLOAT, [1], [3.0]),
        helper.make_tensor("thin at", TensorProto.INT64, [1], [2]),
        [4],
    )
    return changed(lambda m: m.graph.sparse_initializer.append(value))


def double() -> ModelProto:
    return little(node("Cast", "z", to=TensorProto.DOUBLE))


def half_input() -> ModelProto:
    def change(model: ModelProto) -> None:
        input_of(model).type.tensor_type.elem_type = TensorProto.FLOAT16
        model.graph.node[0].input[0] = "wide"
        model.graph.node.insert(0, helper.make_node("Cast", ["frames"], ["wide"], "wide", to=TensorProto.FLOAT))

    return changed(change)


def metadata(**properties: str) -> ModelProto:
    def change(model: ModelProto) -> None:
        del model.metadata_props[:]
        helper.set_model_props(model, properties)

    return changed(change)


def input_of(model: ModelProto) -> onnx.ValueInfoProto:
    return model.graph.input[0]


def level_of(model: ModelProto) -> onnx.ValueInfoProto:
    return model.graph.output[0]


def pairs(
    *, code: type[Any] = np.int8, zero: Any = 0, scale: Any = 0.1, activation: str = "z", axis: int | None = None
) -> ModelProto:
    """A Q/DQ pair behind the Relu."""
    attributes = {} if axis is None else {"axis": axis}
    quantize = helper.make_node("QuantizeLinear", [activation, "scale", "zero"], ["q"], "quantize", **attributes)
    back = helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"], "back", **attributes)
    return little(quantize, back, scale=np.array(scale, np.float32), zero=np.array(zero, code))


def bias_in_int32() -> ModelProto:
    back = helper.make_node("DequantizeLinear", ["codes", "scale"], ["dq"], "back")
    return little(back, codes=np.array([1, 2], np.int32), scale=np.array(0.1, np.float32))


def computed_scale() -> ModelProto:
    mean = helper.make_node("ReduceMax", ["z"], ["scale"], "largest", keepdims=0)
    quantize = helper.make_node("QuantizeLinear", ["z", "scale", "zero"], ["q"], "quantize")
    return little(mean, quantize, zero=np.array(0, np.int8))


def computed_zero_point() -> ModelProto:
    cast = helper.make_node("Cast", ["largest"], ["zero"], "cast", to=TensorProto.INT8)
    largest = helper.make_node("ReduceMax", ["z"], ["largest"], "largest", keepdims=0)
    quantize = helper.make_node("QuantizeLinear", ["z", "scale", "zero"], ["q"], "quantize")
    return little(largest, cast, quantize, scale=np.array(0.1, np.float32))


def without_zero_point() -> ModelProto:
    quantize = helper.make_node("QuantizeLinear", ["z", "scale"], ["q"], "quantize")
    return little(quantize, scale=np.array(0.1, np.float32))


def resized(**attributes: Any) -> ModelProto:
    resize = node("Resize", "z  scales", **({"mode": "linear"} | attributes))
    del resize.input[:]
    resize.input.extend(["z", "", "scales"])
    extra = np.array([1, 1, 2, 2], np.float32)
    return changed(opset(18), resize, scales=extra) if "antialias" in attributes else little(resize, scales=extra)


SCALES = [0.1, 0.2, 0.3, 0.4]
# What refuses: the model, and for each finding the check, the targets, the first name and a word of what was found.
REFUSED: Mapping[str, tuple[Callable[[], ModelProto], list[tuple[str, tuple[str, ...], str, str]]]] = {
    "newer IR": (lambda: changed(lambda m: setattr(m, "ir_version", 10)), [("IR version", BOTH, "", "10")]),
    "newer opset": (
        lambda: changed(opset(21)),
        [("opset", ("cpu",), "", "21"), ("opset", TENSORRT, "", "21")],
    ),
    "older opset": (lambda: changed(opset(8)), [("opset", TENSORRT, "", "8")]),
    "a newer ai.onnx.ml that nothing uses": (
        lambda: changed(lambda m: m.opset_import.append(helper.make_opsetid("ai.onnx.ml", 5))),
        [("opset", BOTH, "", "ai.onnx.ml 5")],
    ),
    "external data": (external, [("external data", BOTH, "weight", "other files")]),
    "external data in a Constant": (external_in_a_constant, [("external data", BOTH, "hidden", "other files")]),
    "no card": (metadata, [("card", BOTH, "", "none")]),
    "a broken card": (lambda: metadata(spade_edge="{"), [("card", BOTH, "", "expected JSON")]),
    "an output less": (
        lambda: changed(lambda m: m.graph.output.pop()),
        [("card", BOTH, "image", "no such")],
    ),
    "an output of another name": (
        lambda: changed(
            lambda m: m.graph.output[1].CopyFrom(helper.make_tensor_value_info("mean", 1, ["batch", 4, 1, 1]))
        ),
        [("card", BOTH, "image", "no such")],
    ),
    "an input more": (
        lambda: changed(lambda m: m.graph.input.append(helper.make_tensor_value_info("more", 1, ["batch"]))),
        [("card", BOTH, "more", "others")],
    ),
    "float16 input": (half_input, [("card", BOTH, "frames", "Nx32x32x3 float16")]),
    "another size": (
        lambda: dimension(input_of, 1, 40),
        [("card", BOTH, "frames", "Nx40x32x3 float32"), ("card", BOTH, "level1", "5x4x4")],
    ),
    "free height": (
        lambda: dimension(input_of, 1, "height"),
        [("axes", BOTH, "frames", "height")],
    ),
    "free axis of an output": (lambda: dimension(level_of, 2, "w"), [("axes", TENSORRT, "level1", "w")]),
    "batch of 3": (lambda: dimension(input_of, 0, 3), [("axes", ("cpu",), "frames", "always 3")]),
    "onnxruntime's own operator": (other_domain, [("domains", TENSORRT, "extra", "com.microsoft::Gelu")]),
    "local function": (local_function, [("domains", TENSORRT, "Double", "functions")]),
    "unlisted operator": (
        lambda: little(node("Unique", "z", "a b")),
        [("operators", TENSORRT, "extra", "Unique")],
    ),
    "unlisted operator in a branch": (lambda: branch("Det"), [("operators", TENSORRT, "in no", "Det")]),
    "operator newer than JetPack 6": (
        lambda: little(node("HannWindow", "size"), size=np.array(8, np.int64)),
        [("operators", TENSORRT, "extra", "HannWindow, new in TensorRT 10.4")],
    ),
    "antialiased Resize": (lambda: resized(antialias=1), [("restrictions", TENSORRT, "extra", "antialias")]),
    "cubic Resize": (lambda: resized(mode="cubic"), [("restrictions", TENSORRT, "extra", "cubic")]),
    "Resize by another coordinate rule": (
        lambda: little(
            node("Resize", "z roi scales", mode="linear", coordinate_transformation_mode="tf_crop_and_resize"),
            roi=np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32),
            scales=np.array([1, 1, 2, 2], np.float32),
        ),
        [("restrictions", TENSORRT, "extra", "tf_crop_and_resize")],
    ),
    "TopK of 3840": (
        lambda: little(
            node("Reshape", "x long", "f", name="before"), node("TopK", "f k", "a b"), long=int64(-1), k=int64(3840)
        ),
        [("restrictions", TENSORRT, "extra", "3840")],
    ),
    "unsorted TopK": (
        lambda: little(node("TopK", "z k", "a b", sorted=0), k=int64(2)),
        [("restrictions", TENSORRT, "extra", "sorted 0")],
    ),
    "indices of MaxPool": (
        lambda: little(node("MaxPool", "z", "a b", kernel_shape=[2, 2])),
        [("restrictions", TENSORRT, "extra", "Indices")],
    ),
    "dilated MaxPool": (
        lambda: little(node("MaxPool", "z", kernel_shape=[2, 2], dilations=[2, 2])),
        [("restrictions", TENSORRT, "extra", "dilations [2, 2]")],
    ),
    "pooling of one dimension": (
        lambda: little(
            node("Reshape", "z flat", "f", name="before"),
            node("AveragePool", "f", kernel_shape=[2]),
            flat=int64(0, 4, 16),
        ),
        [("restrictions", TENSORRT, "extra", "1")],
    ),
    "computed axes": (
        lambda: little(node("Shape", "z", "s", name="before", start=0, end=1), node("ReduceSum", "z s")),
        [("restrictions", TENSORRT, "extra", "computed")],
    ),
    "texts": (
        lambda: little(node("Constant", "", value_strings=[b"a"])),
        [("restrictions", TENSORRT, "extra", "something else")],
    ),
    "float64": (double, [("types", TENSORRT, "e", "float64")]),
    "float64 weights": (
        lambda: little(node("Identity", "wide"), wide=np.ones(3)),
        [("types", TENSORRT, "wide", "float64")],
    ),
    "sparse weights": (sparse, [("types", TENSORRT, "thin", "sparse")]),
    "an operator on a type it is not listed for": (
        lambda: little(
            node("Cast", "z", "c", name="before", to=TensorProto.UINT8), node("MaxPool", "c", kernel_shape=[2, 2])
        ),
        [("types", TENSORRT, "extra", "uint8")],
    ),
    "a cast to what TensorRT has not": (
        lambda: little(node("Cast", "z", to=TensorProto.INT16)),
        [("types", TENSORRT, "extra", "int16")],
    ),
    "a tensor of 2^32 elements": (
        lambda: little(node("Tile", "z many"), many=int64(1, 1, 4096, 4096)),
        [("sizes", TENSORRT, "e", "4x4x16384x16384")],
    ),
    "unsigned codes": (lambda: pairs(code=np.uint8), [("quantisation", TENSORRT, "quantize", "uint8")]),
    "unsigned codes off 0": (
        lambda: pairs(code=np.uint8, zero=128),
        [("quantisation", TENSORRT, "quantize", "uint8"), ("quantisation", TENSORRT, "quantize", "others")],
    ),
    "signed codes off 0": (lambda: pairs(zero=-3), [("quantisation", TENSORRT, "quantize", "others")]),
    "codes without a zero point": (without_zero_point, [("quantisation", TENSORRT, "quantize", "uint8, the default")]),
    "a quantized bias": (bias_in_int32, [("quantisation", TENSORRT, "back", "int32")]),
    "a computed scale": (computed_scale, [("quantisation", TENSORRT, "quantize", "computed")]),
    "a computed zero point": (
        computed_zero_point,
        [("types", TENSORRT, "cast", "int8"), ("quantisation", TENSORRT, "quantize", "computed")],
    ),
    "a scale for each channel of an activation": (
        lambda: pairs(zero=[0] * 4, scale=SCALES, axis=1),
        [("quantisation", TENSORRT, "quantize", "4")],
    ),
    "a scale of 0": (lambda: pairs(scale=0), [("quantisation", BOTH, "quantize", "another")]),
    "a scale that is no number": (lambda: pairs(scale=np.nan), [("quantisation", BOTH, "quantize", "another")]),
    "an operator that ONNX does not know": (
        lambda: little(node("Frobnicate", "z")),
        [("validity", BOTH, "", "Frobnicate"), ("operators", TENSORRT, "extra", "Frobnicate")],
    ),
    "a node that needs itself": (lambda: little(node("Relu", "e", "e")), [("validity", BOTH, "", "")]),
    "a tensor that nobody makes": (lambda: little(node("Relu", "nothing")), [("validity", BOTH, "", "nothing")]),
    "types that contradict": (
        lambda: little(node("Add", "z whole"), whole=int64(1)),
        [("validity", BOTH, "", "")],
    ),
    "weights that are cut off": (
        lambda: changed(lambda m: setattr(m.graph.initializer[0], "raw_data", b"\0" * 12)),
        [("validity", BOTH, "", "")],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_refuses(name: str) -> None:
    make, expected = REFUSED[name]
    report = lint(make())
    refused = [x for x in report.findings if x.severity == "refused"]
    assert [(x.check, x.targets) for x in refused] == [(check, targets) for check, targets, _, _ in expected]
    for x, (_, _, where, found) in zip(refused, expected, strict=True):
        assert (x.where[:1] or ("",)) == (where,) and found in x.found, x
        assert x.expected and x.remedy
    for target in BOTH:
        assert report.fit(target) == all(target not in targets for _, targets, _, _ in expected)
        assert report.reasons(target) == tuple(x for x in refused if target in x.targets)


def long_branch() -> ModelProto:
    """The sum of a loop, whose length is known only when it runs."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Relu", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, None),
        ],
    )
    return little(node("Loop", "times true z", body=body), times=np.array(2, np.int64), true=np.array(True))


def half() -> ModelProto:
    """The convolution in float16, between casts."""

    def change(model: ModelProto) -> None:
        before = helper.make_node("Cast", ["x"], ["x16"], "down", to=TensorProto.FLOAT16)
        after = helper.make_node("Cast", ["y16"], ["y"], "up", to=TensorProto.FLOAT)
        convolution = model.graph.node[1]
        convolution.input[0], convolution.output[0] = "x16", "y16"
        model.graph.node.insert(1, before)
        model.graph.node.insert(3, after)
        for tensor in model.graph.initializer:
            tensor.CopyFrom(from_array(onnx.numpy_helper.to_array(tensor).astype(np.float16), tensor.name))

    return changed(change)


# What only warns: the model, and for each finding the check, the targets and a word of what was found.
WARNED: Mapping[str, tuple[Callable[[], ModelProto], list[tuple[str, tuple[str, ...], str]]]] = {
    "nothing": (little, []),
    "small int64 constants, Gather": (lambda: little(node("Gather", "z at", axis=1), at=int64(2, 1, 0)), []),
    "a weight that is dequantized by channel": (
        lambda: little(
            node("DequantizeLinear", "codes scale zero", axis=0),
            codes=np.ones((4, 3), np.int8),
            scale=np.array(SCALES, np.float32),
            zero=np.zeros(4, np.int8),
        ),
        [("card", BOTH, "int8")],
    ),
    "a weight that is quantized and dequantized by channel": (
        lambda: little(
            node("QuantizeLinear", "w scale zero", "q", name="before", axis=0),
            node("DequantizeLinear", "q scale zero", axis=0),
            w=np.ones((4, 3), np.float32),
            scale=np.array(SCALES, np.float32),
            zero=np.zeros(4, np.int8),
        ),
        [("card", BOTH, "int8")],
    ),
    "symmetric pairs": (pairs, [("card", BOTH, "int8")]),
    "codes that are dequantized without a zero point": (
        lambda: little(
            node("DequantizeLinear", "codes scale"), codes=np.ones(4, np.int8), scale=np.array(0.1, np.float32)
        ),
        [("card", BOTH, "int8"), ("quantisation", TENSORRT, "none")],
    ),
    "a constant beyond 32 bits": (
        lambda: little(node("Slice", "z start end axis"), start=int64(0), end=int64(2**63 - 1), axis=int64(1)),
        [("types", TENSORRT, "range")],
    ),
    "the same in a Constant node": (
        lambda: little(node("Constant", "", value_ints=[2**40, 1])),
        [("types", TENSORRT, "range")],
    ),
    "int64 that is computed": (lambda: little(node("ArgMax", "z", axis=1)), [("types", TENSORRT, "int64")]),
    "a K that is computed": (
        lambda: little(node("Shape", "z", "k", name="before", start=1, end=2), node("TopK", "z k", "a b", axis=1)),
        [("axes", TENSORRT, "run time"), ("restrictions", TENSORRT, "run time"), ("types", TENSORRT, "int64")],
    ),
    "NonZero": (
        lambda: little(node("NonZero", "z")),
        [("axes", TENSORRT, "run time"), ("operators", TENSORRT, "NonZero"), ("types", TENSORRT, "int64")],
    ),
    "scalars in Constant nodes": (
        lambda: little(
            node("Constant", "", "one", name="one", value_float=1.0),
            node("Constant", "", "few", name="few", value_floats=[1.0, 2.0]),
            node("Constant", "", "whole", name="whole", value_int=1),
            node("Mul", "z one"),
        ),
        [],
    ),
    "control flow": (long_branch, [("operators", TENSORRT, "Loop")]),
    "an operator that JetPack 6.0 lacks": (
        lambda: little(node("Hardmax", "z")),
        [
            ("operators", TENSORRT, "Hardmax, new in TensorRT 9.2"),
            ("operators", TENSORRT, "lint does not check"),
        ],
    ),
    "an operator of which the first version is not known": (
        lambda: changed(opset(18), node("Mish", "z")),
        [("operators", TENSORRT, "Mish, known to be in 10.6 only")],
    ),
    "a batch of 1": (
        lambda: dimension(input_of, 0, 1),
        [("axes", ("cpu",), "always 1"), ("axes", TENSORRT, "always 1")],
    ),
    "float16": (half, [("card", BOTH, "fp16"), ("precision", ("cpu",), "float16")]),
    "nodes in another order": (
        lambda: changed(lambda m: m.graph.node.insert(0, m.graph.node.pop())),
        [("validity", BOTH, "another order")],
    ),
}


@pytest.mark.parametrize("name", WARNED)
def test_what_only_warns(name: str) -> None:
    make, expected = WARNED[name]
    report = lint(make())
    assert [(x.severity, x.check, x.targets) for x in report.findings] == [
        ("warning", check, targets) for check, targets, _ in expected
    ]
    for x, (_, _, found) in zip(report.findings, expected, strict=True):
        assert found in x.found and x.expected and x.remedy
    assert report.fit("cpu") and report.fit("tensorrt")
    onnxruntime.InferenceSession(make().SerializeToString(), providers=["CPUExecutionProvider"])  # so it is


def test_an_exported_model_fits_both(exported: ExportReport) -> None:
    report = lint(exported.path)
    assert report.findings == () and report.fit("cpu") and report.fit("tensorrt")
    model = onnx.load(str(exported.path))
    assert dict(report.operators) == Counter(x.op_type for x in model.graph.node)
    assert (report.source, report.size) == (str(exported.path), exported.size)
    assert (report.ir_version, report.opset) == (8, 17)
    assert (report.precision, report.quantization, report.made_for, report.batch) == ("fp32", None, BOTH, None)
    content = lint(model, source=str(exported.path))
    assert (content.findings, content.operators) == (report.findings, report.operators)


def test_the_model_is_left_as_it_is() -> None:
    model = changed(lambda m: m.graph.node.insert(0, m.graph.node.pop()))
    before = model.SerializeToString(deterministic=True)
    lint(model)
    assert model.SerializeToString(deterministic=True) == before


def test_sizes_are_those_of_the_batch() -> None:
    model = little(node("Tile", "z many"), many=int64(1, 1, 4096, 4096))  # 2^30 elements a view
    assert lint(model, batch=1).fit("tensorrt")
    assert not lint(model, batch=2).fit("tensorrt")


def test_what_would_take_all_memory_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Onnxruntime computes constants when it opens a model: here 64 GB."""
    monkeypatch.setattr(lint_module, "_open", lambda *_, **__: pytest.fail("opened"))
    model = little(node("ConstantOfShape", "size"), size=int64(2**17, 2**17))
    assert [x.check for x in lint(model).reasons("tensorrt")] == ["sizes"]


def test_the_same_in_several_places_is_one_finding_that_names_them() -> None:
    model = little(*(node("Det", "z", f"d{i}", name=f"det {i}") for i in range(3)))
    assert [x.where for x in lint(model).findings] == [("det 0", "det 1", "det 2")]


def test_what_onnxruntime_itself_refuses_is_found() -> None:
    """A convolution in float64: valid, and in no provider."""

    def change(model: ModelProto) -> None:
        wide = helper.make_node("Cast", ["x"], ["x64"], "wide", to=TensorProto.DOUBLE)
        narrow = helper.make_node("Cast", ["y64"], ["y"], "narrow", to=TensorProto.FLOAT)
        model.graph.node[1].input[0], model.graph.node[1].output[0] = "x64", "y64"
        model.graph.node[1].op_type = "Conv"
        model.graph.node.insert(1, wide)
        model.graph.node.insert(3, narrow)
        for tensor in model.graph.initializer:
            tensor.CopyFrom(from_array(onnx.numpy_helper.to_array(tensor).astype(np.float64), tensor.name))

    (reason,) = lint(changed(change)).reasons("cpu")
    assert reason.check == "runtime" and "Conv" in reason.found


def test_a_missing_onnxruntime_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(DeviceError, match="onnxruntime"):
        lint(little())


def test_names_cannot_write_on_a_terminal() -> None:
    (finding,) = lint(little(node("Det", "z", name="a\x1b[31m\nb\u202e"))).findings
    assert finding.where == ("a?[31m b?",)


def test_a_card_names_the_target_of_a_quantized_model() -> None:
    def claim(target: str) -> ModelProto:
        card = CARD.to_json() | {"precision": "int8", "quantisation": {"target": target}}
        model = pairs()
        del model.metadata_props[:]
        helper.set_model_props(model, {"spade_edge": json.dumps(card)})
        return model

    assert lint(claim("cpu")).made_for == ("cpu",)
    assert lint(claim("tensorrt")).made_for == TENSORRT
    assert lint(claim("toaster")).made_for == TENSORRT  # signed codes
    assert lint(pairs(code=np.uint8)).made_for == ("cpu",)
    assert lint(claim("cpu")).findings == ()


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The little network as onnxruntime's own tool quantizes it."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    folder = tmp_path_factory.mktemp("quantized")
    onnx.save(little(), str(folder / "float.onnx"))

    class Views(CalibrationDataReader):  # type: ignore[misc]  # untyped
        def __init__(self) -> None:
            values = np.random.default_rng(0).uniform(0, 255, (3, 1, 32, 32, 3)).astype(np.float32)
            self.views = iter(values)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            view = next(self.views, None)
            return None if view is None else {"frames": view}

    def make(*, signed: bool, form: str = "QDQ", **options: Any) -> Path:
        path = folder / f"{signed} {form} {sorted(options)}.onnx"
        quantize_static(
            str(folder / "float.onnx"),
            str(path),
            Views(),
            quant_format=QuantFormat[form],
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"ActivationSymmetric": signed, "WeightSymmetric": True} | options,
        )
        model = onnx.load(str(path))
        imports = [x for x in model.opset_import if x.domain in {"", "com.microsoft"}]  # it notes all that there are
        del model.opset_import[:]
        model.opset_import.extend(imports)
        onnx.save(model, str(path))
        return path

    return make


def test_what_onnxruntime_quantizes_for_the_cpu(quantized: Callable[..., Path]) -> None:
    report = lint(quantized(signed=False))
    assert (report.precision, report.quantization, report.made_for) == ("int8", "unsigned", ("cpu",))
    assert report.fit("cpu") and not report.fit("tensorrt")
    assert {x.check for x in report.reasons("tensorrt")} == {"quantisation"}
    assert any("uint8" in x.found for x in report.reasons("tensorrt"))


def test_what_onnxruntime_quantizes_symmetrically_fits_tensorrt_without_its_int32_bias(
    quantized: Callable[..., Path],
) -> None:
    report = lint(quantized(signed=True))
    assert (report.quantization, report.made_for) == ("signed", TENSORRT)
    assert [x.found for x in report.reasons("tensorrt")] == ["int32"] and report.fit("cpu")
    report = lint(quantized(signed=True, QuantizeBias=False))
    assert report.fit("tensorrt") and report.fit("cpu")
    assert report.quantization == "signed"


def test_integer_operators_are_for_nothing(quantized: Callable[..., Path]) -> None:
    report = lint(quantized(signed=False, form="QOperator"))
    assert (report.quantization, report.made_for) == ("operators", ("cpu",))
    (reason,) = report.reasons("cpu")  # the runtime takes what export writes
    assert reason.check == "runtime" and "QLinear" in reason.found
    assert "QLinearConv" in {x.found for x in report.reasons("tensorrt")}


def test_broken_files_are_one_clear_line(tmp_path: Path) -> None:
    good = little().SerializeToString()
    broken = {
        "empty.onnx": (b"", "no operator"),
        "text.onnx": (b"this is no model, but somebody called it one", "damaged"),
        "noise.onnx": (np.random.default_rng(0).bytes(5000), "damaged"),
        "picture.onnx": (b"\x89PNG\r\n\x1a\n" + bytes(64), "damaged"),
        "cut.onnx": (good[: len(good) // 2], "damaged"),
        "not utf-8.onnx": (good.replace(b"Relu", b"Re\xffu"), "damaged|UTF-8"),
    }
    for name, (content, says) in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=rf"{name}: expected an ONNX model, found .*({says})"):
            lint(tmp_path / name)
    with pytest.raises(ModelError, match="found none"):
        lint(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="found none"):
        lint(tmp_path)


def test_no_cut_of_a_file_fits(tmp_path: Path) -> None:
    content = little().SerializeToString()
    path = tmp_path / "cut.onnx"
    for length in [*range(0, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        try:
            report = lint(path)
        except ModelError:
            continue
        assert not report.fit("cpu") and not report.fit("tensorrt"), length


def test_no_flipped_byte_is_a_fault(tmp_path: Path) -> None:
    content = bytearray(little(node("TopK", "z k", "a b"), k=int64(2)).SerializeToString())
    rng = np.random.default_rng(0)
    path = tmp_path / "flipped.onnx"
    for place in rng.integers(0, len(content), 120):
        flipped = content.copy()
        flipped[place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(flipped)
        try:
            report = lint(path)
        except ModelError as problem:
            assert "\n" not in str(problem)
        else:
            json.dumps(report.to_json())


def test_more_than_one_message_can_hold_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # no bytes on the disk
    with pytest.raises(ModelError, match=r"found 2\.1 GB"):
        lint(path)


def test_weights_in_other_files_are_not_even_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(little(), str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    report = lint(path)
    assert [x.check for x in report.findings] == ["external data"]
    assert report.findings[0].where == ("weight", "bias")


@pytest.mark.parametrize(
    ("make", "refused"),
    [
        (little, ()),
        (lambda: little(node("Unique", "z", "a b")), (8, 10, 11)),
        (lambda: little(node("Hardmax", "z")), (8,)),  # from 9.2 on
        (lambda: little(node("HannWindow", "size"), size=np.array(8, np.int64)), (8, 10)),  # from 10.4 on
        (lambda: little(node("DFT", "z axis"), axis=np.array(1, np.int64)), (8, 10)),  # from 11.2 on
        (lambda: little(node("IsInf", "z")), ()),  # from 8.6 on
        (lambda: pairs(code=np.uint8), (8, 10, 11)),
        (
            lambda: little(
                node("DequantizeLinear", "codes scale"), codes=np.ones(4, np.int8), scale=np.array(0.1, np.float32)
            ),
            (8,),  # which wants a zero point
        ),
        (lambda: little(node("ArgMax", "z", axis=1)), ()),  # int64, which TensorRT 8 casts
        (lambda: changed(lambda m: setattr(m.opset_import[0], "version", 21)), (8, 10, 11)),
    ],
)
def test_what_is_refused_for_one_tensorrt_and_not_for_another(
    make: Callable[[], ModelProto], refused: tuple[int, ...]
) -> None:
    report = lint(make())
    assert tuple(version for version in (8, 10, 11) if report.refusals(version)) == refused
    assert {int(version): value["fit"] for version, value in report.to_json()["tensorrt"].items()} == {
        version: version not in refused for version in (8, 10, 11)
    }
    for version in (8, 10, 11):
        said = report.on_tensorrt(version)
        if version in refused:
            assert said == f"no, refused: {', '.join(dict.fromkeys(x.check for x in report.refusals(version)))}"
        else:
            assert said.startswith("yes, computes ") and ("typed" in said) == (version == 11)


def test_what_only_the_cpu_minds_is_no_matter_for_tensorrt() -> None:
    fixed = lint(dimension(input_of, 0, 3))
    assert not fixed.fit("cpu") and [fixed.refusals(version) for version in (8, 10, 11)] == [(), (), ()]


def test_the_report_as_json() -> None:
    value = json.loads(json.dumps(lint(pairs(zero=-3)).to_json()))
    assert value["verdicts"]["cpu"] == {"fit": True, "reasons": []}
    assert value["verdicts"]["tensorrt"]["fit"] is False
    assert value["verdicts"]["tensorrt"]["reasons"] == [x for x in value["findings"] if x["severity"] == "refused"]
    assert set(value["findings"][0]) == set(Finding.__dataclass_fields__)
    assert value["operators"]["Conv"] == 1 and value["made_for"] == ["tensorrt"]


def test_tensorrts_list_holds_operators_of_onnx_and_what_the_export_writes() -> None:
    listed = json.loads(files("spade_edge.export").joinpath("tensorrt_operators.json").read_text("utf-8"))
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    legacy = {"ImageScaler", "ParametricSoftplus", "ScaledTanh", "Scatter", "Upsample"}
    supported, unsupported = set(listed["supported"]), set(listed["unsupported"])
    assert supported | unsupported <= known | legacy and not supported & unsupported
    assert set(listed["since"]) <= supported and set(listed["restrictions"]) <= supported
    assert {kind for types in listed["supported"].values() for kind in types} <= {
        "FP32", "FP16", "BF16", "FP8", "INT4", "INT8", "UINT8", "INT32", "INT64", "BOOL"
    }  # fmt: skip
    written = {"Conv", "Relu", "Clip", "Add", "MaxPool", "Transpose", "Gather", "Sub", "Div", "GlobalAveragePool"}
    assert written | {"Flatten", "Cast", "QuantizeLinear", "DequantizeLinear", "Constant"} <= supported
    assert (listed["tensorrt"], listed["newest"]) == ("10.6", "11.5")
    assert "0137504e2b25fe5253bd85d26b073378fb67805b" in listed["source"]
