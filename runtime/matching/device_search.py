"""The searches for candidate cells as parts of a graph, so that they can run where the network runs.

Both compare keys exhaustively: there, products are cheap, and following the links of a graph is not. Keys are whole
numbers up to 127 in float32, whose products a GPU computes exactly, with TensorFloat-32 too: no sum reaches 2²⁴. A
cell's record is one integer, distance << 32 | number, as in the other searches, so that no two are equal, and every
device finds the same cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.kernels.graph_writer import FLOAT, INT64, Graph
from spade_edge.runtime.matching.coding import LARGEST
from spade_edge.runtime.matching.config import EXACT, Matching
from spade_edge.runtime.matching.place_search import FAR, PlaceSearch
from spade_edge.runtime.network.card import ModelCard

EXACT_SUM = (1 << 24) // LARGEST**2  # products of codes whose sum is exact in float32
PART = 1 << 16  # keys whose distances are in memory at a time: 51 MB for 196 cells
RUN = 64  # keys that are reduced to the nearest of them
LAST = 1 << 62  # a record behind all others
LIFT = 1 << 24  # more than any distance, which lacks the squared length of the query, is below 0


def cpu_only(matching: Matching, card: ModelCard) -> str:
    """Why cells are matched on the CPU, wherever the network runs; empty if they need not be.

    Args:
        matching: how a bundle is matched.
        card: of its model.
    """
    if matching.search == EXACT:
        return "exact search"
    if matching.neighbours is not None:
        return f"the {matching.neighbours} nearest good images of each frame"
    if matching.kappa != 1:
        return f"κ = {matching.kappa}"
    widest = max(level.channels for level in card.levels)
    if widest > EXACT_SUM:
        return f"a level of {widest} channels, of which float32 holds sums of {EXACT_SUM} exactly"
    return ""


@dataclass(frozen=True)
class Found:
    """Names of what a search adds to a graph.

    Attributes:
        cells: (cells, T) int64, the candidates of each cell, nearest first, item * cells + cell; 0 for none.
        known: (cells, T) bool, whether there is a candidate.
    """

    cells: str
    known: str


@dataclass(frozen=True)
class Anywhere:
    """Candidates at any place.

    Attributes:
        keys: (n, D) uint8, the keys of the cells that may be found, each kind of cell once. Of equally near ones the
            first are found.
        cells: (n,) int64, the cells that they belong to.
    """

    keys: NDArray[np.uint8]
    cells: NDArray[np.int64]

    @property
    def signature(self) -> tuple[int, ...]:
        """What the graph depends on; views with the same share it."""
        return (len(self.keys),)

    def resident(self) -> dict[str, NDArray[Any]]:
        """The arrays that stay on the device."""
        kept: dict[str, NDArray[Any]] = {}
        parts = range(0, len(self.keys), PART)
        for number, start in enumerate(parts):
            keys = self.keys[start : start + PART].astype(np.float32)
            spare = -len(keys) % RUN
            kept[f"keys{number}"] = np.pad(keys, ((0, spare), (0, 0))).T * np.float32(-2)
            kept[f"lengths{number}"] = np.pad(np.square(keys).sum(axis=1), (0, spare), constant_values=FAR)
        return kept | {"cell_of": np.pad(self.cells, (0, -len(self.cells) % RUN))}

    def working(self, rows: int) -> int:
        """Bytes of the distances of `rows` cells that are in memory at a time, about."""
        return 2 * 4 * rows * min(PART, len(self.keys))

    def add(self, graph: Graph, queries: str, resident: Mapping[str, str], *, rows: int, count: int) -> Found:
        """Add the search to a graph.

        Args:
            graph: the graph.
            queries: name of (cells, D) float32, the keys of a view.
            resident: names of the resident arrays.
            rows: number of cells of the view.
            count: T, the number of cells to find.
        """
        records = []
        for number, start in enumerate(range(0, len(self.keys), PART)):
            length = -(-min(PART, len(self.keys) - start) // RUN) * RUN
            products = graph.node("MatMul", queries, resident[f"keys{number}"])
            distances = graph.node("Add", products, resident[f"lengths{number}"])
            sets = graph.reshape(distances, 0, length // RUN, RUN)
            # The nearest `count` lie in as many sets: those with the smallest minima, of equal ones the first.
            minima = graph.node("ReduceMin", sets, axes=(2,), keepdims=0)
            numbered = _records(graph, minima, _counted(graph, length // RUN))
            chosen = _number(graph, _smallest(graph, numbered, min(count, length // RUN)))
            ones = graph.node("Unsqueeze", chosen, graph.constant(np.array([2], np.int64)))
            near = graph.node("GatherND", sets, ones, batch_dims=1)  # (cells, sets, RUN)
            first = graph.constant(np.array(start, np.int64))
            runs = graph.node("Add", graph.node("Mul", ones, graph.constant(np.array(RUN, np.int64))), first)
            numbers = graph.node("Add", runs, _counted(graph, RUN))
            found = _records(graph, near, numbers)
            records.append(graph.reshape(found, 0, -1))
        merged = graph.node("Concat", *records, axis=1) if len(records) > 1 else records[0]
        nearest = _smallest(graph, merged, min(count, len(self.keys)))
        numbers = _number(graph, nearest)
        # Those that only fill up the last set are as far as nothing else.
        known = graph.node("Less", _distance(graph, nearest), graph.constant(np.array(FAR // 2, np.int64)))
        cells = graph.node("Gather", resident["cell_of"], numbers)
        return _filled(graph, cells, known, rows=rows, count=count, most=len(self.keys))


@dataclass(frozen=True)
class ByPlace:
    """Candidates at about the same place.

    Attributes:
        search: the same search on the CPU, which holds the keys place by place.
        allowed: (N,) bool, the items that may be matched; None for all.
        first: number of the first cell of these items in the gallery.
        numbers: (N * cells,) int64, the numbers of the cells of these items in the gallery; None if they lie together.
    """

    search: PlaceSearch
    allowed: NDArray[np.bool_] | None
    first: int
    numbers: NDArray[np.int64] | None = None

    @property
    def signature(self) -> tuple[int, ...]:
        """What the graph depends on; views with the same share it."""
        return (self.search.keys.shape[2], int(self.search.copies is not None), int(self.numbers is not None))

    def resident(self) -> dict[str, NDArray[Any]]:
        """The arrays that stay on the device."""
        kept: dict[str, NDArray[Any]] = {
            "keys": self.search.keys.astype(np.float32) * np.float32(-2),
            "lengths": self.search.lengths(self.allowed),
            "first": np.array([self.first], np.int64),
        }
        if self.search.copies is not None:
            kept["copies"] = self.search.copies.ravel().astype(np.int64)
        if self.numbers is not None:
            kept["numbers"] = self.numbers
        return kept

    def working(self, rows: int) -> int:
        """As `Anywhere.working`: distances as float32 and as integers."""
        return (4 + 8 + 8) * rows * self.search.around.shape[1] * self.search.keys.shape[2]

    def add(self, graph: Graph, queries: str, resident: Mapping[str, str], *, rows: int, count: int) -> Found:
        """Add the search to a graph, as `Anywhere.add`."""
        (cells, slots), items = self.search.around.shape, self.search.keys.shape[2]
        few = min(count, items)
        seen = graph.node("Gather", queries, graph.constant(self.search.around), axis=0)  # (cells, slots, D)
        distances = graph.node("Add", graph.node("MatMul", seen, resident["keys"]), resident["lengths"])
        nearest = _smallest(graph, _records(graph, distances, _counted(graph, items)), few)
        # What place p found for the cell of the view in its slot j, as what that cell found at its place p.
        back = self.search.around[:, ::-1]
        answers = graph.constant((back * slots + np.arange(slots)).ravel())
        nearest = graph.reshape(graph.node("Gather", graph.reshape(nearest, cells * slots, few), answers), cells, -1)
        distance = _distance(graph, nearest)
        place = graph.constant(np.repeat(back, few, axis=1))
        numbers = graph.node(
            "Add", graph.node("Mul", _number(graph, nearest), graph.constant(np.array(cells, np.int64))), place
        )
        near = graph.node("Less", distance, graph.constant(np.array(FAR // 2, np.int64)))
        there = graph.constant(np.repeat(self.search.there[:, ::-1], few, axis=1))
        known = graph.node("And", near, there)
        if self.search.copies is not None:
            known = graph.node(
                "And", known, _new(graph, graph.node("Gather", resident["copies"], numbers), known, slots * few)
            )
        behind = graph.constant(np.array(LAST, np.int64))
        records = graph.node("Add", graph.node("Mul", distance, _power(graph)), numbers)
        records = _smallest(graph, graph.node("Where", known, records, behind), min(count, slots * few))
        known = graph.node("Less", records, behind)
        number = _number(graph, records)
        if self.numbers is not None:
            nothing = graph.constant(np.array(0, np.int64))
            number = graph.node("Gather", resident["numbers"], graph.node("Where", known, number, nothing))
        found = graph.node("Add", number, resident["first"])
        return _filled(graph, found, known, rows=rows, count=count, most=slots * few)


@dataclass(frozen=True)
class Both:
    """Candidates of one search, and behind them those of another among images that were taught in.

    Attributes:
        first, then: the searches.
        more: number of candidates of the second, on top of T of the first.
    """

    first: Anywhere | ByPlace
    then: Anywhere | ByPlace
    more: int

    @property
    def signature(self) -> tuple[int, ...]:
        """What the graph depends on; views with the same share it."""
        return (*self.first.signature, -1, *self.then.signature)

    def resident(self) -> dict[str, NDArray[Any]]:
        """The arrays that stay on the device."""
        return self.first.resident() | {f"taught_{name}": array for name, array in self.then.resident().items()}

    def working(self, rows: int) -> int:
        """As `Anywhere.working`."""
        return self.first.working(rows) + self.then.working(rows)

    def add(self, graph: Graph, queries: str, resident: Mapping[str, str], *, rows: int, count: int) -> Found:
        """Add both searches to a graph, as `Anywhere.add`; `count` is the number of all candidates."""
        own = {name.removeprefix("taught_"): value for name, value in resident.items() if name.startswith("taught_")}
        found = self.first.add(graph, queries, resident, rows=rows, count=count - self.more)
        more = self.then.add(graph, queries, own, rows=rows, count=self.more)
        return Found(
            cells=str(graph.node("Concat", found.cells, more.cells, axis=1)),
            known=str(graph.node("Concat", found.known, more.known, axis=1)),
        )


DeviceSearch: TypeAlias = Anywhere | ByPlace | Both


def _new(graph: Graph, copies: str, known: str, length: int) -> str:
    """Which of the cells that were found, `length` for each, are not the same as a known one before: bool."""
    earlier = graph.node("Unsqueeze", copies, graph.constant(np.array([1], np.int64)))
    later = graph.node("Unsqueeze", copies, graph.constant(np.array([2], np.int64)))
    same = graph.node("Cast", graph.node("Equal", later, earlier), to=FLOAT)  # (cells, later, earlier)
    counts = graph.node("Unsqueeze", graph.node("Cast", known, to=FLOAT), graph.constant(np.array([1], np.int64)))
    before = graph.constant(np.tri(length, k=-1, dtype=np.float32))  # (later, earlier)
    again = graph.node("ReduceMax", graph.node("Mul", graph.node("Mul", same, counts), before), axes=(2,), keepdims=0)
    return str(graph.node("Less", again, graph.constant(np.array(0.5, np.float32))))


def _records(graph: Graph, distances: str, numbers: str) -> str:
    """Records, distance << 32 | number, int64; `distances` are whole numbers in float32."""
    whole = graph.node("Cast", distances, to=INT64)
    return str(graph.node("Add", graph.node("Mul", whole, _power(graph)), numbers))


def _distance(graph: Graph, records: str) -> str:
    """The distances in records: rounded down, also below 0, where a division of integers would round up."""
    lifted = graph.node("Add", records, graph.constant(np.array(LIFT << 32, np.int64)))
    return str(graph.node("Sub", graph.node("Div", lifted, _power(graph)), graph.constant(np.array(LIFT, np.int64))))


def _number(graph: Graph, records: str) -> str:
    """The numbers in records."""
    return str(graph.node("Sub", records, graph.node("Mul", _distance(graph, records), _power(graph))))


def _power(graph: Graph) -> str:
    return graph.constant(np.array(1 << 32, np.int64))


def _counted(graph: Graph, count: int) -> str:
    return graph.constant(np.arange(count, dtype=np.int64))


def _smallest(graph: Graph, records: str, count: int) -> str:
    """The `count` smallest of the records along the last axis, in ascending order."""
    few = graph.constant(np.array([count], np.int64))
    values, _ = graph.node("TopK", records, few, results=2, axis=-1, largest=0, sorted=1)
    return str(values)


def _filled(graph: Graph, cells: str, known: str, *, rows: int, count: int, most: int) -> Found:
    """Fill up to `count` candidates where there can be no more than `most`."""
    missing = count - min(count, most)
    if missing:
        cells = graph.node("Concat", cells, graph.constant(np.zeros((rows, missing), np.int64)), axis=1)
        known = graph.node("Concat", known, graph.constant(np.zeros((rows, missing), bool)), axis=1)
    nothing = graph.constant(np.array(0, np.int64))
    return Found(cells=str(graph.node("Where", known, cells, nothing)), known=str(known))
