"""A fixed batch: what onnxruntime says of the shapes and computes, and what a failure leaves."""

from __future__ import annotations

import errno
import hashlib
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from spade_edge.export import ExportReport, output_file, static
from spade_edge.export.lint import lint
from spade_edge.export.static import trtexec_lines, write_static
from spade_edge.runtime.errors import DeviceError, ModelError, UsageError
from spade_edge.runtime.network.card import ModelCard

Frames = Callable[..., NDArray[np.float32]]


def open_session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("batch", [1, 3])
def test_every_shape_is_fixed_and_onnxruntime_computes_the_same(
    batch: int, two_levels: ExportReport, frames: Frames, tmp_path: Path
) -> None:
    report = write_static(two_levels.path, tmp_path / "fixed.onnx", batch=batch)
    fixed, free = open_session(report.path), open_session(two_levels.path)
    views = frames(batch)
    assert [x.shape for x in fixed.get_inputs()] == [[batch, 64, 64, 3]]  # NHWC as before
    found, expected = fixed.run(None, {"frames": views}), free.run(None, {"frames": views})
    assert [x.shape for x in fixed.get_outputs()] == [list(x.shape) for x in expected]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    alone = free.run(None, {"frames": views[-1:]})
    for a, b in zip(found, alone, strict=True):
        np.testing.assert_allclose(a[-1], b[0], rtol=1e-4, atol=1e-4)
    inferred = onnx.shape_inference.infer_shapes(onnx.load(str(report.path)), strict_mode=True).graph
    assert len(inferred.value_info) > 20
    for port in (*inferred.input, *inferred.value_info, *inferred.output):
        assert all(size.dim_value > 0 for size in port.type.tensor_type.shape.dim), port.name


def test_the_report_and_the_card(two_levels: ExportReport, tmp_path: Path) -> None:
    report = write_static(two_levels.path, tmp_path / "fixed.onnx", batch=2)
    content = report.path.read_bytes()
    assert (report.batch, report.size) == (2, len(content))
    assert report.sha256 == hashlib.sha256(content).hexdigest()
    assert list(report.difference) == list(two_levels.card.outputs) and max(report.difference.values()) < 1e-5
    metadata = {entry.key: entry.value for entry in onnx.load(str(report.path)).metadata_props}
    assert ModelCard.from_metadata(metadata, source="test") == two_levels.card
    assert lint(report.path).fit("tensorrt") and not lint(report.path).fit("cpu")
    assert lint(report.path).batch == 2


def test_the_place_is_checked_before_the_work(tmp_path: Path) -> None:
    """The model is no model, but that comes later."""
    model = tmp_path / "model.onnx"
    model.write_bytes(b"none")
    with pytest.raises(UsageError, match=r"found no .*absent"):
        write_static(model, tmp_path / "absent" / "m.onnx", batch=1)
    with pytest.raises(UsageError, match="found a folder"):
        write_static(model, tmp_path, batch=1)
    (tmp_path / "link.onnx").symlink_to(model)
    for same in (model, tmp_path / "link.onnx"):
        with pytest.raises(UsageError, match="found the same"):
            write_static(model, same, batch=1)
    for batch in (0, -1, 1025):
        with pytest.raises(UsageError, match=f"found {batch}"):
            write_static(model, tmp_path / "m.onnx", batch=batch)


def test_a_file_that_is_fixed_already(two_levels: ExportReport, tmp_path: Path) -> None:
    write_static(two_levels.path, tmp_path / "one.onnx", batch=1)
    with pytest.raises(ModelError, match="found always 1"):
        write_static(tmp_path / "one.onnx", tmp_path / "two.onnx", batch=2)
    assert not (tmp_path / "two.onnx").exists()


def spoilt(two_levels: ExportReport, path: Path, *nodes: onnx.NodeProto, **constants: NDArray[np.generic]) -> Path:
    model = onnx.load(str(two_levels.path))
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(from_array(value, name) for name, value in constants.items())
    onnx.save(model, str(path))
    return path


