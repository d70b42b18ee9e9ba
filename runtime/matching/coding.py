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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import ModelError
from spade_edge.runtime.geometry.resample import resampling_weights
from spade_edge.runtime.kernels.graph_writer import FLOAT, INT8, Graph
from spade_edge.runtime.kernels.kernel import Kernel
from spade_edge.runtime.kernels.workers import Workers
from spade_edge.runtime.matching.normalisation import add_normalisation
from spade_edge.runtime.network.card import Level, ModelCard
from spade_edge.runtime.network.pyramid import Pyramid, from_cells

LARGEST = 127
ROWS = 7  # rows of cells that are coded together


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
    """Codes pyramids, the rows of cells of a view in bands.

    Args:
        card: the card of the model that the pyramids come from.
        coding: how features become codes.
        threads: threads for the bands; None for one per core.
    """

    def __init__(self, card: ModelCard, coding: Coding, *, threads: int | None) -> None:
        self.coding = coding
        self._card = card
        self._workers = Workers.of(threads)
        self._codes = Kernel(_codes_graph(card, coding), threads=1)
        self._keys = Kernel(_keys_graph(card, coding), threads=1)
        self._windows = Kernel(_windows_graph(card, coding), threads=1)
        self._taps = [window.padded()[0] for window in windows(card)]

    def __call__(self, pyramids: Sequence[Pyramid]) -> Coded:
        """Code one or more views.

        Raises:
            ModelError: a feature is not finite.
        """
        card = self._card
        codes = [np.empty((len(pyramids), card.positions(x), x.channels), np.uint8) for x in card.levels]
        keys = np.empty((len(pyramids), card.cells, self.coding.key_weights.shape[1]), np.uint8)
        rows, columns = card.grid(card.levels[-1])

        def code(part: tuple[int, slice]) -> None:
            view, band = part
            features = {}
            for i, level in enumerate(card.levels):
                span = card.span(level)
                features[f"level{i}"] = pyramids[view].levels[i][band.start * span : band.stop * span]
            *found, sums = self._codes(**features)
            if not np.isfinite(sums).all():  # rounding would turn NaN into a number
                raise ModelError("expected finite features, found NaN or infinity; export the model again")
            keys[view, band.start * columns : band.stop * columns] = self._keys_of(found)
            for i, level in enumerate(card.levels):
                each = card.positions(level) // rows  # positions in a row of cells
                codes[i][view, band.start * each : band.stop * each] = found[i]

        bands = self._workers.bands(rows, usual=ROWS)
        self._workers.map(code, [(view, band) for view in range(len(pyramids)) for band in bands])
        return Coded(levels=tuple(codes), keys=keys.reshape(-1, keys.shape[2]))

    def with_keys(self, levels: tuple[NDArray[np.uint8], ...]) -> Coded:
        """Views whose codes are known, with the keys of their cells.

        Args:
            levels: as in `Coded`.
        """
        return Coded(levels=levels, keys=self._keys_of([level.reshape(-1, level.shape[2]) for level in levels]))

    def _keys_of(self, codes: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        (keys,) = self._keys(**{f"codes{i}": level for i, level in enumerate(codes)})
        return keys

    def rounded(self, pyramid: Pyramid) -> Pyramid:
        """Features normalised and rounded to their codes, in float32."""
        coded = self([pyramid])
        return decoded(tuple(level[0] for level in coded.levels), self._card, self.coding, pyramid.descriptor)

    def windows(self, coded: Coded, cells: slice | NDArray[np.int64] | None = None) -> Windows:
        """Prepare coded views for comparison.

        Args:
            coded: the views.
            cells: some of their views * cells, in one piece or by their numbers; None for all.
        """
        part = slice(0, len(coded) * self._card.cells) if cells is None else cells
        numbers = np.arange(part.start, part.stop) if isinstance(part, slice) else part
        views, within = np.divmod(numbers.astype(np.int32), np.int32(self._card.cells))
        given: dict[str, NDArray[Any]] = {}
        for i, (level, codes) in enumerate(zip(self._card.levels, coded.levels, strict=True)):
            if i == 0:  # ordered by cell
                given["codes0"] = codes.reshape(-1, self._card.side**2, level.channels)[part]
            else:
                given[f"codes{i}"] = codes.reshape(-1, level.channels)
                given[f"at{i}"] = self._taps[i][within] + (views * self._card.positions(level))[:, np.newaxis]
        *operands, squares = self._windows(**given)
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
    """The graph from levels to codes, for some rows of a view."""
    graph = Graph()
    zero = graph.constant(np.array(0, np.uint8))
    sums = []
    for i, level in enumerate(card.levels):
        width, channels = card.grid(level)[1], level.channels
        features = graph.input(f"level{i}", np.float32, (f"rows{i}", width, channels))
        sums.append(graph.node("ReduceSum", features, graph.constant(np.array([0, 1, 2], np.int64)), keepdims=0))
        features = add_features(graph, features, coding, i)
        codes = graph.node("QuantizeLinear", features, graph.constant(np.array(coding.steps[i], np.float32)), zero)
        codes = graph.node("Clip", codes, zero, graph.constant(np.array(LARGEST, np.uint8)))
        if i == 0:
            codes = add_by_cell(graph, codes, card, level)
        graph.output(f"codes{i}", graph.reshape(codes, -1, channels), np.uint8)
    sums = [graph.reshape(value, 1) for value in sums]
    graph.output("sums", graph.node("Concat", *sums, axis=0), np.float32)
    return graph


def add_features(graph: Graph, features: str, coding: Coding, number: int) -> str:
    """Add what comes before rounding to a graph: a level's features normalised, less the one of code 0."""
    signed = bool(coding.lowest[number] != 0)
    features = add_normalisation(graph, features, coding.normalisation, signed=signed)
    if not signed:
        return features
    return str(graph.node("Sub", features, graph.constant(np.array(coding.lowest[number], np.float32))))


def _keys_graph(card: ModelCard, coding: Coding) -> Graph:
    """The graph from codes to keys, for some rows of cells of a view, or for several views."""
    graph = Graph()
    zero = graph.constant(np.array(0, np.uint8))
    records = []
    for i, level in enumerate(card.levels):
        codes = graph.input(f"codes{i}", np.uint8, (f"positions{i}", level.channels))
        if i > 0:
            codes = add_by_cell(graph, codes, card, level)
        records.append(graph.reshape(codes, -1, card.span(level) ** 2 * level.channels))
    record = graph.node("Concat", *records, axis=1) if len(records) > 1 else records[0]
    keys = graph.node("Cast", graph.node("MatMulInteger", record, graph.constant(coding.key_weights)), to=FLOAT)
    keys = graph.node("Mul", keys, graph.constant(coding.key_scale))
    keys = graph.node("Add", keys, graph.constant(coding.key_offset))
    keys = graph.node("QuantizeLinear", keys, graph.constant(np.array(1, np.float32)), zero)
    graph.output("keys", graph.node("Clip", keys, zero, graph.constant(np.array(LARGEST, np.uint8))), np.uint8)
    return graph


def add_by_cell(graph: Graph, codes: str, card: ModelCard, level: Level) -> str:
    """Reorder the codes of a level, row by row, so that the positions inside a cell lie together."""
    columns, span = card.grid(card.levels[-1])[1], card.span(level)
    if span == 1:
        return codes
    cut = graph.reshape(codes, -1, span, columns, span, level.channels)
    return str(graph.node("Transpose", cut, perm=(0, 2, 1, 3, 4)))


def _windows_graph(card: ModelCard, coding: Coding) -> Graph:
    """The graph from codes to windows, for some cells."""
    graph = Graph()
    squares = ""
    for i, (level, window) in enumerate(zip(card.levels, windows(card), strict=True)):
        taps, weights = window.padded()
        count, channels = taps.shape[1], level.channels
        if i > 0:
            codes = graph.input(f"codes{i}", np.uint8, (f"positions{i}", channels))
            seen = graph.node("Gather", codes, graph.input(f"at{i}", np.int32, ("cells", count)))
        else:
            seen = graph.input("codes0", np.uint8, ("cells", window.taps.shape[1], channels))
            seen = add_padding(graph, seen, window)
        # (cells, P, C) -> (cells, C, P)
        operand = graph.node("Cast", graph.node("Transpose", seen, perm=(0, 2, 1)), to=INT8)
        graph.output(f"operand{i}", operand, np.int8)
        products = graph.node("Cast", graph.node("MatMulInteger", seen, operand), to=FLOAT)
        part = add_squares(graph, products, weights, coding.steps[i])
        squares = part if not squares else graph.node("Add", squares, part)
    graph.output("squares", squares, np.float32)
    return graph


def add_squares(graph: Graph, products: str, weights: NDArray[np.float32], step: np.float32) -> str:
    """Add the squared lengths of a level's embeddings to a graph; returns their name, (cells, side * side) float32.

    ‖W x‖² at each position i of a cell is Σ over positions a, b of its window of W[i, a] W[i, b] ⟨x[a], x[b]⟩.

    Args:
        graph: the graph.
        products: name of (cells, P, P) float32, the products of the window's positions with each other.
        weights: (side * side, P) float32, the window's.
        step: the level's step between two codes.
    """
    count = weights.shape[1]
    pairs = np.einsum("ia,ib->abi", weights, weights).reshape(count**2, -1) * step**2
    return str(graph.node("MatMul", graph.reshape(products, -1, count**2), graph.constant(pairs.astype(np.float32))))


def add_padding(graph: Graph, seen: str, window: Window) -> str:
    """Repeat the last position of (cells, positions, C) up to the length of the padded window."""
    if not window.padding:
        return seen
    count = window.taps.shape[1]
    positions = np.minimum(np.arange(count + window.padding), count - 1).astype(np.int32)
    return str(graph.node("Gather", seen, graph.constant(positions), axis=1))
