"""`spade-edge lint` on the command line: table, JSON, exit codes, and a file with a fixed batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import run
from onnx import ModelProto, helper
from onnx.numpy_helper import from_array

pytest.importorskip("torch")  # what lint needs comes with the extra "export"

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def altered(model: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the model to which something was done."""

    def make(name: str, change: Callable[[ModelProto], object]) -> Path:
        content = onnx.load(str(model))
        change(content)
        path = tmp_path / name
        path.write_bytes(content.SerializeToString())
        return path

    return make


def quantise(kind: type[np.integer]) -> Callable[[ModelProto], object]:
    """Put a Q/DQ pair before the last node; `kind` is of its codes."""

    def change(model: ModelProto) -> None:
        last = model.graph.node[-1]
        pair = [
            helper.make_node("QuantizeLinear", [last.input[0], "scale", "zero"], ["codes"], "quantise"),
            helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["again"], "dequantise"),
        ]
        last.input[0] = "again"
        model.graph.node.extend([*pair, model.graph.node.pop()])
        model.graph.initializer.append(from_array(np.array(0.01, np.float32), "scale"))
        model.graph.initializer.append(from_array(np.array(0, kind), "zero"))

    return change


def dilate(model: ModelProto) -> None:
    """Add a pooling that TensorRT does not have."""
    options = {"kernel_shape": [2, 2], "dilations": [2, 2]}
    model.graph.node.append(helper.make_node("MaxPool", ["features3"], ["pooled wide"], "my MaxPool", **options))


def normalise(model: ModelProto) -> None:
    """Add an operator that TensorRT has from 8.6 on."""
    model.graph.initializer.append(from_array(np.ones(256, np.float32), "one"))
    model.graph.node.append(helper.make_node("LayerNormalization", ["level3", "one"], ["normal"], "my norm"))


def draw(model: ModelProto) -> None:
    """Add an operator that no exported network has."""
    model.graph.node.append(helper.make_node("Bernoulli", ["level3"], ["drawn"], "my Bernoulli"))


def test_a_fit_file(capsys: Capture, model: Path) -> None:
    code, out, err = run(capsys, "lint", model)
    assert (code, err) == (0, "")
    first, *verdicts = out.splitlines()
    assert first.startswith(f"{model}: fp32, opset 17, IR 8, ") and "any number of views" in first
    assert verdicts == [
        "fit for cpu: yes",
        "fit for tensorrt: yes",
        "fit for TensorRT 8: yes, computes float32",
        "fit for TensorRT 10: yes, computes float32",
        "fit for TensorRT 11: yes, computes float32, as the model is typed",
    ]


def test_findings_are_a_table_and_the_failure_is_one_line(capsys: Capture, altered: Callable[..., Path]) -> None:
    path = altered("bad.onnx", lambda model: (dilate(model), normalise(model)))
    code, out, err = run(capsys, "lint", path)
    assert code == 3
    (complaint,) = err.splitlines()
    assert complaint.startswith(
        f"spade-edge: {path}: expected a file that is fit for cpu and tensorrt, found it refused"
    )
    assert "tensorrt (restrictions)" in complaint and "cpu (" not in complaint
    rows = out.splitlines()[1:-5]
    assert [row.split()[:3] for row in rows] == [
        ["refused", "tensorrt", "restrictions"],
        ["warning", "tensorrt", "operators"],
    ]
    assert "my MaxPool " in rows[0] and "found dilations [2, 2]; pool without" in rows[0]
    assert out.splitlines()[-5:-3] == ["fit for cpu: yes", "fit for tensorrt: no, refused: restrictions"]


def test_an_operator_that_export_never_writes_is_refused_for_every_target(
    capsys: Capture, altered: Callable[..., Path]
) -> None:
    value = json.loads(run(capsys, "lint", altered("bad.onnx", draw), "--json")[1])
    assert not value["verdicts"]["cpu"]["fit"] and not value["verdicts"]["tensorrt"]["fit"]
    (reason,) = value["verdicts"]["cpu"]["reasons"]
    assert reason["check"] == "runtime" and "the operator Bernoulli" in reason["found"]


@pytest.mark.parametrize(("target", "code"), [("cpu", 0), ("tensorrt", 3), ("both", 3)])
def test_only_the_target_that_was_asked_about_counts(
    capsys: Capture, altered: Callable[..., Path], target: str, code: int
) -> None:
    path = altered("bad.onnx", dilate)
    assert run(capsys, "lint", path, "--target", target)[0] == code


