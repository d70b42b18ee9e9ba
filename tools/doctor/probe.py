"""Probes onnxruntime, one of its providers, OpenCV or GenICam cameras, in a process of its own, as these can hang.

    python -m spade_edge.tools.doctor.probe onnxruntime | opencv | genicam | tensorrt | CUDAExecutionProvider ...

Prints one JSON object to stdout; the output of libraries goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.kernels.ort import CPU, onnxruntime
from spade_edge.runtime.network.gpu import tensorrt_library, version_of_tensorrt
from spade_edge.runtime.network.gpu_session import provider_library
from spade_edge.runtime.network.provider import TENSORRT
from spade_edge.runtime.network.tensorrt import VERSIONS

TOLERANCE = 0.01  # relative to the largest number, because providers may compute in half precision


def main(what: str) -> None:
    """Probe one thing, and print the result."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print to stdout, too
    value: dict[str, Any]
    try:
        known = {
            "onnxruntime": about_onnxruntime,
            "opencv": about_opencv,
            "genicam": about_genicam,
            "tensorrt": about_tensorrt,
        }
        value = known.get(what, lambda: about_provider(what))()
    except Exception as problem:
        value = {"error": f"{type(problem).__name__}: {problem}"}
    with answer:
        answer.write(json.dumps(value))


def about_onnxruntime() -> dict[str, Any]:
    """The version, and the providers that are compiled in."""
    package = onnxruntime()
    return {"version": str(package.__version__), "providers": list(package.get_available_providers())}


def about_opencv() -> dict[str, Any]:
    """The version, and the video backends that it was built with."""
    from spade_edge.tools.sources.opencv import opencv

    cv2 = opencv()
    return {"version": str(cv2.__version__), "build": str(cv2.getBuildInformation())}


def about_genicam() -> dict[str, Any]:
    """The address and the name of each GenICam camera that is connected."""
    from spade_edge.tools.sources.cameras.genicam import connected

    return {"cameras": connected()}


def about_tensorrt() -> dict[str, Any]:
    """The library of TensorRT that onnxruntime was built for, if any, and the versions that the loader finds."""
    wanted = ""
    with suppress(OSError):  # onnxruntime has no provider for TensorRT
        wanted = tensorrt_library(provider_library(TENSORRT))
    found: dict[str, str] = {}
    names = [wanted] if wanted else []
    for name in (*names, *(f"libnvinfer.so.{version}" for version in VERSIONS)):
        with suppress(OSError):
            found.setdefault(name, version_of_tensorrt(name))
    return {"wanted": wanted, "found": found}


def about_provider(name: str) -> dict[str, Any]:
    """Run a convolution and a matrix product; which provider ran it, and whether the result is right."""
    package = onnxruntime()
    options = package.SessionOptions()
    options.log_severity_level = 3  # errors, such as a provider library that does not load
    if name != CPU:
        # Otherwise unsupported nodes would run on the CPU unnoticed.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if hasattr(package, "preload_dlls"):  # from 1.21: finds CUDA in Python packages, as scoring does
            with suppress(Exception):
                package.preload_dlls(directory="")
    random = np.random.default_rng(0)
    image, kernels, weights = (random.integers(-4, 5, size).astype(np.float32) for size in _SIZES)
    graph = Graph()
    taken = graph.node("Conv", graph.input("image", np.float32, image.shape), graph.constant(kernels))
    graph.output("result", graph.node("MatMul", taken, graph.constant(weights)), np.float32)
    session = package.InferenceSession(graph.to_bytes(), options, providers=[name], enable_fallback=0)
    session.disable_fallback()
    (result,) = session.run(["result"], {"image": image})
    windows = np.lib.stride_tricks.sliding_window_view(image[0], (3, 3), axis=(1, 2))
    expected = np.einsum("iyxkl,oikl->oyx", windows, kernels) @ weights
    largest = float(np.abs(result[0] - expected).max() / np.abs(expected).max())
    found = {"provider": session.get_providers()[0], "right": largest <= TOLERANCE}
    return found | ({"bytes": full_bytes()} if name == CPU else {})


def full_bytes() -> bool:
    """Whether full 8-bit products are exact. Without VNNI, x86 adds pairs of them in 16 bits, which saturates."""
    package = onnxruntime()
    unsigned, signed = np.full((8, 256), 255, np.uint8), np.full((256, 32), 127, np.int8)
    graph = Graph()
    left = graph.input("unsigned", np.uint8, unsigned.shape)
    graph.output("product", graph.node("MatMulInteger", left, graph.constant(signed)), np.int32)
    session = package.InferenceSession(graph.to_bytes(), providers=[CPU])
    (product,) = session.run(["product"], {"unsigned": unsigned})
    return bool((product == 256 * 255 * 127).all())


_SIZES = ((1, 3, 12, 12), (8, 3, 3, 3), (10, 16))

if __name__ == "__main__":
    main(sys.argv[1])
