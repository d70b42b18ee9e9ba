"""Resamples frames to the network's inputs, on onnxruntime.

Rows come first. For each group of target rows, the few source rows that they depend on are taken out of the frame,
converted to float32 and multiplied by their weights. Columns follow in the same way. Weights are inputs of the graph,
so that one graph serves frames of every size, good images as well as frames: a new size takes no more than its weights.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.geometry.frame import checked
from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.geometry.resample import Bands
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.kernels.graph_writer import FLOAT, Graph
from spade_edge.runtime.kernels.kernel import Kernel
from spade_edge.runtime.preprocessing.mask import PAINT, Mask

GROUP = 8  # targets computed together; a larger group multiplies by more zeros
AT_ONCE = 1 << 20  # numbers of source rows, 4 MB in float32; of larger frames, one group is converted at a time
SIZES = 8  # smallest number of frame sizes whose weights are kept


class Preprocessor:
    """Resamples the views of a frame to the network's inputs.

    It uses one thread, as the products are too small to be shared.

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
        self._weights = lru_cache(maxsize=max(SIZES, len(sizes)))(
            lambda height, width, channels: _weights(view, height, width, channels)
        )
        # Both at once, so that the first large frame does not take longer than the next.
        self._kernels = lru_cache(
            lambda channels: tuple(
                Kernel(_graph(view, channels, steps=steps), threads=1) for steps in (1, view.size[0] // GROUP)
            )
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
        views = [self._resampled(part) for part in parts]
        seen = views[0][np.newaxis] if len(views) == 1 else np.stack(views)
        if self.painted is not None:
            seen = np.where(self.painted[..., np.newaxis], np.array(PAINT, np.float32), seen)
        return seen

    def _resampled(self, part: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Resample a part, (H, W, C), to a view, (h, w, 3)."""
        weights = self._weights(*part.shape)
        pixels = np.ascontiguousarray(part).reshape(len(part), -1)
        groups, span = weights["sources"].shape
        whole, stepwise = self._kernels(part.shape[2])
        resampled = whole if groups * span * pixels.shape[1] <= AT_ONCE else stepwise
        (view,) = resampled(pixels=pixels, **weights)
        return view


def _weights(view: View, height: int, width: int, channels: int) -> dict[str, NDArray[np.generic]]:
    """The inputs of the graph, but for the pixels."""
    rows, columns = (
        Bands.of(source, target, first=start, count=side, group=GROUP)
        for source, target, start, side in zip((height, width), view.resize, view.offset, view.size, strict=True)
    )
    starts = columns.sources[:, 0]
    needed = np.arange(columns.sources.shape[1]) < columns.lengths[:, np.newaxis]
    # The channels of a pixel lie side by side in a row; each channel is resampled separately.
    weights = columns.weights.transpose(0, 2, 1)[needed]
    across = np.zeros((len(weights), channels, GROUP, channels), np.float32)
    for channel in range(channels):
        across[:, channel, :, channel] = weights
    return {
        "sources": rows.sources,
        "rows": rows.weights,
        "starts": starts * channels,
        "stops": (starts + columns.lengths) * channels,
        "lengths": columns.lengths * channels,
        "columns": across.reshape(-1, GROUP * channels),
    }


def _graph(view: View, channels: int, *, steps: int) -> Graph:
    """Resamples a frame, (H, W * C) uint8, to a view, (h, w, 3) float32.

    Args:
        view: the size of the network's input.
        channels: of the frame, 1 or 3.
        steps: in how many steps the groups of rows are resampled; a number that divides theirs.
    """
    high, wide = (side // GROUP for side in view.size)
    graph = Graph()
    pixels = graph.input("pixels", np.uint8, ("height", "numbers"))
    sources = graph.input("sources", np.int64, (high, "span"))
    rows = graph.input("rows", np.float32, (high, GROUP, "span"))
    across = graph.reshape(rows_resampled(graph, pixels, sources, rows, steps=steps), view.size[0], -1)
    starts, stops = (_split(graph, graph.input(name, np.int64, (wide,)), wide) for name in ("starts", "stops"))
    lengths = graph.input("lengths", np.int64, (wide,))
    columns = graph.node(
        "Split", graph.input("columns", np.float32, ("numbers", GROUP * channels)), lengths, results=wide, axis=0
    )
    one = graph.constant(np.array([1]))
    bands = [
        graph.node("MatMul", graph.node("Slice", across, start, stop, one), weights)
        for start, stop, weights in zip(starts, stops, columns, strict=True)
    ]
    seen = graph.reshape(graph.node("Concat", *bands, axis=1), *view.size, channels)
    if channels == 1:
        seen = graph.node("Concat", seen, seen, seen, axis=2)
    graph.output("view", seen, np.float32)
    return graph


def rows_resampled(graph: Graph, pixels: str, sources: str, weights: str, *, steps: int) -> str:
    """Resample the rows of a part of a frame.

    Args:
        graph: the graph that is extended.
        pixels: (H, W * C) uint8.
        sources: (groups, span) int64, as in `Bands`.
        weights: (groups, GROUP, span) float32, as in `Bands`.
        steps: in how many steps; a number that divides that of the groups.

    Returns:
        (groups, GROUP, W * C) float32.
    """
    bands = [
        graph.node("MatMul", some, graph.node("Cast", graph.node("Gather", pixels, rows, axis=0), to=FLOAT))
        for rows, some in zip(_split(graph, sources, steps), _split(graph, weights, steps), strict=True)
    ]
    return str(graph.node("Concat", *bands, axis=0))


def _split(graph: Graph, value: str, parts: int) -> tuple[str, ...]:
    return tuple(graph.node("Split", value, results=parts, axis=0)) if parts > 1 else (value,)
