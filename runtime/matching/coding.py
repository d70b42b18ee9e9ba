"""Codes: every feature of the network as an integer from 0 to 127, and the quantities computed from codes.

The gallery of profile `edge` stores one byte per feature, for all channels of all levels. That is a quarter of float32,
and 8-bit products are several times faster. Features are normalised first (`normalisation`), so codes use their range
at every position, however strong the network responds there. Each level has one step; the codes 0 and 127 are the
smallest and the largest value of the good images, with a margin. Codes have seven bits because some processors add
pairs of 8-bit products with saturation at 16 bits. With 0 to 127 on both sides no sum saturates, and every processor
computes the same integers.

Frames are coded exactly as the gallery is, so two equal views have distance 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import ModelError
from spade_edge.runtime.geometry.resample import resampling_weights
from spade_edge.runtime.kernels.graph_writer import FLOAT, INT8, Graph
from spade_edge.runtime.kernels.kernel import Kernel
from spade_edge.runtime.matching.normalisation import add_normalisation
from spade_edge.runtime.network.card import Level, ModelCard
from spade_edge.runtime.network.pyramid import Pyramid, from_cells

LARGEST = 127


@dataclass(frozen=True)
class Window:
    """The positions of one level from which the embeddings of a cell are computed.

    Attributes:
        taps: (cells, P) int32, numbers of these positions in the level, row by row. Bilinear enlarging needs one
            position beyond the cell on each side; at the border the edge is repeated.
        weights: (side * side, P) float32; the cell's embeddings, on the finest grid, are weights @ positions. The
            identity matrix for the finest level.
        span: positions of the level along one side of a cell.
        padding: number of positions with weight 0 appended to a view's window, because transposing and multiplying 16
            bytes at a time is faster than 9.
    """

    taps: NDArray[np.int32]
    weights: NDArray[np.float32]
    span: int

    @property
    def padding(self) -> int:
        return -self.taps.shape[1] % 16

    def padded(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Taps and weights, padded."""
        taps = np.pad(self.taps, ((0, 0), (0, self.padding)), mode="edge")
        return taps, np.pad(self.weights, ((0, 0), (0, self.padding)))

    @classmethod
    def of(cls, grid: tuple[int, int], *, cells: tuple[int, int], side: int) -> Window:
        """The window of a level with a `grid` of (rows, columns), for `cells` of side x side embeddings."""
        span = grid[0] // cells[0]
        step = side // span
        if step == 1:
            around, along = np.arange(span), np.eye(side, dtype=np.float32)
        else:
            around = np.arange(-1, span + 1)
            along = resampling_weights(len(around), len(around) * step)[step : step + side]
        rows, columns = (
            np.clip(np.arange(count)[:, None] * span + around, 0, length - 1)
            for count, length in zip(cells, grid, strict=True)
        )
        taps = rows[:, None, :, None] * grid[1] + columns[None, :, None, :]
        return cls(taps.reshape(cells[0] * cells[1], -1).astype(np.int32), np.kron(along, along), span)


@dataclass(frozen=True)
class Coding:
    """How features become codes, and how codes become keys.

    Attributes:
        normalisation: how features are normalised before they are coded; see `normalisation.normalised`.
        lowest: (levels,) float32, the normalised feature of code 0.
        steps: (levels,) float32, the difference in normalised feature between two codes.
        key_weights: (F, D) int8; a cell's key is (record @ key_weights) * key_scale + key_offset, rounded, 0 to 127.
            The record consists of the F codes of the positions inside the cell, level by level, each row by row.
        key_scale, key_offset: (D,) float32.
    """

    normalisation: str
    lowest: NDArray[np.float32]
    steps: NDArray[np.float32]
    key_weights: NDArray[np.int8]
    key_scale: NDArray[np.float32]
    key_offset: NDArray[np.float32]


@dataclass(frozen=True)
class Coded:
    """The codes of some views.

    Attributes:
        levels: for each level, finest first, (views, positions, C) uint8; the finest is ordered by cell.
        keys: (views * cells, D) uint8, the keys by which cells are searched.
    """

    levels: tuple[NDArray[np.uint8], ...]
    keys: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.levels[0])


