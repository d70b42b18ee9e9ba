"""onnxruntime sessions on a GPU: the provider is obtained or refused, with the reason."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import DeviceError
from spade_edge.runtime.kernels.ort import ERROR, onnxruntime, session_options
from spade_edge.runtime.network.gpu import why_not_loaded
from spade_edge.runtime.network.provider import CUDA, EXECUTION_PROVIDERS, TENSORRT

FATAL = 4  # onnxruntime's severity above ERROR
LIBRARIES = {CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so"}
MODEL_FAULTS = ("InvalidProtobuf", "InvalidGraph", "NoSuchFile", "NoModel", "ModelLoadCanceled")  # its exceptions


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
    options = session_options(threads)
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
