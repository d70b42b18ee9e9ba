"""Resamples frames to the network's inputs, on onnxruntime.

Each size of frame, or of a box in it, gets one small graph, which is kept. For each group of target rows the graph
cuts the few source rows that they depend on out of the frame, converts them to float32 and multiplies them by their
weights. Columns follow in the same way. Good images and frames go through the same graphs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.geometry.frame import checked
from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.geometry.resample import resampling_weights
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.kernels.graph_writer import FLOAT, Graph
from spade_edge.runtime.kernels.kernel import Kernel
from spade_edge.runtime.preprocessing.mask import PAINT, Mask

GROUP = 8  # targets computed together; a larger group multiplies by more zeros
SIZES = 8  # smallest number of frame sizes whose graphs are kept


class Preprocessor:
    """Resamples the views of a frame to the network's inputs.

    It uses one thread, as the products are too small to be shared (1920x1080: 4.2 ms with one, 5.4 ms with two).

    Args:
        canvas: the views.
        mask: the pixels of a frame that are ignored; None for none.

    Attributes:
        painted: (views, h, w) bool, pixels of the views that the mask excludes; None without a mask.
    """

    def __init__(self, canvas: Canvas, *, mask: Mask | None = None) -> None:
        self.canvas = canvas
        self.painted = None if mask is None else mask.painted(canvas)
        # A box is resampled on its own, without a crop.
        view = View(canvas.view.size, canvas.view.size) if canvas.layout.boxes else canvas.view
        sizes = {box[2:] for box in canvas.layout.boxes}
        self._kernel = lru_cache(maxsize=max(SIZES, len(sizes)))(
            lambda height, width, channels: Kernel(_graph(view, height, width, channels), threads=1)
        )

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Resample a frame to the network's inputs.

        Args:
            frame: (H, W, 3) uint8 BGR, or (H, W) or (H, W, 1) uint8 grey; any strides.

        Returns:
            (views, h, w, 3) float32 BGR, 0 to 255, not rounded; per axis area averages if it shrinks, else bilinear.

        Raises:
            FrameError: not a frame, or a frame of another size if the layout has boxes.
        """
        frame = checked(frame)
        layout = self.canvas.layout
        layout.check(frame.shape)
        parts = [frame[y : y + height, x : x + width] for x, y, width, height in layout.boxes] or [frame]
        views = []
        for part in parts:
            (view,) = self._kernel(*part.shape)(frame=np.ascontiguousarray(part).reshape(len(part), -1))
            views.append(view)
        seen = views[0][np.newaxis] if len(views) == 1 else np.stack(views)
        if self.painted is not None:
            seen = np.where(self.painted[..., np.newaxis], np.array(PAINT, np.float32), seen)
        return seen


def _graph(view: View, height: int, width: int, channels: int) -> Graph:
    graph = Graph()
    rows, columns = (
        resampling_weights(source, target)[start : start + side]
        for source, target, start, side in zip((height, width), view.resize, view.offset, view.size, strict=True)
    )
    pixels = graph.input("frame", np.uint8, (height, width * channels))
    bands = []
    for targets, sources in _groups(rows):
        band = graph.node("Cast", _cut(graph, pixels, sources, axis=0), to=FLOAT)
        bands.append(graph.node("MatMul", graph.constant(rows[targets, sources]), band))
    across = graph.node("Concat", *bands, axis=0)
    bands = []
    for targets, sources in _groups(columns):
        # The channels of a pixel lie side by side in a row; each channel is resampled separately.
        weights = np.kron(columns[targets, sources].T, np.eye(channels, dtype=np.float32))
        wide = slice(sources.start * channels, sources.stop * channels)
        bands.append(graph.node("MatMul", _cut(graph, across, wide, axis=1), graph.constant(weights)))
    seen = graph.reshape(graph.node("Concat", *bands, axis=1), *view.size, channels)
    if channels == 1:
        seen = graph.node("Concat", seen, seen, seen, axis=2)
    graph.output("view", seen, np.float32)
    return graph


def _groups(weights: NDArray[np.float32]) -> list[tuple[slice, slice]]:
    """Groups of neighbouring targets, each with the sources that it depends on."""
    groups = []
    for start in range(0, len(weights), GROUP):
        targets = slice(start, min(start + GROUP, len(weights)))
        seen = np.flatnonzero(weights[targets].any(axis=0))
        groups.append((targets, slice(int(seen[0]), int(seen[-1]) + 1)))
    return groups


def _cut(graph: Graph, value: str, part: slice, *, axis: int) -> str:
    limits = (graph.constant(np.array([number], np.int64)) for number in (part.start, part.stop, axis))
    return str(graph.node("Slice", value, *limits))
