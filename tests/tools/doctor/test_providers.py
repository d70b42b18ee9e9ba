"""Execution providers that do not work, and why."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machines import (
    CPU,
    CUDA,
    CUDNN,
    NO_FILE,
    NVIDIA_SMI,
    TENSORRT,
    TENSORRT_MISSING,
    Commands,
    computes,
    found,
    industrial,
)

from spade_edge.tools.doctor import Finding
from spade_edge.tools.hardware.commands import Answer


def test_providers_that_do_not_compute(tmp_path: Path) -> None:
    machine = industrial(tmp_path)

    def cuda(answer: Any, **answers: Answer) -> Finding:
        smi = {"nvidia-smi": Answer(0, NVIDIA_SMI.format(reasons="0x0"))} | answers
        return found(replace(machine, run=Commands(smi, computes(CUDA, CPU) | {CUDA: answer})))["providers cuda"]

    assert cuda({"provider": CUDA, "right": True}).state == "ok"
    for answer, says in (
        (Answer(-11), "crashed (SIGSEGV)"),
        (Answer(-4), "crashed (SIGILL)"),
        (Answer(None, err="no answer within 60 s"), "no answer within 60 s"),
        ({"provider": CPU, "right": True}, "CPUExecutionProvider ran instead"),
        ({"provider": CUDA, "right": False}, "the numbers are wrong"),
        (Answer(1, "", "Traceback\nMemoryError\n"), "MemoryError"),
        (Answer(None), "no reason given"),
        ({"error": "/a/b.cc:1 void f()"}, "no reason given"),
        (
            Answer(
                0,
                json.dumps({"error": "x the default CPU EP"}),
                "EP Error /a/b.cc:1 void f(int) CUDA failure 35 when using [x]",
            ),
            "does not run: CUDA failure 35",
        ),
        ({"error": "Fail: nodes are assigned to the default CPU EP"}, "would have run it on the CPU"),
    ):
        one = cuda(answer)
        assert one.state == "problem" and says in one.found, one
    # A driver that is missing is one thing, a GPU that is missing another.
    libcuda = replace_library("libcuda.so.1")
    assert "the NVIDIA driver" in cuda(libcuda).remedy
    assert (
        "the NVIDIA driver" in cuda(CUDNN, **{"nvidia-smi": Answer(9, "couldn't communicate with the driver")}).remedy
    )
    shutil.rmtree(tmp_path / "sys/bus")
    assert "pip uninstall onnxruntime-gpu" in cuda(CUDNN, **{"nvidia-smi": NO_FILE}).remedy


def replace_library(name: str) -> Answer:
    return Answer(0, CUDNN.out, CUDNN.err.replace("libcudnn.so.9", name))


def test_tensorrt_that_is_installed_but_does_not_run_is_a_problem(tmp_path: Path) -> None:
    machine = industrial(tmp_path)
    tried = computes(TENSORRT, CUDA, CPU)
    for answer, cuda, state in (
        (TENSORRT_MISSING, tried[CUDA], "note"),
        ({"error": "engine not built"}, tried[CUDA], "problem"),
        ({"error": "engine not built"}, CUDNN, "note"),  # CUDA's problem, said there
    ):
        told = replace(machine, run=Commands({}, tried | {TENSORRT: answer, CUDA: cuda}))
        assert found(told)["providers tensorrt"].state == state


@pytest.mark.parametrize(
    ("wanted", "found_here", "state", "says", "says_not"),
    [
        ("libnvinfer.so.8", {"_8": "8.6.1"}, "ok", ["8.6.1 (libnvinfer.so.8)", "builder flag fp16"], "typed"),
        ("libnvinfer.so.10", {"_10": "10.3.0"}, "ok", ["10.3.0 (libnvinfer.so.10)", "builder flag int8"], "typed"),
        ("libnvinfer.so.11", {"_11": "11.4.1"}, "ok", ["11.4.1 (libnvinfer.so.11)", "as the model is typed"], "flag"),
        (
            "libnvinfer.so.10",
            {"_10": "10.16.2", "_11": "11.4.1"},
            "ok",
            ["10.16.2 (libnvinfer.so.10), as", "beside it 11.4.1 (libnvinfer.so.11), which is not used"],
            "typed",
        ),
        (
            "libnvinfer.so.10",
            {"_11": "11.4.1"},
            "note",
            ["onnxruntime 1.23.0 is built for libnvinfer.so.10, found 11.4.1 (libnvinfer.so.11)"],
            "fp32",
        ),
        ("libnvinfer.so.11", {"_10": "10.3.0"}, "note", ["built for libnvinfer.so.11, found 10.3.0"], "fp32"),
        ("", {"_10": "10.16.2"}, "note", ["10.16.2 (libnvinfer.so.10) is installed, but onnxruntime 1.23.0"], "fp32"),
    ],
)
def test_versions_of_tensorrt_are_told_apart(
    wanted: str, found_here: dict[str, str], state: str, says: list[str], says_not: str, tmp_path: Path
) -> None:
    tried = computes(TENSORRT, CUDA, CPU, wanted=wanted, **found_here)
    one = found(replace(industrial(tmp_path), run=Commands({}, tried)))["providers tensorrt version"]
    assert one.state == state and all(text in one.found for text in says) and says_not not in one.found, one
    assert one.remedy == "" or "CUDA" in one.remedy or "--provider cuda" in one.remedy
    if state == "ok":
        assert all(f"{precision}: " in one.found for precision in ("fp32", "fp16", "int8"))


def test_without_tensorrt_there_is_no_row_about_its_version(tmp_path: Path) -> None:
    machine = industrial(tmp_path)
    broken = {"tensorrt": Answer(-11)}, {"tensorrt": {"wanted": 5}}, {"tensorrt": {"wanted": "x", "found": {"x": "?"}}}
    for tried in (computes(CUDA, CPU), computes(TENSORRT, CPU, wanted="libnvinfer.so.10"), *broken):
        whole = computes(TENSORRT, CUDA, CPU) | tried
        assert "providers tensorrt version" not in found(replace(machine, run=Commands({}, whole)))
    commands = Commands({}, computes(CPU, wanted="libnvinfer.so.10", _10="10.3.0"))
    assert "providers tensorrt version" not in found(replace(machine, run=commands))
    assert not [line for line in commands.asked if line[-1] == "tensorrt"]  # a machine without a GPU is not asked


def test_another_tensorrt_than_the_one_that_is_needed_is_not_called_missing(tmp_path: Path) -> None:
    tried = computes(TENSORRT, CUDA, CPU, wanted="libnvinfer.so.10", _11="11.4.1") | {TENSORRT: TENSORRT_MISSING}
    one = found(replace(industrial(tmp_path), run=Commands({}, tried)))["providers tensorrt"]
    assert one.state == "note" and "only 11.4.1 (libnvinfer.so.11) is installed: libnvinfer.so.10 cannot" in one.found


def test_onnxruntime_that_is_installed_but_does_not_load(tmp_path: Path) -> None:
    machine = replace(industrial(tmp_path), run=Commands({}, {"onnxruntime": Answer(-4)}))
    one = found(machine)["providers onnxruntime"]
    assert one.state == "problem" and "SIGILL" in one.found
