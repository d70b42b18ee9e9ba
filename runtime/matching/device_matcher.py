"""Matching where the network runs: from its features to distances in one graph, with the gallery resident there.

    features      (views, h, w, C) float32, as the network left them on the device
      │  normalised, and rounded to codes: whole numbers from 0 to 127 in float32
    keys
      │  device_search.py      the nearest cells of the gallery
    candidates
      │  Eq. 3, as `cells.add_distances`
    distances     (cells, side * side) float32; only they and the winners come back

The same computations as on the CPU, in the same order, and every product of codes is exact: 127² · 1040 < 2²⁴, the
largest whole number up to which float32 is exact. So for equal features the results are bit for bit those of the CPU
with an exhaustive search, as far as the device's float32 sums of a few products agree with the CPU's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import DeviceError, ModelError
from spade_edge.runtime.kernels.device_kernel import CapturedKernel, DeviceKernel, Value, put
from spade_edge.runtime.kernels.graph_writer import FLOAT, INT32, Graph
from spade_edge.runtime.matching.cells import add_distances, check_distances
from spade_edge.runtime.matching.coding import (
    LARGEST,
    Coding,
    add_by_cell,
    add_features,
    add_padding,
    add_squares,
    windows,
)
from spade_edge.runtime.matching.config import Matching
from spade_edge.runtime.matching.device_search import EXACT_SUM, Both, DeviceSearch
from spade_edge.runtime.matching.distances import Place, place_of
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.provider import Provider
from spade_edge.runtime.network.pyramid import from_cells


@dataclass(frozen=True)
class DeviceMatches:
    """The distance of every position of the finest grid, and where its nearest embedding lies.

    Attributes:
        distances: (h, w) float32, d(y, p).
        gallery: the gallery that was searched.
        candidates: (cells, T) int64, the gallery's cells that each cell was compared with.
        found: (cells, side * side) int64, for each position the nearest embedding: candidate * side * side + place.
    """

    distances: NDArray[np.float32]
    gallery: CodedGallery
    candidates: NDArray[np.int64]
    found: NDArray[np.int64]

    def nearest(self, row: int, column: int) -> Place:
        """The nearest embedding of one position."""
        side, width = self.gallery.side, self.gallery.grid[1]
        cell = row // side * (width // side) + column // side
        candidate, place = divmod(int(self.found[cell, row % side * side + column % side]), side**2)
        return place_of(self.gallery, int(self.candidates[cell, candidate]), place, float(self.distances[row, column]))


class DeviceMatcher:
    """Matches views as a `Matcher` does, on the device that runs the network.

    Args:
        gallery: the good images.
        matching: how to compare.
        searches: find cells, as `Matcher.device_searches` gives them: one, or one for each view.
        placement: what runs the network.
        onnxruntime: its version.
        threads: threads for what runs on the CPU; None for one per core.
        fixed: for a CUDA graph, the levels of the one view that is ever matched, which stay where they are.

    Attributes:
        resident: bytes of the gallery on the device.
        working: bytes that a run takes beside them, about.

    Raises:
        DeviceError: the provider is not available, or the gallery does not fit.
    """

    def __init__(
        self,
        gallery: CodedGallery,
        matching: Matching,
        searches: Sequence[DeviceSearch],
        *,
        placement: Provider,
        onnxruntime: str,
        threads: int | None,
        fixed: Sequence[Value] | None = None,
    ) -> None:
        self._gallery = gallery
        self._runs: list[_Run] = []
        shared = {f"codes{i}": codes.reshape(-1, codes.shape[2]) for i, codes in enumerate(gallery.levels)}
        shared["codes0"] = gallery.levels[0].reshape(len(gallery.squares), -1)
        shared |= {"squares": gallery.squares}
        kept = [search.resident() for search in searches]
        self.resident = sum(array.nbytes for arrays in (shared, *kept) for array in arrays.values())
        self.working = _working(gallery.card, max(_count(matching, search) for search in searches), searches)
        beside = placement.beside(onnxruntime=onnxruntime, cuda_graph=fixed is not None)
        try:
            everywhere = _put(shared, placement)
            kernels: dict[tuple[int, ...], DeviceKernel] = {}
            for search, arrays in zip(searches, kept, strict=True):
                own = _put(arrays, placement)
                if fixed is not None:
                    given = {f"level{i}": level for i, level in enumerate(fixed)}
                    inputs = {**given, **everywhere, **own, **_put({"number": np.zeros(1, np.int64)}, placement)}
                    graph = _graph(gallery, matching, search, arrays)
                    run = _captured(
                        graph, gallery, _count(matching, search), inputs=inputs, beside=beside, threads=threads
                    )
                    self._runs.append(run)
                    continue
                if search.signature not in kernels:
                    graph = _graph(gallery, matching, search, arrays)
                    kernels[search.signature] = DeviceKernel(graph, **beside, threads=threads)
                    kernels[search.signature].keep(**everywhere)
                self._runs.append(_run(kernels[search.signature], own))
        except DeviceError as problem:
            raise self._does_not_fit(problem) from None

    def prove(self, levels: Sequence[Value]) -> None:
        """Run once for each kind of view, so that memory that is short is found before the first frame.

        Args:
            levels: as for `match`, of one view.

        Raises:
            DeviceError: it fails.
        """
        try:
            for view in range(len(self._runs)):
                self.match(levels, count=1, views=[view])
        except DeviceError as problem:
            raise self._does_not_fit(problem) from None

    def _does_not_fit(self, problem: DeviceError) -> DeviceError:
        return DeviceError(
            f"expected a device that matches with a gallery of {self.resident / 1e6:,.0f} MB and about "
            f"{self.working / 1e6:,.0f} MB to work in, found: {problem}; use --match cpu"
        )

    def match(self, levels: Sequence[Value], *, count: int, views: Sequence[int]) -> list[DeviceMatches]:
        """Find the nearest embeddings of every position of one or more views.

        Args:
            levels: finest first, each (count, h, w, C) float32 on the device.
            count: number of the views.
            views: number of each view in the layout.

        Raises:
            ModelError: a feature is not finite.
            BundleError: a distance is below zero.
            DeviceError: the device fails.
        """
        matches = []
        for number, view in zip(range(count), views, strict=True):
            values = self._runs[view if len(self._runs) > 1 else 0](levels, number)
            nearest, found, candidates, sums, least = (np.array(value.numpy()) for value in values)  # own memory
            if not np.isfinite(sums).all():  # rounding would turn NaN into a number
                raise ModelError("expected finite features, found NaN or infinity; export the model again")
            check_distances(least)
            distances = from_cells(nearest, self._gallery.side, self._gallery.grid)
            matches.append(DeviceMatches(distances, self._gallery, candidates, found))
        return matches


def _put(arrays: Mapping[str, NDArray[Any]], placement: Provider) -> dict[str, Value]:
    return {name: put(array, placement.memory_device, placement.device) for name, array in arrays.items()}


_Run = Callable[[Sequence[Value], int], tuple[Value, ...]]  # levels, and the number of a view in them, to the outputs


def _run(kernel: DeviceKernel, own: Mapping[str, Value]) -> _Run:
    def run(levels: Sequence[Value], number: int) -> tuple[Value, ...]:
        given = {f"level{i}": level for i, level in enumerate(levels)}
        return kernel(**given, **own, number=np.array([number], np.int64))

    return run


def _captured(
    graph: Graph,
    gallery: CodedGallery,
    candidates: int,
    *,
    inputs: Mapping[str, Value],
    beside: Mapping[str, Any],
    threads: int | None,
) -> _Run:
    cells, places = gallery.cells_per_item, gallery.side**2
    kernel = CapturedKernel(
        graph,
        **beside,
        threads=threads,
        inputs=inputs,
        outputs=(
            ((cells, places), np.float32),
            ((cells, places), np.int64),
            ((cells, candidates), np.int64),
            ((len(gallery.levels),), np.float32),
            ((1,), np.float32),
        ),
    )
    return lambda levels, number: kernel()


def _count(matching: Matching, search: DeviceSearch) -> int:
    """Number of candidates of each cell."""
    return matching.candidates + (search.more if isinstance(search, Both) else 0)


def _working(card: ModelCard, candidates: int, searches: Sequence[DeviceSearch]) -> int:
    """Bytes of the largest intermediate results: the candidates' codes as bytes and as float32, and the tables."""
    taken = sum(window.taps.shape[1] * level.channels for level, window in zip(card.levels, windows(card), strict=True))
    table = 4 * card.cells * candidates * card.side**4
    return 5 * card.cells * candidates * taken + 3 * table + max(search.working(card.cells) for search in searches)


