"""The size of each operator's output, held against what onnxruntime computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from spade_edge.runtime.network.onnx_limits import effort
from spade_edge.runtime.network.onnx_outline import OnnxOutline
from spade_edge.runtime.network.onnx_shapes import RULES
from spade_edge.runtime.network.onnx_wire import UnwrittenError

VIEWS, HEIGHT, WIDTH = 2, 12, 20
INT64 = TensorProto.INT64


class Case:
    """One operator: its inputs, of which `x` is (2, 3, 12, 20) and `frames` (2, 12, 20, 3), and its attributes."""

    def __init__(
        self, kind: str, inputs: str = "x", *, opset: int = 17, outputs: int = 1, stored: Any = (), **options: Any
    ) -> None:
        self.kind, self.inputs, self.opset, self.outputs = kind, inputs, opset, outputs
        self.stored, self.options = dict(stored), options

    def __repr__(self) -> str:
        return f"{self.kind} {self.inputs} {self.options}"

    def write(self, path: Path, *, stated: bool) -> Path:
        """Write a model of it; its outputs are `stated` to be float32, or nothing is said about them."""
        names = ["" if name == "-" else name for name in self.inputs.split()]
        results = [f"y{i}" for i in range(self.outputs)]
        nodes = [
            helper.make_node("Transpose", ["frames"], ["x"], perm=[0, 3, 1, 2]),
            helper.make_node("Shape", ["frames"], ["shape"]),
            helper.make_node("Relu", ["x"], ["z"]),
            helper.make_node(self.kind, names, results, **self.options),
        ]
        arrays = {name: np.asarray(value) for name, value in self.stored.items()}
        graph = helper.make_graph(
            nodes,
            "one",
            [helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["batch", HEIGHT, WIDTH, 3])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                if stated
                else helper.make_empty_tensor_value_info(name)
                for name in results
            ],
            [from_array(value, name) for name, value in arrays.items()],
        )
        sets = [helper.make_opsetid("", self.opset)]
        path.write_bytes(helper.make_model(graph, opset_imports=sets, ir_version=8).SerializeToString())
        return path


def floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0.5, 1, shape).astype(np.float32)


def sized(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


WEIGHTS = {"w": floats(6, 3, 3, 5)}
CASES = [
    *(Case(kind) for kind in ("Relu", "Erf", "Sigmoid", "HardSwish", "Softmax", "Neg", "GlobalAveragePool")),
    Case("Clip", "x low high", stored={"low": np.float32(0), "high": np.float32(6)}),
    Case("Gelu", opset=20),
    Case("LayerNormalization", "x scale", stored={"scale": floats(20)}),
    Case("InstanceNormalization", "x a a", stored={"a": floats(3)}),
    Case("BatchNormalization", "x a a a a", stored={"a": floats(3)}),
    Case("PRelu", "x a", stored={"a": floats(3, 1, 1)}),
    Case("Add", "x a", stored={"a": floats(20)}),
    Case("Mul", "x a", stored={"a": floats(5, 1, 1, 12, 1)}),
    Case("Div", "a x", stored={"a": floats(2, 1, 1, 1)}),
    Case("Greater", "x a", stored={"a": floats(3, 1, 1)}),
    Case("Where", "a x b", stored={"a": np.ones((4, 1, 1, 1, 1), bool), "b": floats(1)}),
    Case("Cast", to=TensorProto.FLOAT16),
    Case("Conv", "x w", stored=WEIGHTS),
    Case("Conv", "x w", stored=WEIGHTS, strides=[2, 3], pads=[1, 2, 3, 0], dilations=[2, 1], kernel_shape=[3, 5]),
    Case("Conv", "x w", stored=WEIGHTS, strides=[2, 3], auto_pad="SAME_UPPER"),
    Case("Conv", "x w", stored={"w": floats(6, 1, 3, 3)}, group=3),
    Case("ConvTranspose", "x w", stored={"w": floats(3, 4, 3, 5)}),
    Case("ConvTranspose", "x w", stored={"w": floats(3, 4, 3, 5)}, strides=[2, 3], pads=[1, 0, 1, 2],
         output_padding=[1, 2], dilations=[2, 1]),
    Case("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], dilations=[2, 1]),
    Case("AveragePool", kernel_shape=[2, 3], strides=[5, 3], ceil_mode=1),
    Case("MatMul", "x w", stored={"w": floats(20, 7)}),
    Case("MatMul", "w x", stored={"w": floats(4, 1, 1, 7, 12)}),
    Case("Gemm", "a b", stored={"a": floats(3, 4), "b": floats(5, 3)}, transA=1, transB=1),
    Case("Einsum", "x w", stored={"w": floats(20, 12, 4)}, equation="bchw,whk->bkc"),
    Case("Transpose"),
    Case("Transpose", perm=[2, 0, 3, 1]),
    Case("Reshape", "x s", stored={"s": sized(0, -1, 40)}),
    Case("Reshape", "x s", stored={"s": sized(-1)}),
    Case("Flatten", axis=2),
    Case("Flatten", axis=-1),
    Case("Flatten", axis=0),
    Case("Squeeze", "a", stored={"a": floats(1, 2, 1)}),
    Case("Squeeze", "a s", stored={"a": floats(1, 2, 1), "s": sized(-1)}),
    Case("Unsqueeze", "x s", stored={"s": sized(-1, 0, 2)}),
    Case("Concat", "x a x", stored={"a": floats(2, 5, 12, 20)}, axis=-3),
    Case("Split", outputs=2, axis=2),
    Case("Split", outputs=3, axis=3, num_outputs=3, opset=18),
    Case("Split", "x s", stored={"s": sized(5, 15)}, outputs=2, axis=-1),
    Case("Slice", "x from to", stored={"from": sized(0, 1), "to": sized(1, 2**63 - 1)}),
    Case("Slice", "x from to axes steps", stored={"from": sized(-1, 2), "to": sized(-(2**62), 11), "axes": sized(3, 2),
         "steps": sized(-2, 4)}),
    Case("Gather", "x places", stored={"places": np.zeros((4, 5), np.int64)}, axis=-2),
    Case("Expand", "x sizes", stored={"sizes": sized(5, 1, 1, 12, 1)}),
    Case("Tile", "x times", stored={"times": sized(1, 2, 1, 3)}),
    Case("Pad", "x pads", stored={"pads": sized(0, 0, 1, -2, 0, 0, 3, 4)}),
    Case("Pad", "x pads - axes", stored={"pads": sized(3, 4), "axes": sized(-1)}, opset=18),
    Case("Resize", "x - scales", stored={"scales": np.array([1, 1, 1.7, 0.55], np.float32)}, mode="linear"),
    Case("Resize", "x - - sizes", stored={"sizes": sized(2, 3, 7, 31)}),
    Case("ReduceMean", axes=[-1, 2], keepdims=0),
    Case("ReduceMean", axes=[1]),
    Case("ReduceMax"),
    Case("ReduceSum", "x axes", stored={"axes": sized(3)}, keepdims=0),
    Case("ReduceMean", "x axes", stored={"axes": sized(1, -1)}, opset=18),
    Case("DepthToSpace", "a", stored={"a": floats(2, 12, 3, 5)}, blocksize=2),
    Case("SpaceToDepth", blocksize=4),
    Case("Shape", start=1, end=-1),
    Case("Constant", "", value=from_array(floats(3, 2))),
    Case("Constant", "", value_ints=[1, 2, 3]),
    Case("QuantizeLinear", "x step zero", stored={"step": np.float32(0.1), "zero": np.int8(0)}),
    Case("DequantizeLinear", "a step", stored={"a": np.zeros((3, 4), np.uint8), "step": np.float32(0.1)}),
]  # fmt: skip


if tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 23):  # 1.17 computes these against ONNX's text
    CASES += [
        Case("MaxPool", kernel_shape=[2, 2], strides=[3, 3], pads=[0, 0, 1, 1], ceil_mode=1),
        Case("ReduceMean", opset=18, noop_with_empty_axes=1),
    ]


def computed(path: Path) -> list[NDArray[Any]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    frames = np.random.default_rng(1).uniform(1, 2, (VIEWS, HEIGHT, WIDTH, 3)).astype(np.float32)
    found: list[NDArray[Any]] = session.run(None, {"frames": frames})
    return found


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_outputs_have_the_size_that_onnxruntime_gives_them(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Constants alone are refused in a network; here they stand for any tensor.
    monkeypatch.setattr("spade_edge.runtime.network.onnx_limits.CONSTANT", tuple(RULES))
    outline = OnnxOutline.read(case.write(tmp_path / "stated.onnx", stated=True), source="m")
    found = effort(outline, views=VIEWS, size=(HEIGHT, WIDTH))
    for number, want in enumerate(computed(case.write(tmp_path / "one.onnx", stated=False))):
        value = found.values[f"y{number}"]
        assert value.shape == want.shape
        assert helper.tensor_dtype_to_np_dtype(value.kind) == want.dtype
        assert value.bytes == want.nbytes
        if value.values is not None:
            assert value.values == pytest.approx(want.ravel().tolist())


def test_sizes_are_followed_through_the_operators_that_compute_them(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["frames"], ["shape"]),  # 2, 12, 20, 3
        helper.make_node("Gather", ["shape", "places"], ["some"]),  # 3, 2
        helper.make_node("Slice", ["shape", "from", "to"], ["middle"]),  # 12, 20
        helper.make_node("Cast", ["middle"], ["cast"], to=INT64),
        helper.make_node("Gather", ["shape", "last"], ["one"]),  # 3, a scalar
        helper.make_node("Unsqueeze", ["one", "zero"], ["listed"]),
        helper.make_node("Concat", ["some", "cast", "listed"], ["sizes"], axis=0),
        helper.make_node("Expand", ["number", "sizes"], ["y"]),
    ]
    arrays = {"places": sized(-1, 0), "from": sized(1), "to": sized(3), "last": np.array(3), "zero": sized(0)}
    graph = helper.make_graph(
        nodes,
        "sizes",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["batch", HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [from_array(value, name) for name, value in (arrays | {"number": floats(1)}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    found = effort(OnnxOutline.read(tmp_path / "m.onnx", source="m"), views=VIEWS, size=(HEIGHT, WIDTH))
    assert found.values["y"].shape == (3, 2, 12, 20, 3)


def test_what_computed_places_pick_is_not_followed(tmp_path: Path) -> None:
    """At four views they could pick a small size, and at one view a large one."""
    outline = OnnxOutline.read(Case("Gather", "shape shape").write(tmp_path / "m.onnx", stated=True), source="m")
    assert effort(outline, views=VIEWS, size=(HEIGHT, WIDTH)).values["y0"].values is None


REFUSED = [
    Case("Div", "shape shape"),  # of whole numbers
    Case("Pow", "shape shape"),
    Case("Reshape", "x z"),  # sizes that are known only at run time
    Case("Expand", "x z"),
    Case("Reshape", "x s", stored={"s": sized(-1, -1)}),
    Case("Reshape", "x s", stored={"s": sized(7, -1)}),
    Case("Reshape", "x s", stored={"s": sized(-2, -720)}),
    Case(
        "Slice", "x from shape", stored={"from": sized(0, 0, 0, 0)}
    ),  # computed bounds could make a run of fewer views larger
    Case("Slice", "x from to", stored={"from": sized(5), "to": sized(5)}),
    Case("Pad", "x pads", stored={"pads": sized(0, 0, -6, 0, 0, 0, -6, 0)}),
    Case("Conv", "x w", stored={"w": floats(6, 3, 13, 5)}),
    Case("Conv", "x w", stored={"w": floats(6, 4, 3, 5)}),
    Case("Conv", "x w", stored=WEIGHTS, strides=[0, 1]),
    Case("Conv", "x w", stored=WEIGHTS, pads=[-1, 0, 0, 0]),
    Case("Conv", "x w", stored=WEIGHTS, group=0),
    Case("MaxPool", kernel_shape=[2]),
    Case("MaxPool", kernel_shape=[2, 2], outputs=2),
    Case("Resize", "x - scales", stored={"scales": np.array([1, 1, np.nan, np.inf], np.float32)}),
    Case("Resize", "x - scales", stored={"scales": np.array([1, 1, -1, 2], np.float32)}),
    Case("Tile", "x times", stored={"times": sized(1, 0, 1, 1)}),
    Case("Concat", "x a", stored={"a": floats(2, 3, 12)}, axis=1),
    Case("Concat", "", axis=0),
    Case("Concat", "x x"),  # along no axis
    Case("Concat", "x x", axis=4),
    Case("Split", "x s", stored={"s": sized(5, 16)}, outputs=2, axis=-1),
    Case("Squeeze", "x s", stored={"s": sized(0)}),
    Case("Unsqueeze", "x s", stored={"s": sized(0, 0)}),
    Case("Transpose", perm=[0, 1, 1, 2]),
    Case("MatMul", "x x"),
    Case("Add", "x a", stored={"a": floats(3)}),
    Case("Einsum", "x", equation="...->..."),
    Case("DepthToSpace", blocksize=0),
    Case("Cast", to=TensorProto.STRING),
    Case("Relu", ""),
    Case("Flatten", axis="one"),
    Case("Constant", ""),
    Case("Unsqueeze", "x s", stored={"s": sized(0, 1, 2, 3, 4)}),  # nine axes
]


@pytest.mark.parametrize("case", REFUSED, ids=repr)
def test_what_has_no_size_is_refused(case: Case, tmp_path: Path) -> None:
    outline = OnnxOutline.read(case.write(tmp_path / "one.onnx", stated=True), source="m")
    with pytest.raises(UnwrittenError, match=f"the operator {case.kind}: "):
        effort(outline, views=VIEWS, size=(HEIGHT, WIDTH))