def test_a_quantised_file_is_asked_about_what_it_was_quantised_for(
    capsys: Capture, altered: Callable[..., Path]
) -> None:
    unsigned, signed = altered("u8.onnx", quantise(np.uint8)), altered("s8.onnx", quantise(np.int8))
    code, out, _ = run(capsys, "lint", unsigned)
    assert code == 0 and "fit for cpu: yes\nfit for tensorrt: no, refused: quantisation\n" in out
    assert run(capsys, "lint", unsigned, "--target", "both")[0] == 3
    code, out, _ = run(capsys, "lint", signed, "--json")
    assert code == 0 and json.loads(out)["asked"] == ["tensorrt"]
    assert json.loads(out)["quantisation"] == "signed"


def test_warnings_never_fail(capsys: Capture, altered: Callable[..., Path]) -> None:
    code, out, err = run(capsys, "lint", altered("warned.onnx", normalise))
    assert (code, err) == (0, "") and out.count("\nwarning") == 1


def test_json_is_one_object_also_where_the_file_is_refused(capsys: Capture, altered: Callable[..., Path]) -> None:
    code, out, err = run(capsys, "lint", altered("bad.onnx", dilate), "--json")
    value = json.loads(out)
    assert code == 3 and err.count("\n") == 1 and out.count("\n") == 1
    assert value["verdicts"]["cpu"]["fit"] and not value["verdicts"]["tensorrt"]["fit"]
    assert value["asked"] == ["cpu", "tensorrt"] and value["static"] is None
    assert [x["where"] for x in value["findings"]] == [["my MaxPool"]]


def test_a_damaged_file_is_one_line(capsys: Capture, tmp_path: Path, model: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:-1000])
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("cut.onnx", "text.onnx", "absent.onnx"):
        code, out, err = run(capsys, "lint", tmp_path / name)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert name in err and "expected" in err and "found" in err


def test_a_fixed_batch(capsys: Capture, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    code, out, err = run(capsys, "lint", model, "--static", path, "--batch", 2)
    assert (code, err) == (0, "")
    assert out.splitlines()[-3:] == [
        f"{path}: always 2 views, {path.stat().st_size / 1e6:.1f} MB, computes the same in onnxruntime",
        f"TensorRT 10: trtexec --onnx={path} --saveEngine={path.with_suffix('.engine')} --fp16",
        f"TensorRT 11: trtexec --onnx={path} --saveEngine={path.with_suffix('.engine')}",
    ]
    assert onnx.load(str(path)).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2
    code, out, _ = run(capsys, "lint", model, "--static", path, "--batch", 1, "--json")
    value = json.loads(out)["static"]
    assert code == 0 and (value["path"], value["batch"]) == (str(path), 1)
    assert set(value["trtexec"]) == {"TensorRT 10", "TensorRT 11"}


def test_an_unfit_file_gets_no_fixed_batch(capsys: Capture, altered: Callable[..., Path], tmp_path: Path) -> None:
    path = altered("bad.onnx", dilate)
    assert run(capsys, "lint", path, "--static", tmp_path / "fixed.onnx", "--batch", 1)[0] == 3
    assert not (tmp_path / "fixed.onnx").exists()
    code, out, _ = run(capsys, "lint", path, "--target", "cpu", "--static", tmp_path / "fixed.onnx", "--batch", 1)
    assert code == 0 and (tmp_path / "fixed.onnx").exists() and "trtexec" not in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--static fixed.onnx", "expected --static with --batch N"),
        ("--batch 0", "--batch"),
        ("--batch 2000", "at most 1024"),
        ("--target gpu", "--target"),
    ],
)
def test_mistakes_of_the_command_line(capsys: Capture, model: Path, arguments: str, says: str) -> None:
    code, out, err = run(capsys, "lint", model, *arguments.split())
    assert (code, out, err.count("\n")) == (2, "", 1) and says in err


def test_the_batch_sizes_tensors(capsys: Capture, altered: Callable[..., Path]) -> None:
    def change(model: ModelProto) -> None:
        model.graph.initializer.append(from_array(np.array([1, 2048, 2048, 1]), "many"))  # of 4x4x256: 2^34
        model.graph.initializer.append(from_array(np.array([1, 512, 512, 1]), "fewer"))  # 2^30 a view
        model.graph.node.append(helper.make_node("Tile", ["level3", "fewer"], ["tiled"], "tile"))

    path = altered("large.onnx", change)  # no network takes so much memory, whatever the batch
    checks = {}
    for batch in (1, 2):
        out = run(capsys, "lint", path, "--batch", batch, "--json")[1]
        checks[batch] = {x["check"] for x in json.loads(out)["findings"] if x["severity"] == "refused"}
    assert checks == {1: {"runtime"}, 2: {"sizes"}}
    assert "2x2048x2048x256" in out