def _graph(
    gallery: CodedGallery, matching: Matching, search: DeviceSearch, resident: Mapping[str, NDArray[Any]]
) -> Graph:
    graph, card, coding = Graph(), gallery.card, gallery.coding
    places, count = card.side**2, _count(matching, search)
    codes, sums = _add_codes(graph, card, coding)
    names = {name: graph.input(name, array.dtype, array.shape) for name, array in resident.items()}
    found = search.add(graph, _add_keys(graph, codes, card, coding), names, rows=card.cells, count=count)
    item = graph.node("Div", found.cells, graph.constant(np.array(card.cells, np.int64)))
    within = graph.node("Sub", found.cells, graph.node("Mul", item, graph.constant(np.array(card.cells, np.int64))))
    products, own = [], ""
    for i, (level, window) in enumerate(zip(card.levels, windows(card), strict=True)):
        taps, weights = window.padded()
        rows = gallery.levels[i].shape[0] * gallery.levels[i].shape[1]
        if i == 0:
            kept = graph.input("codes0", np.uint8, (len(gallery.squares), places * level.channels))
            at = found.cells
            seen = add_padding(graph, graph.reshape(codes[0], card.cells, places, level.channels), window)
        else:
            kept = graph.input(f"codes{i}", np.uint8, (rows, level.channels))
            positions = graph.node("Mul", item, graph.constant(np.array(card.positions(level), np.int64)))
            own_taps = graph.node("Gather", graph.constant(window.taps.astype(np.int64)), within)
            at = graph.node(
                "Add", own_taps, graph.node("Unsqueeze", positions, graph.constant(np.array([2], np.int64)))
            )
            seen = graph.node("Gather", codes[i], graph.constant(taps.astype(np.int64)))
        operand = graph.node("Transpose", seen, perm=(0, 2, 1))  # (cells, C, P)
        squares = add_squares(graph, graph.node("MatMul", seen, operand), weights, coding.steps[i])
        own = squares if not own else graph.node("Add", own, squares)
        taken = graph.node("Cast", graph.node("Gather", kept, at), to=FLOAT)
        taken = graph.reshape(taken, card.cells, -1, level.channels)
        # The shape stays. But onnxruntime would fold the scale that follows into a MatMul right before it, where it is
        # applied to parts of the sums, which are rounded then.
        products.append(graph.reshape(graph.node("MatMul", taken, operand), 0, 0, -1))
    lengths = graph.node("Gather", graph.input("squares", np.float32, gallery.squares.shape), found.cells)
    known = graph.node("Unsqueeze", found.known, graph.constant(np.array([2], np.int64)))
    lengths = graph.node("Where", known, lengths, graph.constant(np.array(np.inf, np.float32)))
    nearest, table, least = add_distances(graph, products, card, coding, squares=lengths, own=own)
    graph.output("nearest", nearest, np.float32)
    graph.output("found", graph.node("ArgMin", table, axis=1, keepdims=0), np.int64)
    graph.output("candidates", found.cells, np.int64)
    graph.output("sums", sums, np.float32)
    graph.output("least", least, np.float32)
    return graph


