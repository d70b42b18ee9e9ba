"""What onnxruntime and cuDNN print is kept from the user while nothing fails; what others print is not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from fake_gpu import CUDA, NO_KERNEL, TENSORRT, Machine
from numpy.typing import NDArray
from onnx import TensorProto, helper

from spade_edge.runtime import DeviceError
from spade_edge.runtime.kernels.captured import captured_stderr
from spade_edge.runtime.network.provider import Provider
from spade_edge.runtime.network.quiet import of_others, quiet
from spade_edge.runtime.network.session import Session

Capture = pytest.CaptureFixture[str]

# The form is that of onnxruntime 1.32; the first text that of an H100 in float16.
RED = (
    "\x1b[1;31m2026-11-28 09:12:55.503342657 [E:onnxruntime:Default, cuda_call.cc:118 CudaCall] CUDNN_FE failure 8: "
    "[cudnn_frontend] Error: No execution plans support the graph. ; GPU=0 ; expr=graph->build_plans(); \n\x1b[m\n"
)
OTHER_RED = "\x1b[1;31m2026-11-28 09:12:55.5 [E:onnxruntime:, executor.cc:677 Run] one\ntwo\nthree\x1b[m\n"
YELLOW = "\x1b[0;93m2026-11-28 09:12:55.5 [W:onnxruntime:, session.cc:1 f] a warning\x1b[m\n"
PLAIN = "2026-11-28 09:12:54.381198787 [I:onnxruntime:, inference_session.cc:540 operator()] Flush-to-zero is off\n"
CUDNN = (
    "[cudnn_frontend] Error: No valid execution plans built.\nE! CuDNN (v92000 75) function cudnnBackendFinalize()\n"
)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("", ""),
        (RED * 40, ""),
        (OTHER_RED + YELLOW + PLAIN + CUDNN, ""),
        (f"camera: 1\n{RED}camera: 2\n{PLAIN}camera: 3\n", "camera: 1\ncamera: 2\ncamera: 3\n"),
        ("no end of line", "no end of line"),
        (f"\r12 of 40{RED}\r13 of 40", "\r12 of 40\r13 of 40"),
        (f"{RED[:60]}\ncamera: reconnecting\n", "camera: reconnecting\n"),  # whose end never comes
        (f"{RED[:60]}\ncamera: reconnecting\n{RED}", "camera: reconnecting\n"),
        ("2026-11-28 09:12:55.5 [E:camera:, x.cc:1] gone\n", "2026-11-28 09:12:55.5 [E:camera:, x.cc:1] gone\n"),
        ("\x1b[1;31mred\x1b[m\n", "\x1b[1;31mred\x1b[m\n"),
    ],
)
def test_records_of_onnxruntime_and_lines_of_cudnn_are_told_from_others(said: str, kept: str) -> None:
    assert of_others(said.encode()) == kept.encode()


def test_what_onnxruntime_itself_prints_is_recognised() -> None:
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [4]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with captured_stderr() as said, pytest.raises(Exception, match="Reshape"):
        session.run(None, {"x": np.zeros(4, np.float32), "shape": np.array([3])})
    assert b"Reshape" in said and b"onnxruntime" in said
    assert of_others(b"before\n" + bytes(said) + b"after\n") == b"before\nafter\n"


@pytest.mark.parametrize("fails", [False, True])
def test_a_block_that_succeeds_is_quiet_and_one_that_fails_is_not(fails: bool) -> None:
    """In a process of its own, whose file descriptor 2 nobody else has replaced."""
    program = f"""
import os
from spade_edge.runtime.network.quiet import quiet
os.write(2, b"first\\n")
try:
    with quiet():
        os.write(2, {RED.encode()!r})
        os.write(2, b"camera: reconnecting\\n")
        with quiet():
            os.write(2, {CUDNN.encode()!r})
            os.write(2, b"within\\n")
        if {fails}:
            raise ValueError
except ValueError:
    pass
os.write(2, b"last\\n")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    own = RED.encode() if fails else b""
    assert ended.stderr == b"first\n" + own + b"camera: reconnecting\nwithin\nlast\n"


def test_other_threads_lose_nothing_however_much_they_print(capfd: Capture) -> None:
    line = b"x" * 99 + b"\n"

    def other() -> None:
        for _ in range(12_000):
            os.write(2, line)

    with quiet():
        threads = [threading.Thread(target=other) for _ in range(2)]
        for thread in threads:
            thread.start()
        os.write(2, RED.encode())
        for thread in threads:
            thread.join()
    assert capfd.readouterr().err == line.decode() * 24_000


def test_a_closed_descriptor_is_none_of_its_business() -> None:
    program = (
        "import os\nfrom spade_edge.runtime.network.quiet import quiet\nos.close(2)\nwith quiet():\n    print('ran')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ended.stdout == b"ran\n"


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_session_on_a_gpu_is_quiet_when_it_opens_and_for_every_new_number_of_views(
    provider: str, install: Callable[[Machine], Machine], model: Path, views: NDArray[np.float32], capfd: Capture
) -> None:
    machine = install(Machine())
    Session.open(model, providers=provider, most=4)  # so that TensorRT has its engine
    machine.prints, machine.runs = f"{RED}camera: reconnecting\n", []
    session = Session.open(model, providers=provider, most=4)
    session(views)  # 4 and 3
    session(views)
    assert machine.runs == [1, 4, 3, 4, 3]
    assert capfd.readouterr().err == "camera: reconnecting\n" * 4


@pytest.mark.parametrize(("provider", "name"), [("cuda", CUDA), ("tensorrt", TENSORRT)])
def test_what_was_printed_comes_out_where_the_session_or_a_run_fails(
    provider: str, name: str, install: Callable[[Machine], Machine], model: Path, views: NDArray[np.float32],
    capfd: Capture,
) -> None:  # fmt: skip
    machine = install(Machine())
    Session.open(model, providers=provider, most=4)
    machine.prints, machine.runs, machine.fails[name] = RED, [], NO_KERNEL
    with pytest.raises(DeviceError):
        Session.open(model, providers=provider, most=4)
    assert capfd.readouterr().err == RED * 2
    machine.fails.clear()
    session = Session.open(model, providers=Provider(provider), most=4)
    assert capfd.readouterr().err == ""
    machine.fails[name] = NO_KERNEL
    with pytest.raises(DeviceError):
        session(views[:2])
    assert capfd.readouterr().err == RED


def test_while_tensorrt_builds_an_engine_what_it_says_is_seen_at_once(
    install: Callable[[Machine], Machine], model: Path, capfd: Capture
) -> None:
    machine = install(Machine(prints=RED))
    Session.open(model, providers="tensorrt")
    assert capfd.readouterr().err == RED and machine.severities == [3, 3]  # errors, not only what is fatal
    machine.severities.clear()
    Session.open(model, providers="tensorrt")
    assert capfd.readouterr().err == "" and machine.severities == [4, 3]
