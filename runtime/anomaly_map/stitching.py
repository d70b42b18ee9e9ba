"""From distances on the grids of a frame's views to one smoothed anomaly map of the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import UsageError
from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.kernels.kernel import Kernel
from spade_edge.runtime.preprocessing.mask import Mask

LEAST = 1e-3  # weight of a view at its own edge; not 0, as no other view may cover it
HIGHEST = 0.003  # fraction of a view's pixels that the image score averages; see docs/architecture.md


class Stitching:
    """Enlarges distances to the map, blends views that overlap, and applies the paper's Gaussian.

    All three steps are linear and separable, so a view adds `rows @ distances @ columns.T` to the map, with two small
    matrices. The sum is divided by the sum for distances of 1. The result is an average, weighted by the Gaussian and
    by the nearness of a position to the centre of its view. So there are no seams between views, and pixels outside of
    the views or under a mask have no weight.

    Attributes:
        kept: (h, w) bool, True for pixels of the map that are inspected; None for all.

    Args:
        canvas: places views and map on the frame.
        grid: positions of the finest level of a view, (rows, columns).
        sigma: σ of the Gaussian, in pixels of the view; 0 for none.
        mask: the pixels of a frame that are ignored; None for none.
        threads: threads of onnxruntime; None for one per core.

    Raises:
        UsageError: the mask leaves no pixel to inspect.
    """

    def __init__(
        self,
        canvas: Canvas,
        grid: tuple[int, int],
        *,
        sigma: float,
        mask: Mask | None = None,
        threads: int | None = None,
    ) -> None:
        self.canvas = canvas
        self._axes = [(_Axis(canvas, grid[0], sigma, axis=0)), (_Axis(canvas, grid[1], sigma, axis=1))]
        self._places = [
            tuple(axis.of(start, length).place for axis, start, length in zip(self._axes, (y, x), (h, w), strict=True))
            for x, y, w, h in canvas.boxes
        ]
        self._kernel = Kernel(self._graph(grid), threads=threads)
        self._fractions = None if mask is None else mask.fractions(canvas, grid)
        self.kept: NDArray[np.bool_] | None = None
        self._factor: NDArray[np.float32] | None = None
        if len(canvas.boxes) > 1 or mask is not None:
            self._normalise(grid, mask)
        pixels = int(np.prod(canvas.size)) if self.kept is None else int(self.kept.sum())
        self._highest = max(1, int(HIGHEST * min(pixels, self._pixels_of_a_view())))

    def __call__(self, distances: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Make the anomaly map of a frame.

        Args:
            distances: per view, (rows, columns) float32.

        Returns:
            (h, w) float32, never clipped and never rescaled; 0 where nothing is inspected.
        """
        stacked = np.stack(distances)
        if self._fractions is not None:
            stacked *= self._fractions
        heatmap = self._stitched(stacked)
        if self._factor is not None:
            heatmap *= self._factor
        return heatmap

    def score(self, heatmap: NDArray[np.float32]) -> float:
        """The mean of a map's highest pixels, 0.3 % of the pixels of a view, so that no single pixel decides.

        Args:
            heatmap: (h, w) float32, the map, or the map after subtracting its baseline.
        """
        values = heatmap.ravel() if self.kept is None else heatmap[self.kept]
        count = self._highest
        return float(np.partition(values, values.size - count)[values.size - count :].mean(dtype=np.float64))

    def _graph(self, grid: tuple[int, int]) -> Graph:
        graph = Graph()
        count = len(self.canvas.boxes)
        distances = graph.input("distances", np.float32, (count, *grid))
        views = (distances,) if count == 1 else graph.node("Split", distances, results=count, axis=0)
        constants: dict[tuple[int, int, int], str] = {}  # tiles in a row share them

        def constant(axis: int, start: int, length: int) -> str:
            key = axis, start, length
            if key not in constants:
                weights = self._axes[axis].of(start, length).weights
                constants[key] = graph.constant(np.ascontiguousarray(weights if axis == 0 else weights.T))
            return constants[key]

        for number, (view, (x, y, width, height)) in enumerate(zip(views, self.canvas.boxes, strict=True)):
            across = graph.node("MatMul", view, constant(1, x, width))
            graph.output(f"part{number}", graph.node("MatMul", constant(0, y, height), across), np.float32)
        return graph

    def _stitched(self, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = self._kernel(distances=distances)
        if len(parts) == 1 and parts[0].shape[1:] == self.canvas.size:
            return parts[0][0]
        heatmap = np.zeros(self.canvas.size, np.float32)
        for place, part in zip(self._places, parts, strict=True):
            heatmap[place] += part[0]
        return heatmap

    def _normalise(self, grid: tuple[int, int], mask: Mask | None) -> None:
        """Find the factor that turns the sum of the views into an average, and the pixels that are inspected."""
        ones = np.ones((len(self.canvas.boxes), *grid), np.float32)
        total = self._stitched(ones if self._fractions is None else self._fractions)
        covered = np.zeros(self.canvas.size, bool)
        for x, y, width, height in self.canvas.boxes:
            rows, columns = self._axes[0].of(y, height).inside, self._axes[1].of(x, width).inside
            covered[rows, columns] = True
        keep = covered & (total > 0)
        if mask is not None:
            keep &= mask.kept(self.canvas)
        self._factor = np.zeros(self.canvas.size, np.float32)
        np.divide(1, total, out=self._factor, where=keep)
        if not keep.any():
            raise UsageError("expected a mask that leaves a part of the views, found that it excludes all")
        keep.flags.writeable = False  # every result refers to it
        self.kept = None if keep.all() else keep

    def _pixels_of_a_view(self) -> float:
        """Mean number of pixels of the map that a view covers."""
        areas = [float(width) * height for *_, width, height in self.canvas.boxes]
        return sum(areas) / len(areas) * float(np.prod(self.canvas.size)) / np.prod(self.canvas.field[2:])


@dataclass(frozen=True)
class _Strip:
    """The contribution of a view's rows (or columns) to those of the map.

    Attributes:
        inside: the map's rows that the view covers.
        place: the map's rows to which the view contributes: those inside, and the reach of the Gaussian.
        weights: (rows of the place, rows of the grid) float32.
    """

    inside: slice
    place: slice
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class _Axis:
    """One axis of the map: 0 is vertical, 1 horizontal."""

    canvas: Canvas
    grid: int
    sigma: float
    axis: int

    @cached_property
    def _known(self) -> dict[tuple[int, int], _Strip]:
        return {}

    def of(self, start: int, length: int) -> _Strip:
        """The contribution of views that begin at `start` and are `length` long."""
        if (start, length) not in self._known:
            self._known[start, length] = self._strip(start, length)
        return self._known[start, length]

    def _strip(self, start: int, length: int) -> _Strip:
        pixels = self.canvas.size[self.axis]
        centres = self.canvas.centres(self.axis)
        seen = np.flatnonzero((centres >= start) & (centres < start + length))
        inside = slice(int(seen[0]), int(seen[-1]) + 1)
        within = centres[seen] - start
        # Bilinear, half-pixel centres, edges repeated, as in `resampling_weights`.
        at = np.clip(within * (self.grid / length) - 0.5, 0, self.grid - 1)
        enlarge = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(self.grid)))
        blend = np.ones(len(seen))
        before, after = self._overlaps(start, length)
        if before:
            blend = np.minimum(blend, within / before)
        if after:
            blend = np.minimum(blend, (length - within) / after)
        blend = np.maximum(blend, LEAST)
        coarseness = pixels / self.canvas.field[3 - self.axis] * length / self.canvas.view.size[self.axis]
        place, smooth = gaussian_weights(pixels, self.sigma * coarseness, part=inside)
        return _Strip(inside, place, (smooth @ (blend[:, None] * enlarge)).astype(np.float32))

    def _overlaps(self, start: int, length: int) -> tuple[float, float]:
        """Overlap with the views before and after, in pixels of the reference frame; at most half of the length."""
        before = after = 0
        end = start + length
        for own in self.canvas.boxes:
            if (own[1 - self.axis], own[3 - self.axis]) != (start, length):
                continue
            for other in self.canvas.boxes:
                if not _touch(own, other):
                    continue
                first, last = other[1 - self.axis], other[1 - self.axis] + other[3 - self.axis]
                if first < start:
                    before = max(before, last - start)
                if last > end:
                    after = max(after, end - first)
        return min(before, length / 2), min(after, length / 2)


