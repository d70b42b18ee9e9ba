"""Compares cells of a frame with cells of the gallery, in codes: every embedding with every other.

An embedding is W x: the codes x of the positions in a cell's window, enlarged bilinearly (`coding.Window`). Enlarging
is linear, so the products of embeddings are the products of the windows, enlarged on both sides:

    ⟨W f, W y⟩ = W ⟨f, y⟩ Wᵀ        integer products, exact; then two small constant matrices

This needs a quarter of the bytes that embeddings would need, and no float32 copy of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.kernels.graph_writer import FLOAT, Graph
from spade_edge.runtime.kernels.kernel import Kernel
from spade_edge.runtime.matching.coding import Coding, Windows, windows
from spade_edge.runtime.network.card import ModelCard

ROUNDING = 1e-4  # of the squared length of an embedding; float32 rounding took up to 5e-7 of it from a distance of 0


class CellComparison:
    """Squared distances between the embeddings of cells.

    Args:
        card: the model's card.
        coding: the coding of frames and gallery.
    """

    def __init__(self, card: ModelCard, coding: Coding) -> None:
        self._windows = windows(card)
        self._positions = [card.positions(level) for level in card.levels]
        self._cells = card.cells
        self._kernel = Kernel(_graph(card, coding), threads=1)  # some cells are compared on each thread

    def __call__(
        self,
        seen: Windows,
        *,
        levels: tuple[NDArray[np.uint8], ...],
        squares: NDArray[np.float32],
        candidates: NDArray[np.int64],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compare some cells of a view, each with its candidate cells of the gallery.

        Args:
            seen: the windows of these cells.
            levels: the gallery's codes, per level (items, positions, C), the finest by cell.
            squares: (items * cells, side * side) float32, squared lengths of the gallery's embeddings.
            candidates: (cells, T) cell numbers, item * cells + cell; -1 for none.

        Returns:
            The smallest squared distance at each embedding of the cells, (cells, side * side), and a table of all
            distances less the squared lengths of these embeddings, (cells, T * side * side, side * side): gallery
            position by view position.

        Raises:
            BundleError: as `check_distances`.
        """
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
            inputs[f"operand{i}"] = seen.operands[i]
        nearest, table, least = self._kernel(**inputs, own=seen.squares)
        check_distances(least)
        return nearest, table


def check_distances(least: NDArray[np.float32]) -> None:
    """Refuse distances that no two embeddings can have, which would let every frame pass.

    Args:
        least: (1,) float32, the smallest distance with what rounding may take from it.

    Raises:
        BundleError: it is below zero, or no number.
    """
    if not least[0] >= 0:
        raise BundleError(
            "expected distances of zero and more, found others: the squared lengths and the codes of the gallery do "
            "not belong together; copy the bundle again or rebuild it"
        )


def _graph(card: ModelCard, coding: Coding) -> Graph:
    graph = Graph()
    places = card.side**2  # embeddings in a cell
    products = []
    for i, (level, window) in enumerate(zip(card.levels, windows(card), strict=True)):
        channels = level.channels
        codes = graph.input(f"codes{i}", np.uint8, (f"rows{i}", channels * places if i == 0 else channels))
        at = graph.input(f"at{i}", np.int32, ("cells", f"taken{i}"))
        operand = graph.input(f"operand{i}", np.int8, ("cells", channels, window.padded()[0].shape[1]))
        taken = graph.node("Gather", codes, at)
        if i == 0:
            taken = graph.reshape(taken, 0, -1, channels)
        products.append(graph.node("Cast", graph.node("MatMulInteger", taken, operand), to=FLOAT))
    squares = graph.input("squares", np.float32, ("cells", "candidates", places))
    own = graph.input("own", np.float32, ("cells", places))
    nearest, table, least = add_distances(graph, products, card, coding, squares=squares, own=own)
    graph.output("nearest", nearest, np.float32)
    graph.output("table", table, np.float32)
    graph.output("least", least, np.float32)
    return graph


def add_distances(
    graph: Graph, products: Sequence[str], card: ModelCard, coding: Coding, *, squares: str, own: str
) -> tuple[str, str, str]:
    """Add the distances of cells from their candidates to a graph.

    Args:
        graph: the graph.
        products: for each level, name of (cells, T * positions, P) float32, the products of the candidates' positions
            with the padded window of the view's cell.
        card: of the model.
        coding: of the codes.
        squares: name of (cells, T, side * side) float32, squared lengths of the candidates' embeddings.
        own: name of (cells, side * side) float32, squared lengths of the cells' own embeddings.

    Returns:
        names of the smallest distance at each embedding, and of the table, as `CellComparison` returns them; and of
        (1,) float32, which `check_distances` looks at.
    """
    places = card.side**2
    total = ""
    for i, (level, window) in enumerate(zip(products, windows(card), strict=True)):
        taps, weights = window.taps.shape[1], window.padded()[1]  # weights of the view's positions
        scale = np.float32(-2 * coding.steps[i] ** 2)
        if i == 0:
            part = graph.node("Mul", level, graph.constant(np.array(scale)))
            if window.padding:
                part = graph.node("Slice", part, *(graph.constant(np.array([x], np.int64)) for x in (0, places, 2)))
            part = graph.reshape(part, -1, places, places)
        else:
            part = graph.node("MatMul", graph.reshape(level, -1, weights.shape[1]), graph.constant(weights.T * scale))
            part = graph.node("MatMul", graph.constant(window.weights), graph.reshape(part, -1, taps, places))
        total = part if not total else graph.node("Add", total, part)
    total = graph.node("Add", total, graph.reshape(squares, -1, places, 1))
    # (cells, T, gallery position, view position) -> (cells, T * gallery position, view position)
    cells = graph.node("Shape", squares, start=0, end=1)
    shape = graph.node("Concat", cells, graph.constant(np.array([-1, places], np.int64)), axis=0)
    table = graph.node("Reshape", total, shape)
    nearest = graph.node("Add", graph.node("ReduceMin", table, axes=(1,), keepdims=0), own)
    # Rounding may give values slightly below 0, squared lengths of other codes values far below it.
    allowed = graph.node("Mul", own, graph.constant(np.array(ROUNDING, np.float32)))
    least = graph.node("ReduceMin", graph.node("Add", nearest, allowed), axes=(0, 1), keepdims=0)
    return graph.node("Relu", nearest), table, graph.reshape(least, 1)
