"""Parity: does the ONNX model compute what the torch network computes?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from spade_edge.export.torch_pyramid import TorchPyramid
from spade_edge.runtime.errors import ModelError
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.network.session import Session

# The measure and its limit by precision. float32 models differ by about 1e-6 and float16 models by about 1e-3: a graph
# near these limits is broken. In int8 single values jump, so the root mean square counts.
TOLERANCES = {"fp32": ("relative", 1e-3), "fp16": ("relative", 2e-2), "int8": ("rms", 0.15)}


def measure_parity(
    path: Path, pyramid: TorchPyramid, *, source: str, views: NDArray[np.float32] | None = None
) -> dict[str, Any]:
    """Compare a model file, run on the CPU in the session that scores frames, with the network in torch.

    Args:
        path: the ONNX file, with its card.
        pyramid: what it was exported from, in evaluation mode.
        source: what messages call the model.
        views: (N, H, W, 3) float32 BGR, 0 to 255, that an int8 model was calibrated on; the first three are used.
            None for two views of noise and a smooth one.

    Returns:
        For each output {"absolute": max|a − b|, "relative": max|a − b| / max|b|, "rms": rms(a − b) / rms(b)}, where a
        is the model's output and b torch's, over each view alone and all as one batch; and "versions" by package.

    Raises:
        ModelError: features have another shape, are not finite or all zero, or differ by more than `TOLERANCES`.
        DeviceError: onnxruntime is missing.
    """
    session = Session.open(path)
    frames = _frames(session.card.view) if views is None else views[:3]
    measure, tolerance = TOLERANCES[session.card.precision]
    expected = [_torch(pyramid, frame, source=source) for frame in frames]
    alone = [_session(session, frame[np.newaxis])[0] for frame in frames]
    together = _session(session, frames)
    parity: dict[str, Any] = {}
    for i, name in enumerate(pyramid.outputs):
        pairs = [(a[i], b[i]) for each in (alone, together) for a, b in zip(each, expected, strict=True)]
        if any(a.shape != b.shape for a, b in pairs):
            raise ModelError(f"{source}: expected {name} of shape {pairs[0][1].shape}, found {pairs[0][0].shape}")
        absolute = max(float(np.abs(a - b).max()) for a, b in pairs)
        largest = max(float(np.abs(b).max()) for _, b in pairs)
        if largest == 0:
            raise ModelError(f"{source}: expected features in {name}, found only zeros; check the weights")
        squared = sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in pairs)
        whole = sum(float(np.square(b, dtype=np.float64).sum()) for _, b in pairs)
        found = {"absolute": absolute, "relative": absolute / largest, "rms": (squared / whole) ** 0.5}
        if not found[measure] <= tolerance:  # NaN too
            fraction = "of its largest value" if measure == "relative" else "of its root mean square"
            raise ModelError(
                f"{source}: expected {name} within {tolerance:g} of torch, found {found[measure]:.2g} {fraction}; "
                f"nothing was written; {_REMEDIES[session.card.precision]}"
            )
        parity[name] = {key: _rounded(value) for key, value in found.items()}
    return parity | {"versions": _versions()}


def _frames(view: View) -> NDArray[np.float32]:
    """Two frames of noise and a smooth one whose channels differ, (3, H, W, 3) float32, 0 to 255."""
    noise = np.random.default_rng(0).integers(0, 256, (2, *view.size, 3)).astype(np.float32)
    down = np.linspace(0, 1, view.size[0])[:, np.newaxis, np.newaxis]
    right = np.linspace(0, 1, view.size[1])[:, np.newaxis]
    smooth = 127.5 + 127.5 * np.sin(2 * np.pi * (down + right * np.array([1, 2, 3]) + np.array([0, 0.2, 0.5])))
    return np.concatenate([noise, smooth[np.newaxis].astype(np.float32)])


def _torch(pyramid: TorchPyramid, frame: NDArray[np.float32], *, source: str) -> list[NDArray[np.float32]]:
    with torch.inference_mode():
        outputs = pyramid(torch.from_numpy(frame[np.newaxis]))
    for name, output in zip(pyramid.outputs, outputs, strict=True):
        if not bool(torch.isfinite(output).all()):
            raise ModelError(f"{source}: expected finite features in {name}, found NaN or infinity; check the weights")
    return [output[0].numpy() for output in outputs]


def _session(session: Session, frames: NDArray[np.float32]) -> list[list[NDArray[np.float32]]]:
    return [[*pyramid.levels, pyramid.descriptor] for pyramid in session(frames)]


def _versions() -> dict[str, str]:
    import onnxruntime  # installed, as a session is open

    return {"torch": str(torch.__version__), "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


_REMEDIES = {
    "fp32": "try another version of torch or onnxruntime",
    "fp16": "these weights do not fit half precision; use --precision fp32",
    "int8": "calibrate on more or other good images, or use --precision fp16 or fp32",
}
