"""Parity: does the ONNX model compute what the torch network computes?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from spade_edge.export.pyramid import Pyramid
from spade_edge.runtime.errors import ModelError
from spade_edge.runtime.session import Session
from spade_edge.runtime.view import View

TOLERANCE = 1e-3  # of `relative`; fp32 models stay near 1e-6, so anything near this is a broken graph


def measure_parity(path: Path, pyramid: Pyramid, *, source: str) -> dict[str, Any]:
    """Run a model file on the CPU, in the session that scores frames, against the network in torch.

    Args:
        path: the ONNX file, with its card.
        pyramid: what it was exported from, in evaluation mode.
        source: what the messages call the model.

    Returns:
        For each output {"absolute": max|a − b|, "relative": max|a − b| / max|b|}, where a is the model's output, b
        torch's, and the maxima go over three frames, each alone and all as one batch. And "versions", by package.

    Raises:
        ModelError: features of another shape, not finite, or all zero; or `relative` over 1e-3.
        DeviceError: onnxruntime is missing.
    """
    session = Session.open(path)
    frames = _frames(session.card.view)
    expected = [_torch(pyramid, frame, source=source) for frame in frames]
    alone = [_session(session, frame[np.newaxis])[0] for frame in frames]
    together = _session(session, frames)
    parity: dict[str, Any] = {}
    for i, name in enumerate(pyramid.outputs):
        pairs = [(a[i], b[i]) for found in (alone, together) for a, b in zip(found, expected, strict=True)]
        if any(a.shape != b.shape for a, b in pairs):
            raise ModelError(f"{source}: expected {name} of shape {pairs[0][1].shape}, found {pairs[0][0].shape}")
        absolute = max(float(np.abs(a - b).max()) for a, b in pairs)
        largest = max(float(np.abs(b).max()) for _, b in pairs)
        if largest == 0:
            raise ModelError(f"{source}: expected features in {name}, found nothing but zeros; check the weights")
        relative = absolute / largest
        if not relative <= TOLERANCE:  # NaN too
            raise ModelError(
                f"{source}: expected {name} within {TOLERANCE:g} of torch, found {relative:.2g} of its largest value; "
                "nothing was written; try another version of torch or onnxruntime"
            )
        parity[name] = {"absolute": _rounded(absolute), "relative": _rounded(relative)}
    return parity | {"versions": _versions()}


def _frames(view: View) -> NDArray[np.float32]:
    """Two frames of noise and a smooth one whose channels differ, (3, H, W, 3) float32, 0 to 255."""
    noise = np.random.default_rng(0).integers(0, 256, (2, *view.size, 3)).astype(np.float32)
    down = np.linspace(0, 1, view.size[0])[:, np.newaxis, np.newaxis]
    right = np.linspace(0, 1, view.size[1])[:, np.newaxis]
    smooth = 127.5 + 127.5 * np.sin(2 * np.pi * (down + right * np.array([1, 2, 3]) + np.array([0, 0.2, 0.5])))
    return np.concatenate([noise, smooth[np.newaxis].astype(np.float32)])


def _torch(pyramid: Pyramid, frame: NDArray[np.float32], *, source: str) -> list[NDArray[np.float32]]:
    with torch.inference_mode():
        outputs = pyramid(torch.from_numpy(frame[np.newaxis]))
    for name, output in zip(pyramid.outputs, outputs, strict=True):
        if not bool(torch.isfinite(output).all()):
            raise ModelError(f"{source}: expected finite features in {name}, found NaN or infinity; check the weights")
    return [output[0].numpy() for output in outputs]


def _session(session: Session, frames: NDArray[np.float32]) -> list[list[NDArray[np.float32]]]:
    return [[*pyramid.levels, pyramid.image] for pyramid in session(frames)]


def _versions() -> dict[str, str]:
    import onnxruntime  # the session has it by now

    return {"torch": str(torch.__version__), "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")
