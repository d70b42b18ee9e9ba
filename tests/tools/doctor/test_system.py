"""Systems for which there are no packages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from machines import (
    CPU,
    Commands,
    alpine,
    computes,
    found,
    host,
    raspberry,
)


def test_a_system_without_packages_on_which_onnxruntime_runs_all_the_same(tmp_path: Path) -> None:
    on_musl = replace(alpine(tmp_path / "musl"), run=Commands({}, computes(CPU)))
    assert found(on_musl)["system C library"].state == "note"
    on_pi = replace(raspberry(tmp_path / "pi"), run=Commands({}, computes(CPU)))
    assert found(on_pi)["system userland"].state == "note"
    old = host(tmp_path / "old", {}, Commands({}, computes(CPU)), libc="glibc 2.17")
    assert found(old)["system C library"].state == "note"
