"""onnxruntime sessions on a GPU. The requested provider is obtained, or an error gives the reason."""

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
from spade_edge.runtime.kernels.device_kernel import FixedBinding, put
from spade_edge.runtime.kernels.ort import ERROR, onnxruntime, session_options
from spade_edge.runtime.network.gpu import why_not_loaded
from spade_edge.runtime.network.provider import CUDA, EXECUTION_PROVIDERS, TENSORRT

FATAL = 4  # onnxruntime's severity above ERROR
LIBRARIES = {CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so"}
MODEL_FAULTS = ("InvalidProtobuf", "InvalidGraph", "NoSuchFile", "NoModel", "ModelLoadCanceled")  # its exceptions


def open_gpu_session(
    model: str,
    *,
    providers: Sequence[tuple[str, Mapping[str, str]]],
    threads: int | None,
    profile: Path,
    severity: int = FATAL,
) -> Any:
    """Open an onnxruntime.InferenceSession on a GPU; it profiles itself until `end_profiling` is called.

    onnxruntime continues without a provider that does not load, and complains on stderr or stdout. Here the first
    provider must be obtained, and the error contains onnxruntime's complaint. From the first such session on,
    onnxruntime's own log shows errors only.

    Args:
        model: a path.
        providers: execution providers in order of preference, each with its options.
        threads: threads for the nodes that run on the CPU.
        profile: prefix of the profile's file name.
        severity: the least severity that onnxruntime's log shows while the session opens.

    Raises:
        DeviceError: the first provider is not obtained.
        Exception: onnxruntime's own, if the model is at fault.
    """
    package = onnxruntime()
    options = session_options(threads)
    options.use_deterministic_compute = True
    options.enable_profiling = True
    options.profile_file_prefix = str(profile)
    first, printed = providers[0][0], io.StringIO()
    package.set_default_logger_severity(severity)
    try:
        with redirect_stdout(printed):
            if hasattr(package, "preload_dlls"):  # from 1.21 on: finds CUDA among the Python packages
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
        # onnxruntime 1.17 falls back in spite of the option, and prints why.
        raise _not_obtained(first, printed.getvalue().partition("EP Error ")[2].partition(" when using ")[0])
    session.disable_fallback()  # else a failed run would continue on another provider, and print to stdout
    return session


def must_be_offered(provider: str) -> None:
    """Refuse an execution provider that this onnxruntime was not compiled with.

    Raises:
        DeviceError: the provider is missing; the message names the available ones.
    """
    offered = onnxruntime().get_available_providers()
    if provider not in offered:
        raise DeviceError(
            f"expected one of the providers of this machine's onnxruntime ({', '.join(offered)}), found {provider}; "
            "pip uninstall onnxruntime, then pip install 'spade-edge[gpu]' on x86-64, NVIDIA's own onnxruntime-gpu on "
            "a Jetson"
        )


def provider_library(name: str) -> Path:
    """Path of onnxruntime's provider library for "cuda" or "tensorrt"."""
    return Path(onnxruntime().__file__).parent / "capi" / LIBRARIES[name]


def _not_obtained(provider: str, says: str) -> DeviceError:
    package = onnxruntime()
    name = next(short for short, long in EXECUTION_PROVIDERS.items() if long == provider)
    # The message without the source files and C++ functions at its start, and without host and line at its end.
    tail = re.sub(r"^.*(\] |: FAIL : )|\S+\.(h|cc):\d+ \S+ | ; GPU=.*$", "", " ".join(says.split()))
    reason = why_not_loaded(provider_library(name)) or tail or "onnxruntime continues without it and gives no reason"
    built = f", built for CUDA {package.cuda_version}," if getattr(package, "cuda_version", "") else ""
    return DeviceError(
        f"expected {provider}, found that it is not available here: {reason}; give onnxruntime "
        f"{package.__version__}{built} the GPU libraries and driver that it needs, or score with --provider cpu"
    )


class FixedRun:
    """Runs a session whose input and outputs stay at fixed addresses on a GPU, as a CUDA graph requires.

    Args:
        session: an onnxruntime.InferenceSession.
        inputs: name and shape of the input.
        outputs: names and shapes of the outputs.
        device: "cuda".
        number: number of the GPU.
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
        name, shape = inputs
        self._input = put(np.zeros(shape, np.float32), device, number)
        self._run = FixedBinding(
            session,
            inputs={name: self._input},
            outputs={output: (size, np.float32) for output, size in outputs.items()},
            device=device,
            number=number,
        )

    def __call__(self, array: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run on one array of the input's shape; returns copies of the outputs."""
        return [np.array(output.numpy()) for output in self.in_place(array)]

    def in_place(self, array: NDArray[np.float32]) -> list[Any]:
        """Run on one array of the input's shape; returns the outputs themselves, which the next run overwrites."""
        self._input.update_inplace(np.ascontiguousarray(array))
        return list(self._run())
