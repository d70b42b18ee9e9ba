"""Written models against the `onnx` package, which reads them, and onnxruntime, which runs them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.shape_inference
import pytest

from spade_edge.runtime.kernels.device_kernel import DeviceKernel
from spade_edge.runtime.kernels.graph_writer import FLOAT, FLOAT16, INT8, IR_VERSION, OPSET, Graph
from spade_edge.runtime.kernels.kernel import Kernel, Products
from spade_edge.runtime.kernels.ort import CPU, open_session

RNG = np.random.default_rng(0)
CONSTANTS = [
    np.array(2.5, np.float32),
    np.array([], np.int64),
    RNG.normal(size=(3, 4)).astype(np.float32),
    np.array([-(2**63), -1, 0, 127, 128, 2**63 - 1], np.int64),
    np.array([[-(2**31), 2**31 - 1]], np.int32),
    np.arange(256, dtype=np.uint8),
    np.arange(-128, 128, dtype=np.int8).reshape(2, 8, 16),
    np.array([True, False, True]),
    RNG.normal(size=(3, 5)).astype(np.float16),
    RNG.normal(size=(70, 80)).astype(np.float32),  # a length of three varint groups
    RNG.normal(size=(4, 6)).astype(np.float32).T,  # not contiguous
]


def read(graph: Graph) -> onnx.ModelProto:
    """The model as `onnx` reads it, after its checker has passed it."""
    model = onnx.load_from_string(graph.to_bytes())
    # Outputs are written without a shape, which onnxruntime works out and the checker insists on.
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True))
    return model


def test_onnx_accepts_the_model_and_reads_its_versions() -> None:
    graph = Graph()
    graph.output("out", graph.node("Relu", graph.input("in", np.float32, (2,))), np.float32)
    model = read(graph)
    assert model.ir_version == IR_VERSION
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert model.graph.name


@pytest.mark.parametrize("number", range(len(CONSTANTS)))
def test_constants_are_read_back(number: int) -> None:
    array = CONSTANTS[number]
    graph = Graph()
    graph.output("out", graph.node("Identity", graph.constant(array)), array.dtype)
    (tensor,) = read(graph).graph.initializer
    found = onnx.numpy_helper.to_array(tensor)
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert np.array_equal(found, array)
    (ran,) = Kernel(graph, threads=1)()
    assert ran.dtype == array.dtype
    assert np.array_equal(ran, array)


def test_a_type_that_is_not_known_is_refused() -> None:
    with pytest.raises(KeyError):
        Graph().constant(np.zeros(2, np.float64))


def test_inputs_have_fixed_and_free_axes() -> None:
    graph = Graph()
    shape: tuple[int | str, ...] = ("views", 3, 200, "rest")
    graph.output("out", graph.node("Identity", graph.input("in", np.uint8, shape)), np.uint8)
    (value,) = read(graph).graph.input
    assert value.name == "in"
    assert value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    axes = value.type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in axes] == list(shape)


def test_attributes_are_read_back() -> None:
    graph = Graph()
    value = graph.input("in", np.float32, (2, 3, 4))
    turned = graph.node("Transpose", value, perm=(2, 0, 1))
    best = graph.node("ReduceMin", turned, axes=(-1, -2), keepdims=0)
    kept = graph.node("Softmax", best, axis=-1)
    graph.output("out", graph.node("Cast", kept, to=INT8), np.int8)
    nodes = read(graph).graph.node
    found = [{a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} for node in nodes]
    assert found == [{"perm": [2, 0, 1]}, {"axes": [-1, -2], "keepdims": 0}, {"axis": -1}, {"to": INT8}]
    assert (FLOAT, INT8, FLOAT16) == (onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.FLOAT16)
    ints, number = onnx.AttributeProto.INTS, onnx.AttributeProto.INT
    assert [a.type for node in nodes for a in node.attribute] == [ints, ints, number, number, number]


def test_nodes_hang_together_and_outputs_have_their_names() -> None:
    graph = Graph()
    value = graph.input("in", np.float32, (6, "n"))
    upper, lower = graph.node("Split", value, results=2, axis=0)
    graph.output("upper half", upper, np.float32)
    graph.output("sum", graph.node("Add", upper, lower), np.float32)  # takes a value that is an output too
    model = read(graph)
    split, add = model.graph.node
    assert [split.op_type, add.op_type] == ["Split", "Add"]
    assert list(split.input) == ["in"]
    assert split.output[0] == "upper half"
    assert list(add.input) == list(split.output)
    assert list(add.output) == ["sum"]
    assert [value.name for value in model.graph.output] == graph.outputs == ["upper half", "sum"]
    assert [v.type.tensor_type.elem_type for v in model.graph.output] == [onnx.TensorProto.FLOAT] * 2

    array = RNG.normal(size=(6, 5)).astype(np.float32)
    first, second = Kernel(graph, threads=1)(**{"in": array})
    assert np.array_equal(first, array[:3])
    assert np.array_equal(second, array[:3] + array[3:])


def test_reshaping_keeps_with_0_and_fills_with_minus_1() -> None:
    graph = Graph()
    graph.output("out", graph.reshape(graph.input("in", np.int32, ("n", 2, 6)), 0, -1, 3), np.int32)
    array = np.arange(5 * 12, dtype=np.int32).reshape(5, 2, 6)
    (out,) = Kernel(graph, threads=1)(**{"in": array})
    assert np.array_equal(out, array.reshape(5, 4, 3))


@pytest.mark.parametrize("threads", [1, 2, None])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 64, 5), (33, 300, 17)])
def test_products_of_bytes_are_exact_at_the_ends_of_their_range(
    sizes: tuple[int, int, int], threads: int | None
) -> None:
    rows, inner, columns = sizes
    graph = Graph()
    left = graph.input("left", np.uint8, ("rows", inner))
    right = graph.input("right", np.int8, (inner, "columns"))
    graph.output("out", graph.node("MatMulInteger", left, right), np.int32)
    run = Kernel(graph, threads=threads)
    for low, high in ((0, 128), (127, 128)):
        a = RNG.integers(low, high, (rows, inner), dtype=np.uint8)
        for b in (
            RNG.integers(-127, 128, (inner, columns), dtype=np.int8),
            np.full((inner, columns), 127, np.int8),
            np.full((inner, columns), -128, np.int8),
        ):
            (out,) = run(left=a, right=b)
            assert np.array_equal(out, a.astype(np.int64) @ b.astype(np.int64))


def test_products_of_floats_are_numpys() -> None:
    a, b = RNG.normal(size=(7, 30)).astype(np.float32), RNG.normal(size=(11, 30)).astype(np.float32).T
    product = Products(threads=1)(a, b)
    assert product.dtype == np.float32
    np.testing.assert_allclose(product, a.astype(np.float64) @ b, rtol=1e-5, atol=1e-5)


def test_a_session_opens_from_bytes() -> None:
    graph = Graph()
    graph.output("out", graph.node("Neg", graph.input("in", np.float32, ("n",))), np.float32)
    session = open_session(graph.to_bytes(), providers=(CPU,), threads=1)
    assert session.get_providers() == [CPU]
    assert [(x.name, x.shape, x.type) for x in session.get_inputs()] == [("in", ["n"], "tensor(float)")]
    assert session.run(None, {"in": np.array([3], np.float32)})[0].tolist() == [-3]


def test_a_kernel_keeps_no_plan_of_memory_for_each_shape() -> None:
    graph = Graph()
    graph.output("out", graph.node("Neg", graph.input("in", np.float32, ("n",))), np.float32)
    for kernel in (Kernel(graph, threads=1), DeviceKernel(graph, threads=1)):
        assert not kernel._session.get_session_options().enable_mem_pattern  # memory would grow with every new shape
