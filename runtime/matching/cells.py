"""Compares cells of a frame with cells of the gallery, in codes: every embedding with every other.

An embedding is W x: the codes x of the positions in a cell's window, enlarged bilinearly (`coding.Window`). Enlarging
is linear, so the products of embeddings are the products of the windows, enlarged on both sides:

    ⟨W f, W y⟩ = W ⟨f, y⟩ Wᵀ        integer products, exact; then two small constant matrices

This needs a quarter of the bytes that embeddings would need, and no float32 copy of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.kernels.graph_writer import FLOAT, Graph
from spade_edge.runtime.kernels.kernel import Kernel
from spade_edge.runtime.matching.coding import Coding, Windows, windows
from spade_edge.runtime.network.card import ModelCard


class CellComparison:
    """Squared distances between the embeddings of cells.

    Args:
        card: the model's card.
        coding: the coding of frames and gallery.
        threads: threads of onnxruntime; None for one per core.
    """

    def __init__(self, card: ModelCard, coding: Coding, *, threads: int | None) -> None:
        self._windows = windows(card)
        self._positions = [card.positions(level) for level in card.levels]
        self._cells = card.cells
        self._kernel = Kernel(_graph(card, coding), threads=threads)

    def __call__(
        self,
        seen: Windows,
        view: int,
        *,
        levels: tuple[NDArray[np.uint8], ...],
        squares: NDArray[np.float32],
        candidates: NDArray[np.int64],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compare each cell of a view with its candidate cells of the gallery.

        Args:
            seen: the windows of some views.
            view: number of one of these views.
            levels: the gallery's codes, per level (items, positions, C), the finest by cell.
            squares: (items * cells, side * side) float32, squared lengths of the gallery's embeddings.
            candidates: (cells, T) cell numbers, item * cells + cell; -1 for none.

        Returns:
            The smallest squared distance at each embedding of the view, (cells, side * side), and a table of all
            distances less the squared lengths of the view's embeddings, (cells, T * side * side, side * side): gallery
            position by view position.
        """
        here = slice(view * self._cells, (view + 1) * self._cells)
        known = candidates >= 0
        cells = np.where(known, candidates, candidates[:, :1])
        items, within = np.divmod(cells, self._cells)
        inputs = {"squares": np.where(known[:, :, None], squares[cells], np.float32(np.inf))}
        for i, (level, window, positions) in enumerate(zip(levels, self._windows, self._positions, strict=True)):
            channels = level.shape[2]
            if i == 0:
                inputs["codes0"], inputs["at0"] = level.reshape(len(squares), -1), cells.astype(np.int32)
            else:
                at = (items * positions)[:, :, None] + window.taps[within]
                inputs[f"codes{i}"] = level.reshape(-1, channels)
                inputs[f"at{i}"] = at.reshape(len(cells), -1).astype(np.int32)
            inputs[f"operand{i}"] = seen.operands[i][here]
        nearest, table = self._kernel(**inputs, own=seen.squares[here])
        return nearest, table


def _graph(card: ModelCard, coding: Coding) -> Graph:
    graph = Graph()
    places = card.side**2  # embeddings in a cell
    total = ""
    for i, (level, window) in enumerate(zip(card.levels, windows(card), strict=True)):
        channels, taps = level.channels, window.taps.shape[1]
        weights = window.padded()[1]  # weights of the view's positions
        wide = channels * places if i == 0 else channels
        codes = graph.input(f"codes{i}", np.uint8, (f"rows{i}", wide))
        at = graph.input(f"at{i}", np.int32, ("cells", f"taken{i}"))
        operand = graph.input(f"operand{i}", np.int8, ("cells", channels, weights.shape[1]))
        taken = graph.node("Gather", codes, at)
        if i == 0:
            taken = graph.reshape(taken, 0, -1, channels)
        products = graph.node("Cast", graph.node("MatMulInteger", taken, operand), to=FLOAT)  # (cells, T * taps, P)
        scale = np.float32(-2 * coding.steps[i] ** 2)
        if i == 0:
            part = graph.node("Mul", products, graph.constant(np.array(scale)))
            if window.padding:
                part = graph.node("Slice", part, *(graph.constant(np.array([x], np.int64)) for x in (0, places, 2)))
            part = graph.reshape(part, -1, places, places)
        else:
            part = graph.node(
                "MatMul", graph.reshape(products, -1, weights.shape[1]), graph.constant(weights.T * scale)
            )
            part = graph.node("MatMul", graph.constant(window.weights), graph.reshape(part, -1, taps, places))
        total = part if not total else graph.node("Add", total, part)
    squares = graph.input("squares", np.float32, ("cells", "candidates", places))
    total = graph.node("Add", total, graph.reshape(squares, -1, places, 1))
    # (cells, T, gallery position, view position) -> (cells, T * gallery position, view position)
    cells = graph.node("Shape", squares, start=0, end=1)
    shape = graph.node("Concat", cells, graph.constant(np.array([-1, places], np.int64)), axis=0)
    table = graph.node("Reshape", total, shape)
    own = graph.input("own", np.float32, ("cells", places))
    nearest = graph.node("Add", graph.node("ReduceMin", table, axes=(1,), keepdims=0), own)
    graph.output("nearest", graph.node("Relu", nearest), np.float32)  # rounding may give values slightly below 0
    graph.output("table", table, np.float32)
    return graph
