"""What `spade-edge export` never writes is refused before onnxruntime sees it, in time and within memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array, to_array
from tiny_network import write_tiny_model

from spade_edge.runtime import ModelError
from spade_edge.runtime.kernels.ort import CPU, open_session
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.onnx_limits import check_limits, effort
from spade_edge.runtime.network.onnx_outline import OnnxOutline
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN
from spade_edge.runtime.network.session import Session

Change = Callable[[ModelProto], object]
node = helper.make_node


def stored(model: ModelProto, **arrays: NDArray[Any]) -> None:
    model.graph.initializer.extend(from_array(array, name) for name, array in arrays.items())


def into(model: ModelProto, nodes: list[NodeProto], **arrays: NDArray[Any]) -> None:
    """Put operators between the first ReLU, `features1`, and what takes it; the last must give "changed"."""
    stored(model, **arrays)
    place = next(i for i, one in enumerate(model.graph.node) if one.op_type == "Relu")
    for later in model.graph.node[place + 1 :]:
        later.input[:] = ["changed" if name == "features1" else name for name in later.input]
    for extra in reversed(nodes):
        model.graph.node.insert(place + 1, extra)


def beside(model: ModelProto, nodes: list[NodeProto], **arrays: NDArray[Any]) -> None:
    """Put operators before all others; nothing takes what they give, or they compute from nothing but the file."""
    stored(model, **arrays)
    for extra in reversed(nodes):
        model.graph.node.insert(0, extra)


def endless_loop(model: ModelProto) -> None:
    go_on = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
    body = helper.make_graph(
        [node("Identity", ["on"], ["still on"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), go_on],
        [helper.make_tensor_value_info("still on", TensorProto.BOOL, [])],
    )
    beside(model, [node("Loop", ["", "yes"], [], body=body)], yes=np.array(True))


def doubling_functions(model: ModelProto) -> None:
    """Each function calls the one before twice: 2^40 operators."""
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for i in range(40):
        inner = ("Relu", "") if i == 0 else (f"f{i - 1}", "own")
        body = [node(inner[0], ["a"], ["b"], domain=inner[1]), node(inner[0], ["b"], ["c"], domain=inner[1])]
        model.functions.append(helper.make_function("own", f"f{i}", ["a"], ["c"], body, sets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    into(model, [node("f39", ["features1"], ["changed"], domain="own")])


def doubled(count: int) -> Change:
    """A tensor joined with itself `count` times."""

    def change(model: ModelProto) -> None:
        names = ["features1", *(f"twice{i}" for i in range(count))]
        nodes = [node("Concat", [a, a], [b], axis=1) for a, b in pairwise(names)]
        nodes.append(node("Slice", [names[-1], "from", "to", "along"], ["changed"]))
        places = {"from": [0], "to": [64], "along": [1]}
        into(model, nodes, **{name: np.array(value) for name, value in places.items()})

    return change


def squared(model: ModelProto) -> None:
    """A column plus a row is a matrix: 64, 64^2, 64^4, 64^8 numbers, with operators that transformers have."""
    nodes, name = [node("ReduceMean", ["features1"], ["m0"], axes=[0, 2, 3], keepdims=0)], "m0"
    for i in range(1, 4):
        nodes += [
            node("Reshape", [name, "column"], [f"c{i}"]),
            node("Reshape", [name, "row"], [f"r{i}"]),
            node("Add", [f"c{i}", f"r{i}"], [f"s{i}"]),
            node("Reshape", [f"s{i}", "all"], [f"m{i}"]),
        ]
        name = f"m{i}"
    nodes += [node("ReduceMax", [name], ["largest"], keepdims=1), node("Add", ["features1", "largest"], ["changed"])]
    into(model, nodes, column=np.array([-1, 1]), row=np.array([1, -1]), all=np.array([-1]))


def outer_product(model: ModelProto) -> None:
    nodes = [
        node("Reshape", ["features1", "column"], ["c"]),
        node("Reshape", ["features1", "row"], ["r"]),
        node("MatMul", ["c", "r"], ["product"]),
        node("ReduceMax", ["product"], ["largest"], keepdims=0),
        node("Add", ["features1", "largest"], ["changed"]),
    ]
    into(model, nodes, column=np.array([-1, 1]), row=np.array([1, -1]))


def expanded(model: ModelProto) -> None:
    nodes = [
        node("Shape", ["frames"], ["shape"]),
        node("Gather", ["shape", "first"], ["count"]),
        node("Concat", ["count"] * 8, ["sizes"], axis=0),
        node("Concat", ["sizes", "large"], ["more"], axis=0),
    ]
    into(
        model,
        [
            *nodes,
            node("Gather", ["more", "picked"], ["wanted"]),
            node("Expand", ["one", "wanted"], ["many"]),
            node("ReduceMax", ["many"], ["largest"], keepdims=0),
            node("Add", ["features1", "largest"], ["changed"]),
        ],
        first=np.array([0]),
        large=np.array([2**20]),
        picked=np.array([0, 0, 0, 0, 8, 8]),
        one=np.ones(1, np.float32),
    )


def constants_that_double(model: ModelProto) -> None:
    names = ["seed", *(f"twice{i}" for i in range(33))]
    nodes = [node("Concat", [a, a], [b], axis=0) for a, b in pairwise(names)]
    beside(model, nodes, seed=np.ones(1, np.float32))


def long_constant(model: ModelProto) -> None:
    beside(
        model,
        [node("ConstantOfShape", ["size"], ["much"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0]))],
        size=np.array([2**31]),
    )


def many_constants(model: ModelProto) -> None:
    """The same codes made float32 four thousand times."""
    nodes = [node("DequantizeLinear", ["codes", "step"], [f"floats{i}"]) for i in range(4000)]
    beside(model, nodes, codes=np.zeros(2**20, np.uint8), step=np.array(1, np.float32))


def whole_numbers_divided(model: ModelProto) -> None:
    """INT_MIN / -1, which processors answer with a signal."""
    nodes = [
        node("Shape", ["frames"], ["shape"]),
        node("Sub", ["shape", "shape"], ["zeros"]),
        node("Add", ["zeros", "least"], ["numbers"]),
        node("Div", ["numbers", "minus"], ["quotient"]),
        node("Cast", ["quotient"], ["floats"], to=TensorProto.FLOAT),
        node("ReduceMax", ["floats"], ["largest"], keepdims=0),
        node("Add", ["features1", "largest"], ["changed"]),
    ]
    into(model, nodes, least=np.array([-(2**63)] * 4), minus=np.array([-1] * 4))


def constant_division(model: ModelProto) -> None:
    numbers = {"least": np.array([-(2**63)]), "minus": np.array([-1])}
    beside(model, [node("Div", ["least", "minus"], ["quotient"])], **numbers)


def much_padding(model: ModelProto) -> None:
    nodes = [
        node("Pad", ["features1", "pads"], ["large"], mode="constant"),
        node("GlobalAveragePool", ["large"], ["mean"]),
        node("Add", ["features1", "mean"], ["changed"]),
    ]
    into(model, nodes, pads=np.array([0, 0, 0, 0, 0, 0, 60000, 60000]))


def much_work(model: ModelProto) -> None:
    """Small tensors, multiplied again and again."""
    names = ["start", *(f"power{i}" for i in range(3000))]
    nodes = [node("Reshape", ["features1", "square"], ["start"])]
    nodes += [node("MatMul", [a, a], [b]) for a, b in pairwise(names)]
    into(model, [*nodes, node("Reshape", [names[-1], "back"], ["changed"])],
         square=np.array([-1, 128, 128]), back=np.array([-1, 64, 16, 16]))  # fmt: skip


def in_another_file(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/dev/zero")


# What hangs, fills the memory or ends the process if onnxruntime is given it.
DANGEROUS: dict[str, tuple[Change, str]] = {
    "an endless loop": (endless_loop, "Loop, a graph inside the graph"),
    "functions that call each other": (doubling_functions, "functions of its own"),
    "a tensor joined with itself": (doubled(40), "more than a million GB for 4 views"),
    "a tensor joined with itself less often": (doubled(16), "GB for 4 views"),
    "columns and rows": (squared, "more than a million GB for 4 views"),
    "an outer product": (outer_product, "GB for 4 views"),
    "a tensor repeated": (expanded, "more than a million GB for 4 views"),
    "constants joined with themselves": (constants_that_double, "Concat: it does not depend on the views"),
    "a long constant": (long_constant, "ConstantOfShape: it does not depend"),
    "many constants": (many_constants, "GB for 4 views"),
    "whole numbers divided": (whole_numbers_divided, "Div: a tensor of int64 in it"),
    "whole numbers divided when it is opened": (constant_division, "Div: it does not depend on the views"),
    "much padding": (much_padding, "GB for 4 views"),
    "much work": (much_work, "operations for 4 views"),
    "weights in another file": (in_another_file, "weights in other files"),
}
CHILD = """
    import json, resource, sys
    from pathlib import Path
    from spade_edge.runtime import SpadeError
    from spade_edge.runtime.network.session import Session

    Session.open(Path(sys.argv[1]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in sys.argv[2:]:
        try:
            Session.open(Path(path))
            found = "opened"
        except SpadeError as problem:
            found = f"{type(problem).__name__} {problem.exit_code} {problem}"
        print(json.dumps([Path(path).stem, found]), flush=True)
    print(json.dumps(["memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""


def changed(model: Path, path: Path, change: Change) -> Path:
    whole = onnx.load(model)
    change(whole)
    path.write_bytes(whole.SerializeToString())
    return path


@pytest.fixture(scope="module")
def refusals(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process says that opens all dangerous files, and how many kB it grew."""
    folder = tmp_path_factory.mktemp("dangerous")
    paths = [str(changed(model, folder / f"{name}.onnx", change)) for name, (change, _) in DANGEROUS.items()]
    child = subprocess.run(
        [sys.executable, "-c", dedent(CHILD), str(model), *paths],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = dict(json.loads(line) for line in child.stdout.splitlines())
    return said | {"end": (child.returncode, child.stderr)}


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_hangs_crashes_or_fills_the_memory_is_refused(refusals: dict[str, Any], name: str) -> None:
    said = refusals[name]
    assert said.startswith("ModelError 3 ") and DANGEROUS[name][1] in said
    assert "expected a network as 'spade-edge export' writes it, found" in said
    assert said.endswith("; export the model again")


def test_refusals_take_no_memory(refusals: dict[str, Any]) -> None:
    assert refusals["end"] == (0, "")
    assert refusals["memory"] < 100_000  # kB; the largest graph has 12,000 operators


def typed(kind: int) -> Change:
    """The first level as another type, stated and computed."""

    def change(model: ModelProto) -> None:
        output = model.graph.output[0]
        for one in model.graph.node:
            one.output[:] = [f"{name} as floats" if name == output.name else name for name in one.output]
        model.graph.node.append(node("Cast", [f"{output.name} as floats"], [output.name], to=kind))
        output.type.tensor_type.elem_type = kind

    return change


def stated(axis: int, size: int | None, *, port: str = "output", place: int = 0) -> Change:
    """One axis of an input or output with another size, or free."""

    def change(model: ModelProto) -> None:
        found = getattr(model.graph, port)[place].type.tensor_type.shape.dim[axis]
        found.Clear()
        if size is not None:
            found.dim_value = size

    return change


def sequence(model: ModelProto) -> None:
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    model.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(element))


def optional(model: ModelProto) -> None:
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    model.graph.output[0].type.CopyFrom(helper.make_optional_type_proto(element))


def without_shape(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.ClearField("shape")


def empty_output(model: ModelProto) -> None:
    """Declared as the card says, computed as nothing."""
    nodes = [node("Slice", ["features1", "zero", "zero", "zero"], ["changed"])]
    into(model, nodes, zero=np.array([0]))


def smaller_output(model: ModelProto) -> None:
    """Declared as the card says, computed with fewer channels."""
    transpose = next(one for one in model.graph.node if one.output[0] == "level1")
    transpose.input[0] = "fewer"
    place = list(model.graph.node).index(transpose)
    model.graph.node.insert(place, node("Slice", ["features1", "zero", "few", "one"], ["fewer"]))
    stored(model, zero=np.array([0]), few=np.array([7]), one=np.array([1]))


def another_input(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["batch"]))


def another_output(model: ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("features1", TensorProto.FLOAT, ["batch", 64, 16, 16]))


def output_twice(model: ModelProto) -> None:
    model.graph.output.append(model.graph.output[0])


def of_microsoft(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    into(model, [node("Gelu", ["features1"], ["changed"], domain="com.microsoft")])


def engine(model: ModelProto) -> None:
    model.graph.node.append(node("EPContext", [], ["x"], domain="com.microsoft", ep_cache_context="code"))


def sparse_weights(model: ModelProto) -> None:
    values = helper.make_tensor("thin", TensorProto.FLOAT, [1], [3.0])
    places = helper.make_tensor("thin at", TensorProto.INT64, [1], [2])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))


def card_twice(model: ModelProto) -> None:
    model.metadata_props.append(model.metadata_props[0])


def weights_twice(model: ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def result_twice(model: ModelProto) -> None:
    model.graph.node.append(node("Relu", ["features1"], ["features2"]))


def circle(model: ModelProto) -> None:
    into(model, [node("Add", ["features1", "behind"], ["changed"]), node("Relu", ["changed"], ["behind"])])


def nothing_there(model: ModelProto) -> None:
    into(model, [node("Add", ["features1", "nothing"], ["changed"])])


def short_weights(model: ModelProto) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]


def huge_weights(model: ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [2**40, 2**20]


def negative_weights(model: ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [-3]


def weights_stored_twice(model: ModelProto) -> None:
    tensor = next(one for one in model.graph.initializer if one.data_type == TensorProto.FLOAT)
    tensor.float_data.extend(to_array(tensor).ravel())


def weights_nowhere(model: ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def text_weights(model: ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("words", TensorProto.STRING, [1], [b"word"]))


def double_weights(model: ModelProto) -> None:
    stored(model, numbers=np.zeros(3))


def reference(model: ModelProto) -> None:
    model.graph.node[0].attribute[0].ref_attr_name = "of a function"


def two_perms(model: ModelProto) -> None:
    model.graph.node[0].attribute.append(model.graph.node[0].attribute[0])


def old_operators(model: ModelProto) -> None:
    model.opset_import[0].version = 12


def no_operators_at_all(model: ModelProto) -> None:
    del model.opset_import[:]


def many_operators(model: ModelProto) -> None:
    model.graph.node.extend(node("Relu", ["features1"], [f"y{i}"]) for i in range(20_001))


def if_else(model: ModelProto) -> None:
    result = helper.make_tensor_value_info("r", TensorProto.FLOAT, None)
    branch = helper.make_graph([node("Relu", ["features1"], ["r"])], "branch", [], [result])
    into(model, [node("If", ["yes"], ["changed"], then_branch=branch, else_branch=branch)], yes=np.array(True))


def scan(model: ModelProto) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    body = helper.make_graph([node("Relu", ["x"], ["y"])], "body", [x], [y])
    into(model, [node("Scan", ["features1"], ["changed"], body=body, num_scan_inputs=1)])


def random_numbers(model: ModelProto) -> None:
    into(model, [node("RandomNormalLike", ["features1"], ["changed"])])


STRANGE: dict[str, tuple[Change, str]] = {
    "int64": (typed(TensorProto.INT64), "'level1' Nx16x16x64 int64"),
    "float64": (typed(TensorProto.DOUBLE), "'level1' Nx16x16x64 float64"),
    "float16": (typed(TensorProto.FLOAT16), "'level1' Nx16x16x64 float16"),
    "bool": (typed(TensorProto.BOOL), "'level1' Nx16x16x64 bool"),
    "text": (typed(TensorProto.STRING), "'level1' Nx16x16x64 text"),
    "a sequence": (sequence, "a sequence"),
    "an optional value": (optional, "an optional value"),
    "no shape": (without_shape, "'level1' any shape float32"),
    "a free axis of an output": (stated(3, None), "'level1' Nx16x16xN float32"),
    "a free axis of the input": (stated(1, None, port="input"), "'frames' NxNx64x3 float32"),
    "an output of another size": (stated(3, 63), "'level1' Nx16x16x63 float32"),
    "a fixed batch in one output only": (stated(0, 1), "a fixed number of views in some"),
    "an empty output": (empty_output, "a result of shape 0x64x16x16"),
    "an output that is not what is stated": (smaller_output, "level1 is computed as 4x16x16x7 float32"),
    "another input": (another_input, "the inputs frames, more"),
    "another output": (another_output, "the outputs level1, level2, level3, image, features1"),
    "an output twice": (output_twice, "the outputs level1, level2, level3, image, level1"),
    "an operator of onnxruntime's own": (of_microsoft, "com.microsoft::Gelu: not one of ONNX's own"),
    "an engine": (engine, "a ready-made engine"),
    "sparse weights": (sparse_weights, "sparse weights"),
    "the card twice": (card_twice, "two properties 'spade_edge'"),
    "weights twice": (weights_twice, "two values of the name 'rgb'"),
    "a result twice": (result_twice, "two values of the name 'features2'"),
    "a circle": (circle, "operators that depend on each other in a circle"),
    "a value from nowhere": (nothing_there, "Add: it takes 'nothing', which is not there"),
    "weights that are too short": (short_weights, "numbers of int64 that are cut off"),
    "weights larger than the file": (huge_weights, "a tensor of 1,152,921,504,606,846,976 numbers of which 3"),
    "weights of negative size": (negative_weights, "negative size"),
    "weights stored in two ways": (weights_stored_twice, "stored in two ways"),
    "weights said to be elsewhere": (weights_nowhere, "weights in other files"),
    "text among the weights": (text_weights, "text"),
    "float64 among the weights": (double_weights, "float64"),
    "an attribute of a function": (reference, "field 21 of an attribute"),
    "an attribute twice": (two_perms, "two of 'perm'"),
    "old operators": (old_operators, "opset 12"),
    "no opset": (no_operators_at_all, "opset none"),
    "too many operators": (many_operators, "20,0"),
    "If": (if_else, "If, a graph inside the graph"),
    "Scan": (scan, "Scan, a graph inside the graph"),
    "random numbers": (random_numbers, "RandomNormalLike: it is not on the list"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_export_never_writes_is_refused_by_name(model: Path, tmp_path: Path, name: str) -> None:
    change, found = STRANGE[name]
    with pytest.raises(ModelError) as caught:
        Session.open(changed(model, tmp_path / "m.onnx", change), source="m")
    said = str(caught.value)
    assert found in said and said.startswith("m: expected ") and said.endswith("; export the model again")


def test_a_session_of_ones_own_gives_float32_too(model: Path, tmp_path: Path) -> None:
    path = changed(model, tmp_path / "m.onnx", typed(TensorProto.INT64))
    with pytest.raises(ModelError, match=r"expected level1 of type tensor\(float\), found tensor\(int64\)"):
        Session(open_session(str(path), providers=(CPU,), threads=1))


def test_metadata_that_is_no_text_is_refused(model: Path, tmp_path: Path) -> None:
    content = model.read_bytes().replace(b"three_convolutions", b"three_convoluti\xff\xfes")
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="m: expected an ONNX model, found another or a damaged file"):
        Session.open(tmp_path / "m.onnx", source="m")


def test_names_of_a_hostile_file_cannot_write_to_the_terminal(model: Path, tmp_path: Path) -> None:
    def change(whole: ModelProto) -> None:
        whole.graph.node[0].op_type = "\x1b[2J\n" + "x" * 5000

    with pytest.raises(ModelError) as caught:
        Session.open(changed(model, tmp_path / "m.onnx", change))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


@pytest.mark.parametrize("count", [1, 3])
def test_some_growth_is_no_fault(model: Path, tmp_path: Path, count: int) -> None:
    views = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    path = changed(model, tmp_path / "m.onnx", doubled(count))
    for pyramid, want in zip(Session.open(path)(views), Session.open(model)(views), strict=True):
        np.testing.assert_array_equal(pyramid.levels[0], want.levels[0])


def test_operators_may_stand_in_another_order(model: Path, tmp_path: Path) -> None:
    def reverse(whole: ModelProto) -> None:
        nodes = list(whole.graph.node)
        del whole.graph.node[:]
        whole.graph.node.extend(reversed(nodes))

    views = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    (found,), (want,) = Session.open(changed(model, tmp_path / "m.onnx", reverse))(views), Session.open(model)(views)
    np.testing.assert_array_equal(found.descriptor, want.descriptor)


def test_a_fixed_batch_is_the_number_of_views(model: Path, tmp_path: Path) -> None:
    def fix(whole: ModelProto) -> None:
        for port in (*whole.graph.input, *whole.graph.output):
            port.type.tensor_type.shape.dim[0].dim_value = 2

    views = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    assert len(Session.open(changed(model, tmp_path / "m.onnx", fix))(views)) == 2


def test_the_effort_of_a_network_is_that_counted_by_hand(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "m.onnx", size=(32, 32))
    outline = OnnxOutline.read(path, source="m")
    found = effort(outline, views=2, size=(32, 32))
    # The first convolution: 64 channels of 8x8 places from 3 of 16x16, 3x3 kernels; its surroundings are copied.
    assert found.values["features1"].shape == (2, 64, 8, 8)
    convolutions = 2 * (64 * 8 * 8 * 27 + 128 * 4 * 4 * 64 * 9 + 256 * 2 * 2 * 128 * 9)
    assert convolutions < found.work < 1.2 * convolutions
    first = 4 * 2 * (64 * 8 * 8 + 3 * 16 * 16) + 4 * 27 * 8 * 8  # while that convolution runs
    second = 4 * 2 * (2 * 64 * 8 * 8 + 128 * 4 * 4) + 4 * 64 * 9 * 4 * 4  # level1 is kept; features1 is its input
    assert found.memory >= max(first, second) and found.memory < 1.3 * max(first, second)


def test_more_views_take_more(model: Path, tmp_path: Path) -> None:
    card, path = ModelCard.from_metadata(OnnxOutline.read(model, source="m").metadata, source="m"), tmp_path / "m.onnx"
    once, often = (
        effort(OnnxOutline.read(changed(model, path, doubled(5)), source="m"), views=views, size=(64, 64))
        for views in (1, VIEWS_PER_RUN)
    )
    assert 3.9 * once.memory < often.memory <= 4 * once.memory
    check_limits(OnnxOutline.read(model, source="m"), card, views=VIEWS_PER_RUN, source="m")