@dataclass(frozen=True)
class Windows:
    """The operands for comparing the cells of some views.

    Attributes:
        operands: per level, (views * cells, C, P) int8, the codes of the cells' windows, transposed for the products.
        squares: (views * cells, side * side) float32, squared length of each embedding, with code 0 as the origin.
    """

    operands: tuple[NDArray[np.int8], ...]
    squares: NDArray[np.float32]


def windows(card: ModelCard) -> tuple[Window, ...]:
    """The window of each level of a model, finest first."""
    cells = card.grid(card.levels[-1])
    return tuple(Window.of(card.grid(level), cells=cells, side=card.side) for level in card.levels)


class Coder:
    """Codes pyramids.

    Args:
        card: the card of the model that the pyramids come from.
        coding: how features become codes.
        threads: threads of onnxruntime; None for one per core.
    """

    def __init__(self, card: ModelCard, coding: Coding, *, threads: int | None) -> None:
        self.coding = coding
        self._card = card
        self._codes = Kernel(_codes_graph(card, coding), threads=threads)
        self._keys = Kernel(_keys_graph(card, coding), threads=threads)
        self._windows = Kernel(_windows_graph(card, coding), threads=threads)

    def __call__(self, pyramids: Sequence[Pyramid]) -> Coded:
        """Code one or more views.

        Raises:
            ModelError: a feature is not finite.
        """
        levels = (
            pyramids[0].levels[i][np.newaxis] if len(pyramids) == 1 else np.stack([p.levels[i] for p in pyramids])
            for i in range(len(self._card.levels))
        )
        *codes, sums = self._codes(**{f"level{i}": level for i, level in enumerate(levels)})
        if not np.isfinite(sums).all():  # rounding would turn NaN into a number
            raise ModelError("expected finite features, found NaN or infinity; export the model again")
        return self.with_keys(tuple(codes))

    def with_keys(self, levels: tuple[NDArray[np.uint8], ...]) -> Coded:
        """Views whose codes are known, with the keys of their cells.

        Args:
            levels: as in `Coded`.
        """
        (keys,) = self._keys(**{f"codes{i}": level for i, level in enumerate(levels)})
        return Coded(levels=levels, keys=keys)

    def rounded(self, pyramid: Pyramid) -> Pyramid:
        """Features normalised and rounded to their codes, in float32."""
        coded = self([pyramid])
        return decoded(tuple(level[0] for level in coded.levels), self._card, self.coding, pyramid.descriptor)

    def windows(self, coded: Coded) -> Windows:
        """Prepare coded views for comparison."""
        *operands, squares = self._windows(**{f"codes{i}": codes for i, codes in enumerate(coded.levels)})
        return Windows(operands=tuple(operands), squares=squares)


def decoded(
    levels: tuple[NDArray[np.uint8], ...], card: ModelCard, coding: Coding, descriptor: NDArray[np.float32]
) -> Pyramid:
    """The normalised features that the codes of a view stand for.

    Args:
        levels: for each level, finest first, (positions, C) uint8; the finest is ordered by cell.
        card: of the model.
        coding: of the codes.
        descriptor: (C,) float32, the view's global descriptor.
    """
    features = []
    for number, (level, codes) in enumerate(zip(card.levels, levels, strict=True)):
        ordered = codes[by_row(card.grid(level), card.side)] if number == 0 and card.side > 1 else codes
        values = ordered.astype(np.float32) * coding.steps[number] + coding.lowest[number]
        features.append(values.reshape(*card.grid(level), level.channels))
    return Pyramid(levels=tuple(features), descriptor=descriptor)


@lru_cache(maxsize=4)
def by_row(grid: tuple[int, int], side: int) -> NDArray[np.intp]:
    """For each position of the finest grid (rows, columns), numbered row by row, its number in cell order."""
    order = np.arange(int(np.prod(grid))).reshape(-1, side**2)
    return np.asarray(from_cells(order, side, grid).ravel(), np.intp)


