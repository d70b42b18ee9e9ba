"""What an ONNX file holds, held against the package onnx; damaged and hostile files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from spade_edge.runtime import ModelError
from spade_edge.runtime.network.card import METADATA_KEY
from spade_edge.runtime.network.onnx_summary import OnnxSummary


def test_a_summary_says_what_the_package_onnx_says(model: Path) -> None:
    summary, whole = OnnxSummary.read(model, source="m"), onnx.load(model)
    assert summary.nodes == len(whole.graph.node) > 10
    assert summary.metadata == {entry.key: entry.value for entry in whole.metadata_props}
    assert METADATA_KEY in summary.metadata and not summary.engines


def test_an_engine_inside_a_model_is_seen_wherever_it_is(model: Path, tmp_path: Path) -> None:
    whole = onnx.load(model)
    context = onnx.helper.make_node("EPContext", [], ["x"], domain="com.microsoft", ep_cache_context=b"code")
    branch = onnx.helper.make_graph([context], "branch", [], [])
    for name, node in (
        ("plain", context),
        ("nested", onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)),
    ):
        changed = onnx.ModelProto()
        changed.CopyFrom(whole)
        changed.graph.node.append(node)
        (tmp_path / name).write_bytes(changed.SerializeToString())
        assert OnnxSummary.read(tmp_path / name, source="m").engines


def test_damaged_files_are_refused_or_read_but_never_a_fault(model: Path, tmp_path: Path) -> None:
    content, random, path = model.read_bytes(), np.random.default_rng(0), tmp_path / "m.onnx"
    wholes = 0
    for i in range(300):
        damaged = bytearray(content[:4000] if i % 2 else content[-4000:])
        for at in random.integers(0, len(damaged), 3):
            damaged[at] = random.integers(0, 256)
        path.write_bytes(damaged[: random.integers(1, len(damaged))])
        try:
            OnnxSummary.read(path, source="m")
            wholes += 1
        except ModelError as problem:
            assert str(problem).startswith("m: expected an ONNX model")
    assert wholes < 300


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
        b"\x72\x04\x0a\x02\xff\xfe",  # a name that is no text
    ],
)
def test_what_is_no_onnx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="m: expected an ONNX model"):
        OnnxSummary.read(tmp_path / "m.onnx", source="m")
