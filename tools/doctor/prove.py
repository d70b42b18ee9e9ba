"""Run in a process of its own, as what it does can crash or hang: try onnxruntime, one of its providers, or OpenCV.

    python -m spade_edge.tools.doctor.prove onnxruntime | opencv | CUDAExecutionProvider ...

One JSON object on stdout; whatever libraries print goes to stderr.
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

TOLERANCE = 0.01  # of the largest number: providers may compute in half precision


def main(what: str) -> None:
    """Try one thing, and print what came of it."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries, written in C or not, print to stdout too
    value: dict[str, Any]
    try:
        value = {"onnxruntime": about_onnxruntime, "opencv": about_opencv}.get(what, lambda: about_provider(what))()
    except Exception as problem:
        value = {"error": f"{type(problem).__name__}: {problem}"}
    with answer:
        answer.write(json.dumps(value))


def about_onnxruntime() -> dict[str, Any]:
    """Its version, and the providers that are compiled in."""
    package = onnxruntime()
    return {"version": str(package.__version__), "providers": list(package.get_available_providers())}


def about_opencv() -> dict[str, Any]:
    """Its version, and which ways to video it was built with."""
    from spade_edge.tools.sources.opencv import opencv

    cv2 = opencv()
    return {"version": str(cv2.__version__), "build": str(cv2.getBuildInformation())}


def about_provider(name: str) -> dict[str, Any]:
    """Which provider ran a convolution and a product, and whether the numbers are right."""
    package = onnxruntime()
    options = package.SessionOptions()
    options.log_severity_level = 3  # errors: why a provider's library does not load
    if name != CPU:
        # Or a part that the provider cannot do would run elsewhere, unnoticed.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if hasattr(package, "preload_dlls"):  # from 1.21: finds CUDA among Python's packages, as scoring does
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
    """Whether products of 8 full bits are exact; without VNNI x86 adds pairs of them in 16 bits, which saturate."""
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
