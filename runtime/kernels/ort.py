"""The only module that imports onnxruntime.

All heavy computations for a frame run on onnxruntime, not on numpy's BLAS. onnxruntime multiplies 8-bit matrices and
keeps to a fixed number of threads, and its idle threads sleep; BLAS threads would spin on the cores that the network
needs next.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from spade_edge.runtime.errors import DeviceError, UsageError

CPU = "CPUExecutionProvider"
ERROR = 3  # onnxruntime's log severity
MOST_THREADS = 1024


def onnxruntime() -> Any:
    """Import and return the package.

    Raises:
        DeviceError: onnxruntime is not installed.
    """
    try:
        import onnxruntime as package
    except ModuleNotFoundError:
        raise DeviceError(
            "expected onnxruntime, found none: pip install 'spade-edge[cpu]', or 'spade-edge[gpu]' for x86-64 with "
            "an NVIDIA GPU; on a Jetson install NVIDIA's own onnxruntime-gpu wheel"
        ) from None
    return package


def open_session(
    model: str | bytes, *, providers: Sequence[str], threads: int | None, plans_memory: bool = True
) -> Any:
    """Open an onnxruntime.InferenceSession; onnxruntime's own exceptions are passed on.

    Args:
        model: a path, or the content of an ONNX file.
        providers: execution providers in order of preference.
        threads: threads for one run, 1 to 1024; None for one per core.
        plans_memory: whether onnxruntime plans its memory for each combination of input shapes. It keeps every plan, so
            memory grows where shapes keep changing.

    Raises:
        UsageError: another number of threads.
    """
    options = session_options(threads)
    options.enable_mem_pattern = plans_memory
    # onnxruntime's own fallback prints to stdout, which is reserved for data.
    return onnxruntime().InferenceSession(model, options, providers=list(providers), enable_fallback=0)


def session_options(threads: int | None) -> Any:
    """onnxruntime.SessionOptions for `threads` threads, None for one per core; idle threads sleep.

    Raises:
        UsageError: less than one thread, or more than 1024.
    """
    check_threads(threads)
    options = onnxruntime().SessionOptions()
    options.log_severity_level = ERROR  # warnings would go to stderr; errors are raised as exceptions
    # Spinning threads of one session would occupy the cores that the next session needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that cannot be meant.

    Raises:
        UsageError: less than one thread, or more than 1024.
    """
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"expected 1 to {MOST_THREADS} threads, found {threads}")


def lacks_memory(problem: Exception) -> bool:
    """Whether an exception of onnxruntime, or of numpy, says that memory does not suffice."""
    sayings = ("Failed to allocate memory", "bad_alloc", "smaller than requested bytes")
    return isinstance(problem, MemoryError) or any(saying in str(problem) for saying in sayings)


def give_back_memory() -> None:
    """Return memory freed after loading a model to the system; glibc would keep it (145 MB with Wide-ResNet50-2)."""
    with suppress(OSError, AttributeError, TypeError):  # macOS and musl have no malloc_trim, Windows no CDLL(None)
        ctypes.CDLL(None).malloc_trim(0)