def _add_codes(graph: Graph, card: ModelCard, coding: Coding) -> tuple[list[str], str]:
    """Codes of one view, (positions, C) float32 for each level, the finest by cell; and the sums of its features."""
    number = graph.input("number", np.int64, (1,))
    codes, sums = [], []
    for i, level in enumerate(card.levels):
        (height, width), channels = card.grid(level), level.channels
        features = graph.input(f"level{i}", np.float32, ("views", height, width, channels))
        features = graph.node("Gather", features, number)
        sums.append(graph.node("ReduceSum", features, graph.constant(np.array([1, 2, 3], np.int64)), keepdims=0))
        features = add_features(graph, features, coding, i)
        steps = graph.node("Round", graph.node("Div", features, graph.constant(np.array(coding.steps[i], np.float32))))
        ends = (graph.constant(np.array(end, np.float32)) for end in (0, LARGEST))
        rounded = graph.node("Clip", steps, *ends)
        ordered = add_by_cell(graph, rounded, card, level) if i == 0 else rounded
        codes.append(graph.reshape(ordered, -1, channels))
    return codes, graph.node("Concat", *sums, axis=0)


def _add_keys(graph: Graph, codes: Sequence[str], card: ModelCard, coding: Coding) -> str:
    """The keys of a view's cells, (cells, D) float32.

    The products of a record are summed in parts that float32 holds exactly, and the parts in 32-bit integers.
    """
    total, first = "", 0
    for i, level in enumerate(card.levels):
        length = card.span(level) ** 2 * level.channels
        own = graph.reshape(codes[i] if i == 0 else add_by_cell(graph, codes[i], card, level), card.cells, length)
        for start in range(0, length, EXACT_SUM):
            stop = min(start + EXACT_SUM, length)
            limits = (graph.constant(np.array([limit], np.int64)) for limit in (start, stop, 1))
            part = graph.node("Slice", own, *limits) if stop - start < length else own
            weights = coding.key_weights[first + start : first + stop].astype(np.float32)
            whole = graph.node("Cast", graph.node("MatMul", part, graph.constant(weights)), to=INT32)
            total = whole if not total else graph.node("Add", total, whole)
        first += length
    keys = graph.node("Mul", graph.node("Cast", total, to=FLOAT), graph.constant(coding.key_scale))
    keys = graph.node("Round", graph.node("Add", keys, graph.constant(coding.key_offset)))
    return str(graph.node("Clip", keys, *(graph.constant(np.array(end, np.float32)) for end in (0, LARGEST))))
