"""The range of values of each activation of the network on good images."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from spade_edge.runtime.network.card import INPUT

# The range of an activation leaves out the most extreme values at either end: with a few outliers in it, the steps for
# all other values would be coarser.
PERCENTILE = 99.999

Range = tuple[float, float]


def activation_ranges(
    model: onnx.ModelProto, views: NDArray[np.float32], *, operators: Sequence[str]
) -> dict[str, Range]:
    """Run the network and measure its activations.

    Args:
        model: in float32.
        views: (N, H, W, 3) float32 BGR, 0 to 255.
        operators: types whose inputs and outputs are measured.

    Returns:
        lower and upper end of the range by tensor.
    """
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    # onnxruntime prints its progress, and keeps the files open, which Windows then cannot remove at once.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, redirect_stdout(io.StringIO()):
        path = Path(folder) / "model.onnx"
        onnx.save(model, str(path))
        calibrator = create_calibrator(
            path,
            list(operators),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"percentile": PERCENTILE, "symmetric": False},
        )
        for view in views:  # one by one: the activations of all views would take gigabytes
            calibrator.collect_data(ViewReader(view[np.newaxis]))
        found: Mapping[str, Any] = calibrator.compute_data().data
    return {name: (float(data.range_value[0]), float(data.range_value[1])) for name, data in found.items()}


class ViewReader:
    """Feeds views one by one to onnxruntime's quantization tools."""

    def __init__(self, views: NDArray[np.float32]) -> None:
        self._views = iter(views)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        view = next(self._views, None)
        return None if view is None else {INPUT: view[np.newaxis]}
