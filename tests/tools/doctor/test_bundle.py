"""A bundle on this machine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from altered import altered
from machines import (
    CPU,
    CUDA,
    TENSORRT,
    Commands,
    computes,
    folder_of,
    found,
    industrial,
    memory_of,
)

from spade_edge.galleries import Built
from spade_edge.runtime.bundle.manifest import FILE


def test_a_bundle_that_fits_and_one_that_does_not(edge: Built, tmp_path: Path) -> None:
    machine = industrial(tmp_path)
    findings = found(machine, folder=edge.path)
    assert findings["bundle header"].found.startswith("three_convolutions fp32, 1 view of 64x64, 8 good images, ")
    assert findings["bundle matching"].found == "cells are matched at any place, as asked for"
    assert findings["bundle files"].state == findings["bundle precision"].state == "ok"
    sizes = sum(file.size for role, file in edge.manifest.files.items() if not role.startswith("golden"))
    memory_row = findings["memory memory"]
    assert memory_row.state == "ok" and f"the bundle needs {(sizes + 250e6) / 1e6:.0f} MB" in memory_row.found
    folder_of(tmp_path, {"proc/meminfo": memory_of(1_000_000, (sizes + 250_000_000 - 1) // 1024)})
    assert found(machine, folder=edge.path)["memory memory"].state == "problem"
    folder_of(tmp_path, {"proc/meminfo": memory_of(1_000_000, (sizes + 250_000_000) // 1024 + 1)})
    assert found(machine, folder=edge.path)["memory memory"].state == "ok"


def test_a_bundle_that_is_damaged(edge: Built, tmp_path: Path) -> None:
    machine = industrial(tmp_path / "pc")
    for name in ("short", "missing", "altered", "none"):
        copy = shutil.copytree(edge.path, tmp_path / name)
        file = copy / edge.manifest.files["level2"].name
        if name == "short":
            file.write_bytes(file.read_bytes()[:-1])
        elif name == "missing":
            file.unlink()
        elif name == "altered":
            (copy / FILE).write_text("{}")
        else:
            shutil.rmtree(copy)
        findings = found(machine, folder=copy)
        row = "bundle files" if name in ("short", "missing") else "bundle header"
        assert findings[row].state == "problem", name


def test_cells_that_a_gpu_leaves_to_the_cpu(edge: Built, paper: Built, tmp_path: Path) -> None:
    for bundle, provider, state in (
        (edge, CUDA, "ok"),
        (paper, CUDA, "note"),
        (paper, TENSORRT, "note"),
        (paper, CPU, "ok"),
    ):
        machine = replace(industrial(tmp_path / "pc"), run=Commands({}, computes(*{provider, CPU})))
        row = found(machine, folder=bundle.path)["bundle matching"]
        assert row.state == state and ("; exact search: matched on the CPU" in row.found) == (state == "note")


@pytest.mark.parametrize(
    ("precision", "target", "providers", "state"),
    [
        ("fp32", None, (CPU,), "ok"),
        ("fp32", None, (CUDA, CPU), "ok"),
        ("fp16", None, (CPU,), "note"),
        ("fp16", None, (CUDA, CPU), "ok"),
        ("int8", "cpu", (CPU,), "ok"),
        ("int8", "cpu", (CUDA, CPU), "note"),
        ("int8", "tensorrt", (CPU,), "note"),
        ("int8", "tensorrt", (CUDA, CPU), "note"),
        ("int8", "tensorrt", (TENSORRT, CUDA, CPU), "ok"),
    ],
)
def test_precision_and_what_computes_here(
    precision: str, target: str | None, providers: tuple[str, ...], state: str, edge: Built, tmp_path: Path
) -> None:
    quantisation = {} if target is None else {"target": target}
    bundle = altered(edge.path, tmp_path / "b", "model", precision=precision, quantisation=quantisation)
    machine = replace(industrial(tmp_path / "pc"), run=Commands({}, computes(*providers)))
    assert found(machine, folder=bundle)["bundle precision"].state == state


@pytest.mark.parametrize(
    ("number", "version", "says"),
    [("_10", "10.16.2", "float16 or float32"), ("_11", "11.4.1", "float16 between the model's casts")],
)
def test_what_this_tensorrt_makes_of_the_bundles_precision(
    number: str, version: str, says: str, edge: Built, tmp_path: Path
) -> None:
    bundle = altered(edge.path, tmp_path / "b", "model", precision="fp16", quantisation={})
    tried = computes(TENSORRT, CUDA, CPU, wanted=f"libnvinfer.so.{number[1:]}", **{number: version})
    machine = replace(industrial(tmp_path / "pc"), run=Commands({}, tried))
    one = found(machine, folder=bundle)["bundle precision"]
    assert one.state == "ok" and f"; TensorRT {version} computes {says}" in one.found
