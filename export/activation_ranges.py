"""The range that each activation of the network takes on good images."""

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

# Between which percentiles of its values an activation's range lies. Lowest and highest value would give steps to a few
# stray ones.
PERCENTILE = 99.999

Range = tuple[float, float]


def activation_ranges(
    model: onnx.ModelProto, views: NDArray[np.float32], *, operators: Sequence[str]
) -> dict[str, Range]:
    """Run the network and look at its activations.

    Args:
        model: in float32.
        views: (N, H, W, 3) float32 BGR, 0 to 255.
        operators: whose inputs and outputs are looked at.

    Returns:
        lowest and highest value by tensor.
    """
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # onnxruntime prints what it is doing
        path = Path(folder) / "model.onnx"
        onnx.save(model, str(path))
        calibrator = create_calibrator(
            path,
            list(operators),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"percentile": PERCENTILE, "symmetric": False},
        )
        for view in views:  # one by one: all activations of all views together would take gigabytes
            calibrator.collect_data(ViewReader(view[np.newaxis]))
        found: Mapping[str, Any] = calibrator.compute_data().data
    return {name: (float(data.range_value[0]), float(data.range_value[1])) for name, data in found.items()}


class ViewReader:
    """Views one by one, as onnxruntime's quantisation asks for them."""

    def __init__(self, views: NDArray[np.float32]) -> None:
        self._views = iter(views)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        view = next(self._views, None)
        return None if view is None else {INPUT: view[np.newaxis]}