def _touch(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return all(one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2] for axis in (0, 1))


def gaussian_weights(length: int, sigma: float, *, part: slice | None = None) -> tuple[slice, NDArray[np.float64]]:
    """Gaussian smoothing of one axis as a matrix.

    It is truncated at 4 σ. Beyond its ends the axis is mirrored with the edge pixel repeated, as scipy.ndimage does.

    Args:
        length: length of the axis.
        sigma: σ in its pixels; 0 for none.
        part: the pixels that are not zero; None for all.

    Returns:
        the pixels to which the smoothing spreads them, and the matrix (those pixels, part) float64.
    """
    part = slice(0, length) if part is None else part
    if sigma == 0:
        return part, np.eye(part.stop - part.start)
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    spread = slice(max(0, part.start - reach), min(length, part.stop + reach))
    weights = np.zeros((spread.stop - spread.start, part.stop - part.start))
    at = np.arange(spread.start, spread.stop)
    for offset, weight in zip(offsets.tolist(), kernel.tolist(), strict=True):
        place = (at + offset) % (2 * length)
        place = np.minimum(place, 2 * length - 1 - place)
        ours = np.flatnonzero((place >= part.start) & (place < part.stop))
        np.add.at(weights, (ours, place[ours] - part.start), weight)
    return spread, weights
