"""Resamples frames to the network's inputs where the network runs: a frame goes there as it is, and its views stay.

The weights are the preprocessor's. They are multiplied as two batches, which suits a GPU: rows first, then columns, for
which the axes change places. A GPU may add products in another order. Each product and each sum is rounded by at most
2**-24 of 255, so no number differs from the preprocessor's by more than 1e-3 of a grey level if neither axis shrinks
more than 14 times. No GPU has run this yet; tests run the same graphs on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.geometry.frame import checked
from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.geometry.resample import Bands
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.kernels.device_kernel import DeviceKernel, Value
from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.kernels.ort import CPU
from spade_edge.runtime.preprocessing.mask import PAINT, Mask
from spade_edge.runtime.preprocessing.preprocessor import GROUP, SIZES, rows_resampled

AT_ONCE = 1 << 24  # numbers of source rows, 64 MB in float32; of larger parts, one group is converted at a time
TF32 = "use_tf32"  # CUDA's option
INPUTS = ("row sources", "row weights", "column sources", "column weights")


class DevicePreprocessor:
    """Resamples the views of a frame to the network's inputs, and leaves them on the device.

    Weights stay there too, for as many sizes of frames as the preprocessor keeps. Products are never rounded to
    TensorFloat-32, whatever the network's are: its 10 bits are too few for grey levels.

    Args:
        canvas: the views.
        mask: the pixels of a frame that are ignored; None for none.
        execution_provider: onnxruntime's name of what runs it.
        options: options of the execution provider, as for a `DeviceKernel`.
        threads: threads for what runs on the CPU; None for one per core.
        number: number of the GPU.

    Attributes:
        painted: (views, h, w) bool, pixels of the views that the mask excludes; None without a mask.
    """

    def __init__(
        self,
        canvas: Canvas,
        *,
        mask: Mask | None = None,
        execution_provider: str = CPU,
        options: Mapping[str, str] | None = None,
        threads: int | None,
        number: int = 0,
    ) -> None:
        self.canvas = canvas
        self.painted = painted = None if mask is None else mask.painted(canvas)
        exact = {name: "0" if name == TF32 else value for name, value in (options or {}).items()}

        @lru_cache
        def kernel(channels: int, steps: int) -> DeviceKernel:
            opened = DeviceKernel(
                _graph(canvas, channels, masked=painted is not None, steps=steps),
                execution_provider=execution_provider,
                options=exact,
                threads=threads,
                number=number,
            )
            if painted is not None:
                opened.keep(painted=painted[..., np.newaxis])
            return opened

        @lru_cache(maxsize=SIZES)
        def prepared(height: int, width: int, channels: int) -> tuple[DeviceKernel, dict[str, Value]]:
            weights: dict[str, NDArray[np.generic]] = {}
            largest = 0
            for size in {box[3:1:-1] for box in canvas.layout.boxes} or {(height, width)}:
                part = _weights(canvas.view, size)
                weights |= dict(zip(_names(canvas, size), part, strict=True))
                largest = max(largest, part[0].size * size[1] * channels)
            opened = kernel(channels, 1 if largest <= AT_ONCE else canvas.view.size[0] // GROUP)
            return opened, {name: opened.put(array) for name, array in weights.items()}

        self._prepared = prepared

    def __call__(self, frame: NDArray[np.uint8]) -> Value:
        """Resample a frame to the network's inputs.

        Args:
            frame: (H, W, 3) uint8 BGR, or (H, W) or (H, W, 1) uint8 grey; any strides.

        Returns:
            an onnxruntime.OrtValue on the device: (views, h, w, 3) float32 BGR, 0 to 255, not rounded; per axis area
            averages if it shrinks, else bilinear.

        Raises:
            FrameError: not a frame, or a frame of another size if the layout has boxes.
            DeviceError: the device is not obtained, or its memory does not suffice.
        """
        frame = checked(frame)
        self.canvas.layout.check(frame.shape)
        kernel, weights = self._prepared(*frame.shape)
        (views,) = kernel(pixels=np.ascontiguousarray(frame).reshape(len(frame), -1), **weights)
        return views


def _weights(view: View, size: tuple[int, int]) -> tuple[NDArray[np.generic], ...]:
    """What resamples a part of a frame of that height and width, in the order of `INPUTS`."""
    rows, columns = (
        Bands.of(source, target, first=start, count=side, group=GROUP)
        for source, target, start, side in zip(size, view.resize, view.offset, view.size, strict=True)
    )
    return rows.sources, rows.weights, columns.sources, columns.weights


def _names(canvas: Canvas, size: tuple[int, int]) -> tuple[str, ...]:
    """Names of these inputs: one set of them for all boxes of a size, or for the whole frame."""
    part = f"{size[1]}x{size[0]}" if canvas.layout.boxes else "the frame"
    return tuple(f"{name} of {part}" for name in INPUTS)


def _graph(canvas: Canvas, channels: int, *, masked: bool, steps: int) -> Graph:
    """Resamples a frame, (H, W * C) uint8, to its views, (views, h, w, 3) float32.

    Args:
        canvas: the views.
        channels: of the frame, 1 or 3.
        masked: whether pixels of the views are painted.
        steps: in how many steps the groups of rows are resampled.
    """
    graph = Graph()
    pixels = graph.input("pixels", np.uint8, ("height", "numbers"))
    declared: set[str] = set()
    views = []
    for x, y, width, height in canvas.layout.boxes or ((0, 0, 0, 0),):
        names = _names(canvas, (height, width))
        if names[0] not in declared:
            _declare(graph, names, canvas.view)
            declared.add(names[0])
        part = pixels
        if canvas.layout.boxes:
            limits = ((y, x * channels), (y + height, (x + width) * channels), (0, 1))
            part = graph.node("Slice", pixels, *(graph.constant(np.array(each, np.int64)) for each in limits))
        views.append(_view(graph, part, names, size=canvas.view.size, channels=channels, steps=steps))
    seen = graph.node("Concat", *views, axis=0)
    if masked:
        painted = graph.input("painted", np.bool_, (len(views), *canvas.view.size, 1))
        seen = graph.node("Where", painted, graph.constant(np.array(PAINT, np.float32)), seen)
    graph.output("views", seen, np.float32)
    return graph


def _declare(graph: Graph, names: tuple[str, ...], view: View) -> None:
    """Declare the inputs of these names, two for each axis."""
    for sources, weights, side in zip(names[::2], names[1::2], view.size, strict=True):
        graph.input(sources, np.int64, (side // GROUP, sources))  # the names of the inputs are those of free axes, too
        graph.input(weights, np.float32, (side // GROUP, GROUP, sources))


def _view(graph: Graph, part: str, names: tuple[str, ...], *, size: tuple[int, int], channels: int, steps: int) -> str:
    """Resamples a part of the frame, (H, W * C), to a view, (1, h, w, 3)."""
    height, width = size
    row_sources, row_weights, column_sources, column_weights = names
    across = graph.reshape(rows_resampled(graph, part, row_sources, row_weights, steps=steps), height, -1, channels)
    turned = graph.reshape(graph.node("Transpose", across, perm=(1, 0, 2)), -1, height * channels)  # (W, h * C)
    down = graph.node("MatMul", column_weights, graph.node("Gather", turned, column_sources, axis=0))
    seen = graph.node("Transpose", graph.reshape(down, 1, width, height, channels), perm=(0, 2, 1, 3))
    return str(seen if channels == 3 else graph.node("Concat", seen, seen, seen, axis=3))
