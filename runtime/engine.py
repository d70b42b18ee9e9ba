"""onnxruntime, behind two words: a session runs a model file, a kernel runs a small graph of ours.

The only module that imports onnxruntime. Everything heavy that a frame needs goes through it, not through numpy's BLAS:
onnxruntime has products of 8-bit numbers, keeps to a number of threads, and its idle threads sleep, while BLAS threads
would spin on the cores that the network needs next.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import DeviceError
from spade_edge.runtime.graph import Graph

CPU = "CPUExecutionProvider"


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
    options = package.SessionOptions()
    options.log_severity_level = 3  # errors only: they come back as exceptions, in our words
    # A session that waits in a loop takes the cores that the next session's work needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    return package.InferenceSession(model, options, providers=list(providers))


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