def test_shapes_that_do_not_follow_from_the_batch(two_levels: ExportReport, tmp_path: Path) -> None:
    path = spoilt(two_levels, tmp_path / "m.onnx", helper.make_node("NonZero", ["image"], ["where"]))
    with pytest.raises(ModelError, match="found none for where"):
        write_static(path, tmp_path / "fixed.onnx", batch=2)
    model = onnx.load(str(two_levels.path))
    last = next(node for node in model.graph.node if "image" in node.output)
    last.output[0] = "one at a time"
    model.graph.initializer.append(from_array(np.array([1, -1]), "one"))
    model.graph.node.append(helper.make_node("Reshape", ["one at a time", "one"], ["image"]))  # puts views side by side
    onnx.save(model, str(path))
    with pytest.raises(ModelError, match=r"\(2, 128\) at a batch of 2, found \(1, 256\)"):
        write_static(path, tmp_path / "fixed.onnx", batch=2)
    with pytest.raises(ModelError, match="image is computed as 1x512"):  # the same with one view, but not with four
        write_static(path, tmp_path / "fixed.onnx", batch=1)


@pytest.mark.parametrize("former", [b"the former model", None])
def test_a_file_that_computes_something_else_is_not_left(
    former: bytes | None, two_levels: ExportReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fixed.onnx"
    if former is not None:
        path.write_bytes(former)

    def brighter(graph: Any, *, batch: int, source: str) -> onnx.ModelProto:
        model = fix(graph, batch=batch, source=source)
        mean = next(tensor for tensor in model.graph.initializer if tensor.name == "mean")
        mean.CopyFrom(from_array(onnx.numpy_helper.to_array(mean) + np.float32(1), "mean"))
        return model

    fix = static._fixed
    monkeypatch.setattr(static, "_fixed", brighter)
    with pytest.raises(ModelError, match=r"fixed\.onnx: expected level1 within 1e-05"):
        write_static(two_levels.path, path, batch=1)
    assert [x.read_bytes() for x in tmp_path.iterdir()] == ([] if former is None else [former])


def test_a_full_disk_and_an_interruption_leave_nothing(
    two_levels: ExportReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(DeviceError, match="No space left on device"):
        patch.setattr(output_file.os, "fsync", full)
        write_static(two_levels.path, tmp_path / "fixed.onnx", batch=1)
    monkeypatch.setattr(static, "_compared", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_static(two_levels.path, tmp_path / "fixed.onnx", batch=1)
    assert not list(tmp_path.iterdir())


def test_float16_may_round_otherwise_and_nodes_come_out_in_order(two_levels: ExportReport, tmp_path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(onnx.load(str(two_levels.path)), keep_io_types=True)
    onnx.save(half, str(tmp_path / "half.onnx"))
    with pytest.raises(onnx.checker.ValidationError, match="topologically sorted"):  # it puts its casts at the end
        onnx.checker.check_model(half)
    report = write_static(tmp_path / "half.onnx", tmp_path / "fixed.onnx", batch=2)
    onnx.checker.check_model(str(report.path), full_check=True)
    types = {tensor.data_type for tensor in onnx.load(str(report.path)).graph.initializer}
    assert TensorProto.FLOAT16 in types and lint(report.path).precision == "fp16"


def test_the_line_for_trtexec() -> None:
    lines = {
        precision: trtexec_lines(Path("a b/m.onnx"), precision=precision) for precision in ("fp32", "fp16", "int8")
    }
    whole = ["trtexec", "--onnx=a b/m.onnx", "--saveEngine=a b/m.engine"]
    for precision, flag in (("fp32", "--fp16"), ("fp16", "--stronglyTyped"), ("int8", "--int8")):
        assert {name: shlex.split(line) for name, line in lines[precision].items()} == {
            "TensorRT 10": [*whole, flag],
            "TensorRT 11": whole,  # has none of these flags
        }