def _codes_graph(card: ModelCard, coding: Coding) -> Graph:
    """The graph from levels to codes."""
    graph = Graph()
    zero = graph.constant(np.array(0, np.uint8))
    sums = []
    for i, level in enumerate(card.levels):
        (height, width), channels = card.grid(level), level.channels
        features = graph.input(f"level{i}", np.float32, ("views", height, width, channels))
        sums.append(graph.node("ReduceSum", features, graph.constant(np.array([0, 1, 2, 3], np.int64)), keepdims=0))
        signed = coding.lowest[i] != 0
        features = add_normalisation(graph, features, coding.normalisation, signed=bool(signed))
        if signed:
            features = graph.node("Sub", features, graph.constant(np.array(coding.lowest[i], np.float32)))
        codes = graph.node("QuantizeLinear", features, graph.constant(np.array(coding.steps[i], np.float32)), zero)
        codes = graph.node("Clip", codes, zero, graph.constant(np.array(LARGEST, np.uint8)))
        if i == 0:
            codes = _by_cell(graph, codes, card, level)
        graph.output(f"codes{i}", graph.reshape(codes, -1, height * width, channels), np.uint8)
    sums = [graph.reshape(value, 1) for value in sums]
    graph.output("sums", graph.node("Concat", *sums, axis=0), np.float32)
    return graph


def _keys_graph(card: ModelCard, coding: Coding) -> Graph:
    """The graph from codes to keys."""
    graph = Graph()
    zero = graph.constant(np.array(0, np.uint8))
    records = []
    for i, level in enumerate(card.levels):
        codes = graph.input(f"codes{i}", np.uint8, ("views", card.positions(level), level.channels))
        if i > 0:
            codes = _by_cell(graph, codes, card, level)
        records.append(graph.reshape(codes, -1, card.span(level) ** 2 * level.channels))
    record = graph.node("Concat", *records, axis=1) if len(records) > 1 else records[0]
    keys = graph.node("Cast", graph.node("MatMulInteger", record, graph.constant(coding.key_weights)), to=FLOAT)
    keys = graph.node("Mul", keys, graph.constant(coding.key_scale))
    keys = graph.node("Add", keys, graph.constant(coding.key_offset))
    keys = graph.node("QuantizeLinear", keys, graph.constant(np.array(1, np.float32)), zero)
    graph.output("keys", graph.node("Clip", keys, zero, graph.constant(np.array(LARGEST, np.uint8))), np.uint8)
    return graph


def _by_cell(graph: Graph, codes: str, card: ModelCard, level: Level) -> str:
    """Reorder the codes of a level, row by row, so that the positions inside a cell lie together."""
    (rows, columns), span = card.grid(card.levels[-1]), card.span(level)
    if span == 1:
        return codes
    cut = graph.reshape(codes, -1, rows, span, columns, span, level.channels)
    return str(graph.node("Transpose", cut, perm=(0, 1, 3, 2, 4, 5)))


def _windows_graph(card: ModelCard, coding: Coding) -> Graph:
    """The graph from codes to windows."""
    graph = Graph()
    squares = ""
    for i, (level, window) in enumerate(zip(card.levels, windows(card), strict=True)):
        taps, weights = window.padded()
        positions, count, channels = card.positions(level), taps.shape[1], level.channels
        codes = graph.input(f"codes{i}", np.uint8, ("views", positions, channels))
        if i > 0:
            codes = graph.node("Gather", codes, graph.constant(taps.ravel()), axis=1)
        elif window.padding:
            codes = graph.reshape(codes, -1, window.taps.shape[1], channels)
            codes = graph.node("Gather", codes, graph.constant(_up_to(window.taps.shape[1], count)), axis=1)
        seen = graph.reshape(codes, -1, count, channels)
        # (views * cells, P, C) -> (views * cells, C, P)
        operand = graph.node("Cast", graph.node("Transpose", seen, perm=(0, 2, 1)), to=INT8)
        graph.output(f"operand{i}", operand, np.int8)
        # ‖W x‖² at each position i of the cell: Σ over positions a, b of W[i, a] W[i, b] ⟨x[a], x[b]⟩.
        pairs = np.einsum("ia,ib->abi", weights, weights).reshape(count**2, -1) * coding.steps[i] ** 2
        products = graph.node("Cast", graph.node("MatMulInteger", seen, operand), to=FLOAT)
        part = graph.node("MatMul", graph.reshape(products, -1, count**2), graph.constant(pairs.astype(np.float32)))
        squares = part if not squares else graph.node("Add", squares, part)
    graph.output("squares", squares, np.float32)
    return graph


def _up_to(count: int, length: int) -> NDArray[np.int32]:
    """The numbers 0 to count - 1, the last one repeated up to `length` numbers."""
    return np.minimum(np.arange(length), count - 1).astype(np.int32)
