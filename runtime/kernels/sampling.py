"""Samples pictures at arbitrary points, on onnxruntime."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.kernels.kernel import Kernel

BICUBIC, BILINEAR = "bicubic", "bilinear"
EDGE, ZEROS = "border", "zeros"  # what lies beyond the picture's edge


class Sampler:
    """Samples pictures of any size at points given as fractions of their width and height.

    Args:
        mode: BICUBIC, as OpenCV's INTER_CUBIC, or BILINEAR.
        beyond: EDGE continues the picture by its edge, ZEROS by zeros.
    """

    def __init__(self, *, mode: str, beyond: str) -> None:
        graph = Graph()
        picture = graph.input("picture", np.float32, ("rows", "columns", "channels"))
        points = graph.input("points", np.float32, (1, "height", "width", 2))
        one = graph.constant(np.zeros(1, np.int64))
        planes = graph.node("Unsqueeze", graph.node("Transpose", picture, perm=(2, 0, 1)), one)
        sampled = graph.node("GridSample", planes, points, mode=mode, padding_mode=beyond, align_corners=0)
        graph.output(
            "sampled", graph.node("Transpose", graph.node("Squeeze", sampled, one), perm=(1, 2, 0)), np.float32
        )
        self._kernel = Kernel(graph, threads=1)

    def __call__(
        self, picture: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Sample a picture.

        Args:
            picture: (rows, columns, channels) float32.
            x: (h, w) float32, where the points lie, as fractions (0 to 1) of the picture's width.
            y: the same of its height.

        Returns:
            (h, w, channels) float32; bicubic values may lie outside of the picture's range.
        """
        points = np.stack([2 * x - 1, 2 * y - 1], axis=-1)[np.newaxis]
        (sampled,) = self._kernel(
            picture=np.ascontiguousarray(picture, np.float32), points=points.astype(np.float32, copy=False)
        )
        return sampled
