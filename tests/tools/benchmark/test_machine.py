"""The machine that figures are measured on, as the JSON names it."""

from __future__ import annotations

import platform
from pathlib import Path

from machines import ORIN, PC, PI, Commands, host

from spade_edge.tools.benchmark.machine import machine


def test_board_processor_and_class_of_several_machines(tmp_path: Path) -> None:
    found = {}
    for name, files in {"orin": ORIN, "pi": PI, "pc": PC, "none": {}}.items():
        value = machine(4, host=host(tmp_path / name, files, Commands({}, {})))
        found[name] = (value["cpu"], value["processor_class"])
        assert value["threads"] == 4 and value["python"] == platform.python_version()
    assert found == {
        "orin": ("NVIDIA Jetson Orin Nano Developer Kit, 4 x Cortex-A78AE", "ARM with dot products"),
        "pi": ("Raspberry Pi 5 Model B Rev 1.0, 4 x Cortex-A76", "ARM without dot products"),
        "pc": ("Intel(R) Core(TM) i5-8500 CPU @ 3.00GHz", "AVX2 without VNNI"),
        "none": (platform.processor() or "unknown", None),
    }
