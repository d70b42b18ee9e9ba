"""A machine with an NVIDIA GPU, as far as Python can see: onnxruntime, its provider libraries, the driver, TensorRT.

Sessions run on the CPU and say otherwise. What goes wrong on real machines can be switched on; texts and behaviour are
those of onnxruntime-gpu 1.17.1, 1.23.2 and 1.31.1 on a machine without a GPU.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime as real
import pytest

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
OFFERED = (TENSORRT, CUDA, CPU)
FRAMES = "frames"  # the network's input
# Names as the libraries of onnxruntime-gpu have them; any other is refused.
OPTIONS = {
    CUDA: "device_id arena_extend_strategy cudnn_conv_algo_search gpu_mem_limit use_tf32 enable_cuda_graph "
    "do_copy_in_default_stream cudnn_conv_use_max_workspace prefer_nhwc",
    TENSORRT: "device_id trt_max_workspace_size trt_fp16_enable trt_int8_enable trt_engine_cache_enable "
    "trt_engine_cache_path trt_timing_cache_enable trt_timing_cache_path trt_profile_min_shapes "
    "trt_profile_opt_shapes trt_profile_max_shapes trt_cuda_graph_enable trt_builder_optimization_level",
    CPU: "",
}
FLAGS = tuple(name for name in OPTIONS[TENSORRT].split() if name.endswith("_enable"))
NO_DRIVER = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc:60 static onnxruntime::"
    "CUDAExecutionProviderInfo onnxruntime::CUDAExecutionProviderInfo::FromProviderOptions(const onnxruntime::"
    "ProviderOptions&) [ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:187 Parse Failed to parse provider "
    'option "device_id": CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1 ; '
    "hostname=vm ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc ; line=67 ; "
    "expr=cudaGetDeviceCount(&num_devices); \n\n"
)
NO_TENSORRT = (
    "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:560 void onnxruntime::python::"
    "RegisterTensorRTPluginsAsCustomOps(PySessionOptions&, const onnxruntime::ProviderOptions&) Please install "
    "TensorRT libraries as mentioned in the GPU requirements page, make sure they're in the PATH or LD_LIBRARY_PATH, "
    "and that your GPU is supported.\n"
)
CHILD = ("version", "tensorrt", "raises", "prints", "writes", "dies")  # what processes that are started take over
NO_KERNEL = "Non-zero status code returned while running Conv node. CUDNN failure 209: no kernel image is available"


@dataclass
class Machine:
    """What the fake does.

    Attributes:
        version: of onnxruntime; 1.17 falls back by itself.
        tensorrt: getInferLibVersion.
        gpus: name and compute capability of each.
        offered: what this onnxruntime was compiled with.
        dropped: providers that it goes on without.
        raises: provider to what creating a session says.
        fails: provider to what a run says.
        left: operators that the first provider leaves to the CPU, or TensorRT to CUDA.
        missing: library to what the loader says.
        prints: what libraries print on file descriptor 2 when a model opens on a GPU, and in the first run of each
            number of views.
        writes: whether TensorRT writes its engine.
        dies: where the process that builds an engine is killed: "first", before TensorRT writes anything; "half", in
            the middle of its engine; "whole", once that is written; "marking" and "marked", before and after the cache
            marks it as prepared. "segfault": it crashes. "never": TensorRT is deaf, and never ends. Empty: it builds.
        folder: where onnxruntime is.
        asked: providers with options of each session on a GPU.
        built: engines that were built, not loaded.
        severities: of the default logger, as they were set.
        devices: where arrays were put.
        runs: views in each run on a GPU.
    """

    version: str = "1.23.2"
    tensorrt: int = 100300
    gpus: list[tuple[str, str]] = field(default_factory=lambda: [("Orin", "8.7"), ("NVIDIA A2", "8.6")])
    offered: Sequence[str] = OFFERED
    dropped: Sequence[str] = ()
    raises: dict[str, str] = field(default_factory=dict)
    fails: dict[str, str] = field(default_factory=dict)
    left: Sequence[str] = ()
    missing: dict[str, str] = field(default_factory=dict)
    prints: str = ""
    writes: bool = True
    dies: str = ""
    folder: str = ""
    asked: list[list[tuple[str, dict[str, str]]]] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    severities: list[int] = field(default_factory=list)
    devices: list[tuple[str, int]] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Machine:
        """Put it in place; engines go into `folder`/cache."""
        self.folder = str(folder)
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")  # so that it is put back whatever the test sets
        monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
        monkeypatch.setitem(sys.modules, "onnxruntime", self.package())
        monkeypatch.setattr("spade_edge.runtime.network.gpu._load", self.load)
        return self

    def in_children(self, monkeypatch: pytest.MonkeyPatch) -> Machine:
        """Put it in place in every Python that is started from now on, too."""
        site = Path(self.folder, "site")
        site.mkdir()
        (site / "sitecustomize.py").write_text("import fake_gpu\nfake_gpu.install_from_environment()\n")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(Path(__file__).parent)]))
        plan = {name: getattr(self, name) for name in (*CHILD, "folder")}
        monkeypatch.setenv("FAKE_GPU", json.dumps(plan))
        return self

    def package(self) -> types.ModuleType:
        """The module onnxruntime."""
        capi = Path(self.folder, "onnxruntime", "capi")
        capi.mkdir(parents=True, exist_ok=True)
        for name in ("cuda", "tensorrt"):
            (capi / f"libonnxruntime_providers_{name}.so").write_bytes(b"\x7fELF\0libcudart.so.12\0libnvinfer.so.10\0")
        machine = self

        class Session(_Session):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(machine, *arguments, **options)

        class OrtValue:
            @staticmethod
            def ortvalue_from_numpy(array: Any, device: str, number: int) -> Any:
                machine.devices.append((device, number))
                return real.OrtValue.ortvalue_from_numpy(array, "cpu", 0)

            @staticmethod
            def ortvalue_from_shape_and_type(shape: Any, kind: Any, device: str, number: int) -> Any:
                machine.devices.append((device, number))
                return real.OrtValue.ortvalue_from_shape_and_type(shape, kind, "cpu", 0)

        package = types.ModuleType("onnxruntime")
        package.__dict__.update(
            {name: value for name, value in vars(real).items() if not name.startswith("__") and name != "preload_dlls"}
        )
        package.__dict__.update(
            __file__=str(capi.parent / "__init__.py"),
            __version__=self.version,
            cuda_version="12.2",
            InferenceSession=Session,
            OrtValue=OrtValue,
            get_available_providers=lambda: list(self.offered),
            set_default_logger_severity=self.severities.append,
        )
        return package

    def load(self, name: str, *, mode: int = 0) -> Any:
        """The loader: dlopen."""
        if name in self.missing or Path(name).name in self.missing:
            raise OSError(self.missing.get(name) or self.missing[Path(name).name])
        if name == "libcuda.so.1":
            return _Driver(self.gpus)
        return types.SimpleNamespace(getInferLibVersion=lambda: self.tensorrt)


class _Driver:
    """libcuda: results go through pointers, as ctypes makes them."""

    def __init__(self, gpus: list[tuple[str, str]]) -> None:
        self._gpus = gpus

    def cuInit(self, flags: int) -> int:
        return 0 if self._gpus else 100

    def cuGetErrorString(self, code: int, text: Any) -> int:
        text._obj.value = b"no CUDA-capable device is detected"
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self._gpus)
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:
        device._obj.value = number
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:
        name.value = self._gpus[device.value][0].encode()
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:
        value._obj.value = int(self._gpus[device.value][1].split(".")[{75: 0, 76: 1}[attribute]])
        return 0


class _Session:
    def __init__(
        self, machine: Machine, model: Any, options: Any = None, providers: Any = (), enable_fallback: int = 1
    ) -> None:
        self._machine = machine
        chosen = [(each, {}) if isinstance(each, str) else each for each in providers]
        names = [name for name, _ in chosen]
        if names != [CPU]:
            machine.asked.append(chosen)
            if isinstance(model, str):
                os.write(2, machine.prints.encode())
        older = machine.version.startswith("1.17.")  # knows no enable_fallback
        self._fallback = older or enable_fallback == 1
        try:
            _refuse(machine, chosen)
        except RuntimeError as problem:
            if not self._fallback:
                raise
            print("*************** EP Error ***************")
            print(f"EP Error {problem} when using {providers}")
            print(f"Falling back to {[CPU]} and retrying.")
            names = [CPU]
        self._got = [name for name in names if name not in machine.dropped]
        self._got += [CPU] if CPU not in self._got else []
        if self._got[0] == TENSORRT:
            _build(machine, chosen[0][1], str(model))
        self._inner = real.InferenceSession(model, options, providers=[CPU])
        self._bound: set[int] = set()  # numbers of views that were bound in a run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def get_providers(self) -> list[str]:
        return self._got

    def disable_fallback(self) -> None:
        self._fallback = False

    def run(self, *arguments: Any) -> Any:
        says = self._machine.fails.get(self._got[0])
        if says and not self._fallback:
            os.write(2, self._machine.prints.encode())
            raise RuntimeError(says)
        if says:
            print(f"EP Error: {says} using {self._got}")
        if self._got[0] != CPU:
            counts = [len(views) for views in arguments[1].values()]
            if not set(counts) <= set(self._machine.runs):
                os.write(2, self._machine.prints.encode())
            self._machine.runs += counts
        return self._inner.run(*arguments)

    def io_binding(self) -> _Binding:
        return _Binding(self._machine, self._inner.io_binding())

    def run_with_iobinding(self, binding: _Binding) -> None:
        if self._got[0] in self._machine.fails:
            raise RuntimeError(self._machine.fails[self._got[0]])
        if self._got[0] != CPU and binding.views is not None and binding.views not in self._bound:
            os.write(2, self._machine.prints.encode())
            self._bound.add(binding.views)
        self._inner.run_with_iobinding(binding.inner)

    def end_profiling(self) -> str:
        name = self._inner.end_profiling()
        events = [_elsewhere(event, self._got[0], self._machine.left) for event in json.loads(Path(name).read_bytes())]
        if self._got[0] == TENSORRT:
            fused = [event for event in events if event.get("args", {}).get("provider") == TENSORRT]
            events = [event for event in events if event not in fused[1:]]
        Path(name).write_text(json.dumps(events))
        return str(name)


class _Binding:
    """An io binding whose outputs are put on the CPU."""

    def __init__(self, machine: Machine, inner: Any) -> None:
        self._machine, self.inner = machine, inner
        self.views: int | None = None  # number of them, of the network's input

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def bind_cpu_input(self, name: str, array: Any) -> None:
        self._views(name, len(array))
        self.inner.bind_cpu_input(name, array)

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        self._views(name, *value.shape()[:1])
        self.inner.bind_ortvalue_input(name, value)

    def _views(self, name: str, count: int = 0) -> None:
        self.views = count if name == FRAMES else self.views

    def bind_output(self, name: str, device: str = "cpu", number: int = 0) -> None:
        self._machine.devices.append((device, number))
        self.inner.bind_output(name, "cpu", 0)


def _refuse(machine: Machine, chosen: Sequence[tuple[str, dict[str, str]]]) -> None:
    for name, options in chosen:
        if name == chosen[0][0] and name in machine.raises:
            raise RuntimeError(machine.raises[name])
        for option, value in options.items():
            if option not in OPTIONS[name].split() or (option == "use_tf32" and machine.version.startswith("1.17.")):
                raise RuntimeError(f'Parse Unknown provider option: "{option}".')
            if not isinstance(value, str) or (option in FLAGS and value not in {"True", "False"}):
                raise RuntimeError(f"[ERROR] [TensorRT] The value for the key '{option}' should be 'True' or 'False'.")


def _build(machine: Machine, options: dict[str, str], model: str) -> None:
    """Build an engine, or load the one that is there."""
    stem = f"TensorrtExecutionProvider_TRTKernel_graph_{Path(model).stem}_0"
    folder = Path(options["trt_engine_cache_path"])
    if not (folder / f"{stem}.engine").exists():
        machine.built.append(stem)
        _die(machine, "first")
        (folder / f"{stem}.profile").write_text(options["trt_profile_max_shapes"])
        if machine.writes:
            (folder / f"{stem}.engine").write_bytes(b"half")
            _die(machine, "half")
            (folder / f"{stem}.engine").write_bytes(stem.encode())
        _die(machine, "whole")
    (folder / "TensorrtExecutionProvider_cache_sm87.timing").write_text(str(len(machine.asked)))


def _die(machine: Machine, where: str) -> None:
    """End this process there, if it is to die there. A process that is to die later is prepared for it."""
    if machine.dies == where:
        os.kill(os.getpid(), signal.SIGKILL)
    if machine.dies == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if machine.dies == "never":
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(600)
    if machine.dies in {"marking", "marked"}:
        owner, name = (os, "fsync") if machine.dies == "marking" else (Path, "replace")
        real = getattr(owner, name)

        def last(*arguments: Any) -> None:
            real(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(owner, name, last)


def _elsewhere(event: dict[str, Any], first: str, left: Sequence[str]) -> dict[str, Any]:
    """An event of a profile, as if the node had run elsewhere."""
    arguments = event.get("args", {})
    if "provider" not in arguments:
        return event
    rest = CUDA if first == TENSORRT else CPU
    return event | {"args": arguments | {"provider": rest if arguments["op_name"] in left else first}}


def install_from_environment() -> None:
    """For a `sitecustomize.py`: the machine that the parent process plays."""
    machine = Machine(**json.loads(os.environ["FAKE_GPU"]))
    sys.modules["onnxruntime"] = machine.package()
    from spade_edge.runtime.network import gpu

    gpu._load = machine.load
