"""NVIDIA GPUs, and packages that are not built for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from machines import (
    CPU,
    CUDA,
    DEVICE,
    NO_FILE,
    NVIDIA_SMI,
    Commands,
    computes,
    found,
    industrial,
    orin,
)

from spade_edge.tools.doctor import Finding
from spade_edge.tools.hardware.commands import Answer


def test_pypis_onnxruntime_on_an_orin(tmp_path: Path) -> None:
    machine = orin(tmp_path)
    versions = {"spade-edge": "0.1.0", "numpy": "2.2.6"}
    kernels = Answer(0, json.dumps({"error": "Fail: CUDA failure 209: no kernel image is available for execution"}))
    broken = replace(machine, run=Commands({}, computes(CUDA, CPU) | {CUDA: kernels}))
    pypi = replace(DEVICE, versions=versions | {"onnxruntime-gpu": "1.30.0"})
    nvidia = replace(DEVICE, versions=versions | {"onnxruntime-gpu": "1.23.0"})
    assert found(broken, pypi)["gpu gpu"].state == "problem"
    assert "no kernel image" in found(broken, pypi)["providers cuda"].found
    assert "nvidia-jetpack" in found(broken, pypi)["providers cuda"].remedy
    assert found(broken, nvidia)["gpu gpu"].state == "ok"
    works = replace(machine, run=Commands({}, computes(CUDA, CPU)))
    assert found(works, pypi)["gpu gpu"].state == "ok" and "gpu use" not in found(works, pypi)


def test_gpus(tmp_path: Path) -> None:
    machine = industrial(tmp_path)

    def gpu(answer: Answer) -> dict[str, Finding]:
        return found(replace(machine, run=Commands({"nvidia-smi": answer}, computes(CPU))))

    for reasons, state, says in (
        ("0x0000000000000020", "problem", "heat"),
        ("0x0000000000000088", "problem", "hardware slowdown, power brake"),
        ("0x0000000000000004", "note", "at its power limit"),
        ("[N/A]", "ok", "driver 550.90.07"),
    ):
        one = gpu(Answer(0, NVIDIA_SMI.format(reasons=reasons)))["gpu gpu 0"]
        assert (one.state, says in one.found) == (state, True), one
    hot = gpu(Answer(0, NVIDIA_SMI.format(reasons="0x1").replace("64", "91")))["gpu gpu 0"]
    assert hot.state == "problem" and "too hot" in hot.found
    two = gpu(Answer(0, NVIDIA_SMI.format(reasons="0x0") * 2))
    assert {"gpu gpu 0", "gpu gpu 1", "gpu use"} <= set(two)
    broken = gpu(Answer(9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"))
    assert broken["gpu driver"].state == "note" and "communicate" in broken["gpu driver"].found
    assert "nvidia-smi is missing" in gpu(NO_FILE)["gpu driver"].found
    # A driver before 510 does not know compute_cap.
    five = Answer(0, NVIDIA_SMI.format(reasons="0x0").replace(", 8.6", ""))
    both = Commands({}, computes(CPU))
    ask = both.__call__

    def old(arguments: Sequence[str], **more: Any) -> Answer:
        if arguments[0] == "nvidia-smi":
            return Answer(2, 'Field "compute_cap" is not valid') if "compute_cap" in arguments[1] else five
        return ask(arguments, **more)

    assert found(replace(machine, run=old))["gpu gpu 0"].found.endswith("12288 MB, 64 C")
