"""onnxruntime: the only module that imports it.

Everything heavy that a frame needs goes through onnxruntime, not through numpy's BLAS: onnxruntime has products of
8-bit numbers, keeps to a stated number of threads, and its idle threads sleep, while BLAS threads would spin on the
cores that the network needs next.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from spade_edge.runtime.errors import DeviceError

CPU = "CPUExecutionProvider"
ERROR = 3  # onnxruntime's severity


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
    return package.InferenceSession(model, session_options(threads), providers=list(providers), enable_fallback=0)


def session_options(threads: int | None) -> Any:
    """onnxruntime.SessionOptions for `threads` threads, None for one a core; idle threads sleep."""
    options = onnxruntime().SessionOptions()
    options.log_severity_level = ERROR  # they come back as exceptions, in our words
    # A session that waits in a loop takes the cores that the next session's work needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def give_back_memory() -> None:
    """Return to the system what loading a model has freed: 145 MB with Wide-ResNet50-2, which glibc would keep."""
    with suppress(OSError, AttributeError, TypeError):  # macOS and musl have no malloc_trim, Windows no CDLL(None)
        ctypes.CDLL(None).malloc_trim(0)
