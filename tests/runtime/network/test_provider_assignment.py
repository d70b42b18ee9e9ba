"""Which provider ran which fraction of a network: on a profile that onnxruntime writes, and on JSON that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from spade_edge.runtime.network.provider_assignment import node_fractions

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.fixture(scope="module")
def profile(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A profile of one run, by the onnxruntime that is installed."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path_factory.mktemp("profile") / "run")
    session = onnxruntime.InferenceSession(model, options, providers=[CPU])
    session.run(None, {"frames": np.zeros((1, 64, 64, 3), np.float32)})
    return list(json.loads(Path(session.end_profiling()).read_bytes()))


def node(provider: object, operator: str = "Conv", name: str = "x_kernel_time", cat: str = "Node") -> dict[str, Any]:
    return {"cat": cat, "name": name, "args": {"provider": provider, "op_name": operator}}


def as_bytes(events: object) -> bytes:
    return json.dumps(events).encode()


def test_a_real_profile_of_the_cpu(profile: list[dict[str, Any]], model: Path) -> None:
    nodes = len(onnx.load(model).graph.node)
    assert node_fractions(as_bytes(profile), nodes=nodes) == {CPU: 1.0}
    ran = [event["args"]["op_name"] for event in profile if event["name"].endswith("_kernel_time")]
    assert len(ran) > 10 and "Conv" in ran
    for event in profile:
        if event.get("args", {}).get("op_name") != "Conv" and "provider" in event.get("args", {}):
            event["args"]["provider"] = CUDA
    found = node_fractions(as_bytes(profile), nodes=nodes)
    assert found == {CUDA: sum(x != "Conv" for x in ran) / len(ran), CPU: ran.count("Conv") / len(ran)}
    assert list(found) == [CUDA, CPU] and sum(found.values()) == 1


def test_copies_and_waiting_are_no_nodes() -> None:
    events = [node(CUDA)] * 3 + [node(CPU)] + [node(CUDA, "MemcpyFromHost"), node(CUDA, "MemcpyToHost")]
    events += [node(CPU, name="x_fence_before"), node(CPU, cat="Session")]  # 1.17 has fences
    assert node_fractions(as_bytes(events), nodes=99) == {CUDA: 0.75, CPU: 0.25}


def test_tensorrt_is_given_the_nodes_that_nobody_else_ran() -> None:
    fused = node(TENSORRT, "TRTKernel_graph_spade_edge_0")
    assert node_fractions(as_bytes([fused]), nodes=44) == {TENSORRT: 1.0}
    assert node_fractions(as_bytes([fused, node(CUDA), node(CUDA), node(CPU)]), nodes=40) == {
        TENSORRT: 37 / 40,
        CUDA: 2 / 40,
        CPU: 1 / 40,
    }
    assert node_fractions(as_bytes([fused] + [node(CUDA)] * 3), nodes=2) == {
        CUDA: 0.75,
        TENSORRT: 0.25,
    }  # never negative
    assert node_fractions(as_bytes([node(CUDA)]), nodes=44) == {CUDA: 1.0}  # TensorRT took nothing


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"[",
        b"\xff\xfe",
        b"null",
        b"3",
        b'"text"',
        b"{}",
        b"[]",
        b"[1, null, []]",
        b"[" * 100_000,
        b'[{"a": ' * 20_000,
        b"9" * 10_000,
        as_bytes([{"cat": "Node"}]),
        as_bytes([{"cat": "Node", "name": 3, "args": {"provider": CPU}}]),
        as_bytes([{"cat": "Node", "name": "x_kernel_time", "args": [CPU]}]),
        as_bytes([{"cat": "Node", "name": "x_kernel_time", "args": None}]),
        as_bytes([node(None), node(7), node([CPU]), node({"a": 1})]),
        as_bytes([{"cat": ["Node"], "name": {}, "args": "x"}]),
    ],
)
def test_what_is_no_profile_tells_nothing(profile: bytes) -> None:
    assert node_fractions(profile, nodes=10) == {}
