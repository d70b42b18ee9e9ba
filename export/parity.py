"""Parity: does the ONNX model compute what the torch network computes?"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from spade_edge.export.pyramid import Pyramid
from spade_edge.runtime.errors import DeviceError, ModelError
from spade_edge.runtime.model import INPUT
from spade_edge.runtime.view import View

TOLERANCE = 1e-3  # of `relative`; fp32 models stay near 1e-6, so anything near this is a broken graph


def measure_parity(model: bytes, pyramid: Pyramid, *, view: View, source: str) -> dict[str, Any]:
    """Run the model in onnxruntime on the CPU against the network in torch.

    Args:
        model: the ONNX model.
        pyramid: what it was exported from, in evaluation mode.
        view: the model's input size.
        source: what the messages call the model.

    Returns:
        For each output {"absolute": max|a − b|, "relative": max|a − b| / max|b|}, where a is the model's output and b
        torch's, and the maxima go over all frames, one by one and as a batch. And "versions", by package.

    Raises:
        ModelError: another shape, a number that is not finite, nothing but zeros, or `relative` over 1e-3.
        DeviceError: onnxruntime is missing.
    """
    try:
        import onnxruntime
    except ImportError:
        raise DeviceError(
            "expected onnxruntime, in which every exported model is verified, found none; pip install 'spade-edge[cpu]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    frames = _frames(view)
    by_frame = [_torch(pyramid, frame[np.newaxis]) for frame in frames]
    expected = {name: np.concatenate([outputs[name] for outputs in by_frame]) for name in pyramid.outputs}
    runs = [*(frames[i : i + 1] for i in range(len(frames))), frames]
    rows = [*(slice(i, i + 1) for i in range(len(frames))), slice(None)]
    absolute = dict.fromkeys(pyramid.outputs, 0.0)
    for batch, row in zip(runs, rows, strict=True):
        for name, found in zip(pyramid.outputs, session.run(list(pyramid.outputs), {INPUT: batch}), strict=True):
            absolute[name] = max(absolute[name], _difference(found, expected[name][row], name=name, source=source))
    parity: dict[str, Any] = {}
    for name, difference in absolute.items():
        largest = float(np.abs(expected[name]).max())
        if largest == 0:
            raise ModelError(f"{source}: expected features in {name!r}, found nothing but zeros; check the weights")
        relative = difference / largest
        if relative > TOLERANCE:
            raise ModelError(
                f"{source}: expected {name!r} within {TOLERANCE:g} of torch's largest value, found {relative:.2g}; "
                "nothing was written; try other versions of torch or onnxruntime"
            )
        parity[name] = {"absolute": _rounded(difference), "relative": _rounded(relative)}
    versions = {"torch": torch.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    return parity | {"versions": versions}


def _frames(view: View) -> NDArray[np.float32]:
    """Two frames of noise and a smooth one, (3, H, W, 3) float32, 0 to 255; the channels differ."""
    noise = np.random.default_rng(0).integers(0, 256, (2, *view.size, 3)).astype(np.float32)
    down, right = np.linspace(0, 1, view.size[0])[:, None, None], np.linspace(0, 1, view.size[1])[None, :, None]
    smooth = 127.5 + 127.5 * np.sin(2 * np.pi * (down + right * np.array([1, 2, 3]) + np.array([0, 0.2, 0.5])))
    return np.concatenate([noise, smooth[np.newaxis].astype(np.float32)])


def _torch(pyramid: Pyramid, frames: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    with torch.inference_mode():
        outputs = pyramid(torch.from_numpy(frames))
    return {name: output.numpy() for name, output in zip(pyramid.outputs, outputs, strict=True)}


def _difference(found: NDArray[np.float32], expected: NDArray[np.float32], *, name: str, source: str) -> float:
    if found.dtype != expected.dtype or found.shape != expected.shape:
        raise ModelError(
            f"{source}: expected {name!r} as {expected.dtype} {expected.shape}, found {found.dtype} {found.shape}"
        )
    difference = float(np.abs(found - expected).max())
    if not np.isfinite(difference):
        raise ModelError(f"{source}: expected finite numbers in {name!r}, found NaN or infinity; check the weights")
    return difference


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")
