"""Execution providers that do not work, and why."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from spade_edge.tools.doctor.commands import Answer


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


def test_onnxruntime_that_is_installed_but_does_not_load(tmp_path: Path) -> None:
    machine = replace(industrial(tmp_path), run=Commands({}, {"onnxruntime": Answer(-4)}))
    one = found(machine)["providers onnxruntime"]
    assert one.state == "problem" and "SIGILL" in one.found
