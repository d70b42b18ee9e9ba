"""onnxruntime, behind two words: a session runs a model file, a kernel runs a small graph of ours.

The only module that imports onnxruntime. Everything heavy that a frame needs goes through it, not through numpy's BLAS:
onnxruntime has products of 8-bit numbers, keeps to a number of threads, and its idle threads sleep, while BLAS threads
would spin on the cores that the network needs next.
"""

from __future__ import annotations

import ctypes
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import DeviceError
from spade_edge.runtime.gpu import why_not_loaded
from spade_edge.runtime.graph import Graph
from spade_edge.runtime.provider import CUDA, EXECUTION_PROVIDERS, TENSORRT

CPU = EXECUTION_PROVIDERS["cpu"]
LIBRARIES = {CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so"}
MODEL_FAULTS = ("InvalidProtobuf", "InvalidGraph", "NoSuchFile", "NoModel", "ModelLoadCanceled")  # its exceptions
ERROR, FATAL = 3, 4  # its severities


def onnxruntime() -> Any:
    """The package.

    Raises:
        DeviceError: it is not installed.
    """
    try:
        import onnxruntime as package
    except ModuleNotFoundError:
        raise DeviceError(
            "expected onnxruntime, found none: pip install 'spade-edge[cpu]', or 'spade-edge[gpu]' for x86-64 with "
            "an NVIDIA GPU; on a Jetson install NVIDIA's own onnxruntime-gpu wheel"
        ) from None
    return package


def open_session(model: str | bytes, *, providers: Sequence[str], threads: int | None) -> Any:
    """An onnxruntime.InferenceSession; onnxruntime's own exceptions come through.

    Args:
        model: a path, or the content of a file.
        providers: in order of preference.
        threads: for one run; None for one a core.
    """
    package = onnxruntime()
    # Falling back by itself, onnxruntime would print to stdout, which is for data.
    return package.InferenceSession(model, _options(threads), providers=list(providers), enable_fallback=0)


def open_gpu_session(
    model: str, *, providers: Sequence[tuple[str, Mapping[str, str]]], threads: int | None, profile: Path
) -> Any:
    """An onnxruntime.InferenceSession on a GPU, which profiles itself until `end_profiling` is called.

    onnxruntime goes on without a provider that does not load, and complains on stderr, or on stdout. Here the first
    provider has to be obtained, and what is said against it comes back in the error. From the first such session on,
    onnxruntime's own log is silent but for errors.

    Args:
        model: a path.
        providers: execution providers in order of preference, each with its options.
        threads: of what is left to the CPU.
        profile: start of the profile's file name.

    Raises:
        DeviceError: the first provider is not obtained.
        Exception: onnxruntime's own, where the model is at fault.
    """
    package = onnxruntime()
    options = _options(threads)
    options.use_deterministic_compute = True
    options.enable_profiling = True
    options.profile_file_prefix = str(profile)
    first, printed = providers[0][0], io.StringIO()
    package.set_default_logger_severity(FATAL)
    try:
        with redirect_stdout(printed):
            if hasattr(package, "preload_dlls"):  # from 1.21: finds CUDA among Python's packages
                with suppress(Exception):
                    package.preload_dlls(directory="")
            session = package.InferenceSession(
                model, options, providers=[(name, dict(choice)) for name, choice in providers], enable_fallback=0
            )
    except Exception as problem:  # onnxruntime's own classes share no base but Exception
        if type(problem).__name__ in MODEL_FAULTS:
            raise
        raise _not_obtained(first, str(problem)) from None
    finally:
        package.set_default_logger_severity(ERROR)
    if session.get_providers()[0] != first:
        # onnxruntime 1.17 falls back whatever it is told, and prints why.
        raise _not_obtained(first, printed.getvalue().partition("EP Error ")[2].partition(" when using ")[0])
    session.disable_fallback()  # a run that fails would go on elsewhere, with a word on stdout
    return session


def must_be_offered(provider: str) -> None:
    """Refuse an execution provider that this onnxruntime was not compiled with.

    Raises:
        DeviceError: says which there are.
    """
    offered = onnxruntime().get_available_providers()
    if provider not in offered:
        raise DeviceError(
            f"expected one of the providers of this machine's onnxruntime ({', '.join(offered)}), found {provider}; "
            "pip install 'spade-edge[gpu]' on x86-64, NVIDIA's own onnxruntime-gpu on a Jetson"
        )


def provider_library(name: str) -> Path:
    """The library in onnxruntime that is "cuda" or "tensorrt"."""
    return Path(onnxruntime().__file__).parent / "capi" / LIBRARIES[name]


def _options(threads: int | None) -> Any:
    options = onnxruntime().SessionOptions()
    options.log_severity_level = ERROR  # they come back as exceptions, in our words
    # A session that waits in a loop takes the cores that the next session's work needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def _not_obtained(provider: str, says: str) -> DeviceError:
    package = onnxruntime()
    name = next(short for short, long in EXECUTION_PROVIDERS.items() if long == provider)
    # Behind the source files and C++ functions that it names, before the host and the line.
    tail = re.sub(r"^.*(\] |: FAIL : )|\S+\.(h|cc):\d+ \S+ | ; GPU=.*$", "", " ".join(says.split()))
    reason = why_not_loaded(provider_library(name)) or tail or "onnxruntime goes on without it and does not say why"
    built = f", built for CUDA {package.cuda_version}," if getattr(package, "cuda_version", "") else ""
    return DeviceError(
        f"expected {provider}, found that it cannot be had here: {reason}; give onnxruntime "
        f"{package.__version__}{built} the GPU libraries and driver that it wants, or score with --provider cpu"
    )


def give_back_memory() -> None:
    """Return to the system what loading a model has freed: 145 MB with Wide-ResNet50-2, which glibc would keep."""
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


class Kernel:
    """A small graph, ready to run on the CPU.

    Args:
        graph: what to compute.
        threads: for one run; None for one a core.

    Raises:
        DeviceError: onnxruntime is not installed.
    """

    def __init__(self, graph: Graph, *, threads: int | None) -> None:
        self._outputs = list(graph.outputs)
        self._session = open_session(graph.to_bytes(), providers=(CPU,), threads=threads)

    def __call__(self, **inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Run; gives the outputs in the order in which they were declared. Arrays are not copied if contiguous."""
        return tuple(self._session.run(self._outputs, inputs))


class Products:
    """Matrix products of float32 arrays, (m, k) by (k, n), on a stated number of threads. A drop-in for np.matmul."""

    def __init__(self, *, threads: int | None) -> None:
        graph = Graph()
        left, right = graph.input("left", np.float32, ("m", "k")), graph.input("right", np.float32, ("k", "n"))
        graph.output("product", graph.node("MatMul", left, right), np.float32)
        self._kernel = Kernel(graph, threads=threads)

    def __call__(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
        (product,) = self._kernel(left=np.ascontiguousarray(left), right=np.ascontiguousarray(right))
        return product


class FixedRun:
    """Runs a session with one input and its outputs always at the same addresses of a GPU, as a CUDA graph needs it.

    Args:
        session: an onnxruntime.InferenceSession.
        inputs: name and shape of its input.
        outputs: names and shapes of its outputs.
        device: "cuda".
        number: of the GPU.
    """

    def __init__(
        self,
        session: Any,
        *,
        inputs: tuple[str, tuple[int, ...]],
        outputs: Mapping[str, tuple[int, ...]],
        device: str = "cuda",
        number: int = 0,
    ) -> None:
        value, (name, shape) = onnxruntime().OrtValue, inputs
        self._session, self._binding = session, session.io_binding()
        self._input = value.ortvalue_from_numpy(np.zeros(shape, np.float32), device, number)
        self._binding.bind_ortvalue_input(name, self._input)
        self._outputs = []
        for output, size in outputs.items():
            self._outputs.append(value.ortvalue_from_shape_and_type(list(size), np.float32, device, number))
            self._binding.bind_ortvalue_output(output, self._outputs[-1])

    def __call__(self, array: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run on one array of the input's shape; gives copies of the outputs."""
        self._input.update_inplace(np.ascontiguousarray(array))
        self._session.run_with_iobinding(self._binding)
        return [np.array(output.numpy()) for output in self._outputs]
