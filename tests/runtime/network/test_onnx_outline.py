"""The outline of an ONNX file, held against the package onnx; damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spade_edge.runtime import ModelError
from spade_edge.runtime.network import onnx_wire
from spade_edge.runtime.network.card import METADATA_KEY
from spade_edge.runtime.network.onnx_outline import OnnxOutline, Tensor


def test_an_outline_says_what_the_package_onnx_says(model: Path) -> None:
    outline, whole = OnnxOutline.read(model, source="m"), onnx.load(model)
    assert outline.size == model.stat().st_size and outline.opset == 17
    assert outline.metadata == {entry.key: entry.value for entry in whole.metadata_props}
    assert METADATA_KEY in outline.metadata
    assert len(outline.nodes) == len(whole.graph.node) > 10
    for found, node in zip(outline.nodes, whole.graph.node, strict=True):
        assert (found.kind, found.domain) == (node.op_type, node.domain)
        assert (found.inputs, found.outputs) == (tuple(node.input), tuple(node.output))
        wanted = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        assert found.attributes == {x: tuple(y) if isinstance(y, list) else y for x, y in wanted.items()}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in whole.graph.initializer}
    assert {name: tensor.shape for name, tensor in outline.weights.items()} == shapes
    assert [(x.name, x.kind, x.shape) for x in outline.inputs] == [("frames", TensorProto.FLOAT, (None, 64, 64, 3))]
    assert [x.name for x in outline.outputs] == ["level1", "level2", "level3", "image"]
    assert outline.outputs[1].shape == (None, 8, 8, 128)


def with_tensor(model: Path, path: Path, tensor: TensorProto) -> OnnxOutline:
    whole = onnx.load(model)
    whole.graph.initializer.append(tensor)
    path.write_bytes(whole.SerializeToString())
    return OnnxOutline.read(path, source="m")


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("kind", ["float32", "int64", "int32", "uint8", "int8", "bool", "float16"])
def test_tensors_are_read_however_they_are_stored(model: Path, tmp_path: Path, kind: str, raw: bool) -> None:
    values = np.array([[-3, 1, 0], [7, 100, -128]]).astype(kind)
    stored = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    content = values.tobytes() if raw else values.ravel().tolist()
    tensor = helper.make_tensor("t", stored, values.shape, content, raw=raw)
    assert np.array_equal(numpy_helper.to_array(tensor), values)
    known = tuple(values.ravel().tolist()) if kind in ("float32", "int64", "int32") else None
    assert with_tensor(model, tmp_path / "m.onnx", tensor).weights["t"] == Tensor("t", stored, (2, 3), known)


def test_numbers_of_large_tensors_are_counted_and_not_read(model: Path, tmp_path: Path) -> None:
    values = np.arange(-600, 600)
    for raw in (True, False):
        content = values.tobytes() if raw else values.tolist()
        tensor = helper.make_tensor("t", TensorProto.INT64, [1200], content, raw=raw)
        found = with_tensor(model, tmp_path / "m.onnx", tensor).weights["t"]
        assert (found.shape, found.values) == ((1200,), None)
        tensor.dims[0] = 1201
        with pytest.raises(ModelError, match="'t', a tensor of 1,201 numbers of which 1,200 are in the file"):
            with_tensor(model, tmp_path / "m.onnx", tensor)


def test_attributes_of_every_kind_are_read(model: Path, tmp_path: Path) -> None:
    whole = onnx.load(model)
    given = {"i": -5, "f": 0.5, "s": "words", "ints": [1, -2], "floats": [0.25, -4.0]}
    whole.graph.node.append(helper.make_node("Relu", ["features1"], ["x"], **given))
    empty = helper.make_attribute("none", [], attr_type=onnx.AttributeProto.INTS)
    whole.graph.node[-1].attribute.extend([empty, helper.make_attribute("t", numpy_helper.from_array(np.arange(3)))])
    (tmp_path / "m.onnx").write_bytes(whole.SerializeToString())
    assert OnnxOutline.read(tmp_path / "m.onnx", source="m").nodes[-1].attributes == {
        **given,
        "ints": (1, -2),
        "floats": (0.25, -4.0),
        "none": (),
        "t": Tensor("", TensorProto.INT64, (3,), (0, 1, 2)),
    }


def test_damaged_files_are_refused_or_read_but_never_a_fault(model: Path, tmp_path: Path) -> None:
    content, random, path = model.read_bytes(), np.random.default_rng(0), tmp_path / "m.onnx"
    wholes = 0
    for i in range(300):
        damaged = bytearray(content)
        for _ in range(3):
            # Weights fill the middle of the file; its ends are the outline.
            at = int(random.integers(0, 3000))
            damaged[at if random.integers(2) else -at - 1] = random.integers(0, 256)
        path.write_bytes(damaged if i % 2 else damaged[: random.integers(1, len(damaged))])
        try:
            OnnxOutline.read(path, source="m")
            wholes += 1
        except ModelError as problem:
            said = str(problem)
            assert said.startswith("m: expected a") and said.endswith("; export the model again") and said.isprintable()
    assert 0 < wholes < 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no model at all",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # a graph of 2^62 bytes
        b"\x3a" + b"\xff" * 20,
        b"\x3a\x05\x0a\x7f",
        b"\x0b\x0c",  # a group, which ONNX does not have
        b"\x09\x00",  # 8 bytes that are not there
        b"\x08",  # a number that is not there
        b"\x72\x04\x0a\x02\xff\xfe",  # a name that is no text
        b"\x08\x08",  # no graph
    ],
)
def test_what_is_no_onnx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="m: expected a"):
        OnnxOutline.read(tmp_path / "m.onnx", source="m")


def test_files_of_more_fields_than_any_network_has_are_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08" + b"\x42\x00" * 1998)  # operator sets
    monkeypatch.setattr(onnx_wire, "MOST_FIELDS", 1998)
    OnnxOutline.read(model, source="m")
    with pytest.raises(ModelError, match="more than 1,998 fields"):
        OnnxOutline.read(tmp_path / "m.onnx", source="m")


def test_a_second_graph_is_refused_as_other_readers_would_merge_it_with_the_first(model: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model.read_bytes() + b"\x3a\x00")
    assert onnx.load(tmp_path / "m.onnx").graph.node  # the package onnx takes it
    with pytest.raises(ModelError, match="two of 'graph' in the model"):
        OnnxOutline.read(tmp_path / "m.onnx", source="m")
