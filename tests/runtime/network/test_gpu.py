"""The GPU and NVIDIA's libraries, as the driver says, and as the real loader does."""

from __future__ import annotations

import ctypes.util
from pathlib import Path

import pytest
from fake_gpu import Machine

from spade_edge.runtime import DeviceError
from spade_edge.runtime.network.gpu import (
    Gpu,
    tensorrt_library,
    tensorrt_version,
    version_of_tensorrt,
    why_not_loaded,
)


def test_a_gpu_has_a_name_and_a_compute_capability(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Machine(gpus=[("Orin", "8.7"), ("NVIDIA A2", "8.6")]).install(monkeypatch, tmp_path)
    assert [Gpu.at(0), Gpu.at(1)] == [Gpu("Orin", "8.7"), Gpu("NVIDIA A2", "8.6")]
    with pytest.raises(DeviceError, match="from 0 to 1, found 2"):
        Gpu.at(2)


def test_without_a_driver_or_a_gpu_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Machine(gpus=[]).install(monkeypatch, tmp_path)
    with pytest.raises(DeviceError, match=r"no CUDA-capable device is detected \(100\)"):
        Gpu.at(0)
    text = "libcuda.so.1: cannot open shared object file: No such file or directory"
    Machine(missing={"libcuda.so.1": text}).install(monkeypatch, tmp_path)
    with pytest.raises(DeviceError, match=f"{text}"):
        Gpu.at(0)


@pytest.mark.parametrize(
    ("number", "version"), [(8601, "8.6.1"), (100300, "10.3.0"), (101303, "10.13.3"), (110400, "11.4.0")]
)
def test_the_version_of_tensorrt(number: int, version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(tensorrt=number).install(monkeypatch, tmp_path)
    library = Path(machine.folder, "onnxruntime", "capi", "libonnxruntime_providers_tensorrt.so")
    assert tensorrt_version(library) == version


def test_onnxruntime_says_which_tensorrt_it_wants(tmp_path: Path) -> None:
    (tmp_path / "provider.so").write_bytes(b"\x7fELF\0libcudart.so.12\0libnvinfer.so.987\0")
    with pytest.raises(DeviceError, match=r"libnvinfer\.so\.987"):
        tensorrt_version(tmp_path / "provider.so")
    assert tensorrt_library(tmp_path / "provider.so") == "libnvinfer.so.987"
    (tmp_path / "empty.so").touch()
    assert tensorrt_library(tmp_path / "empty.so") == ""
    with pytest.raises(OSError, match="987"):
        version_of_tensorrt("libnvinfer.so.987")
    with pytest.raises(OSError, match="getInferLibVersion"):
        version_of_tensorrt(ctypes.util.find_library("c") or "libc.so.6")
    for name in ("absent.so", "empty.so"):
        with pytest.raises(DeviceError, match="TensorRT"):
            tensorrt_version(tmp_path / name)


def test_the_loader_says_why_a_library_does_not_load(tmp_path: Path) -> None:
    library = tmp_path / "libprovider.so"
    assert "libprovider.so" in why_not_loaded(library)  # no such file
    library.write_bytes(b"no library at all")
    assert "libprovider.so" in why_not_loaded(library)
    loads = ctypes.util.find_library("c")
    if loads is not None:
        assert why_not_loaded(Path(loads)) == ""
