"""From distances on the finest grid to the heat map, smoothed at the resolution of the view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.engine import Kernel
from spade_edge.runtime.graph import Graph
from spade_edge.runtime.resample import resampling_weights


class Smoothing:
    """Bilinear enlarging to the view and Gaussian smoothing with the paper's σ, folded into one matrix an axis.

    Args:
        rows: (view height, grid rows) float32.
        columns: (view width, grid columns) float32.
        threads: of onnxruntime; None for one a core.
    """

    def __init__(self, rows: NDArray[np.float32], columns: NDArray[np.float32], *, threads: int | None = None) -> None:
        self.rows, self.columns = rows, columns
        graph = Graph()
        distances = graph.input("distances", np.float32, (rows.shape[1], columns.shape[1]))
        across = graph.node("MatMul", distances, graph.constant(np.ascontiguousarray(columns.T)))
        graph.output("heatmap", graph.node("MatMul", graph.constant(rows), across), np.float32)
        self._kernel = Kernel(graph, threads=threads)

    @classmethod
    def between(
        cls, grid: tuple[int, int], view: tuple[int, int], *, sigma: float, threads: int | None = None
    ) -> Smoothing:
        """Prepare for one grid and view size, both (rows, columns); `sigma` is in pixels of the view, 0 for none."""
        rows, columns = (
            (gaussian_weights(target, sigma) @ resampling_weights(source, target)).astype(np.float32)
            for source, target in zip(grid, view, strict=True)
        )
        return cls(rows, columns, threads=threads)

    def __call__(self, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn distances (grid) into a heat map (view), float32: never clipped, never rescaled."""
        (heatmap,) = self._kernel(distances=distances)
        return heatmap


def gaussian_weights(length: int, sigma: float) -> NDArray[np.float64]:
    """Gaussian smoothing of one axis as a (length, length) float64 matrix.

    Cut off at 4 σ; beyond the edge the axis is mirrored with the edge pixel repeated, as scipy.ndimage does.
    """
    if sigma == 0:
        return np.eye(length)
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    weights = np.zeros((length, length))
    at = np.arange(length)
    for offset, share in zip(offsets.tolist(), kernel.tolist(), strict=True):
        place = (at + offset) % (2 * length)
        np.add.at(weights, (at, np.minimum(place, 2 * length - 1 - place)), share)
    return weights
