"""Searches as parts of a graph against sorted lists of all cells, and against the search by place on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_kernels import left_to_the_cpu
from numpy.typing import NDArray

from spade_edge.runtime.kernels.device_kernel import DeviceKernel
from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.matching import device_search as module
from spade_edge.runtime.matching.device_search import Anywhere, ByPlace
from spade_edge.runtime.matching.place_search import PlaceSearch

Keys = NDArray[np.uint8]


def graph_of(search: Anywhere | ByPlace, resident: dict[str, NDArray[Any]], queries: Keys, count: int) -> Graph:
    graph = Graph()
    names = {name: graph.input(name, array.dtype, array.shape) for name, array in resident.items()}
    given = graph.input("queries", np.float32, queries.shape)
    found = search.add(graph, given, names, rows=len(queries), count=count)
    graph.output("cells", found.cells, np.int64)
    graph.output("known", found.known, np.bool_)
    return graph


def cells_of(search: Anywhere | ByPlace, queries: Keys, count: int) -> NDArray[np.int64]:
    """What a search finds: (cells, count), -1 for none."""
    resident = search.resident()
    kernel = DeviceKernel(graph_of(search, resident, queries, count), threads=1)
    cells, known = (value.numpy() for value in kernel(queries=queries.astype(np.float32), **resident))
    assert cells.shape == known.shape == (len(queries), count)
    assert (cells[~known] == 0).all()
    return np.where(known, cells, -1)


def distances_of(keys: Keys, queries: Keys) -> NDArray[np.int64]:
    """(Q, n) squared distances."""
    return np.array([((keys.astype(np.int64) - query) ** 2).sum(axis=1) for query in queries])


def nearest(keys: Keys, numbers: NDArray[np.int64], queries: Keys, count: int) -> NDArray[np.int64]:
    """The numbers of the nearest keys, of equally near ones the first; -1 where there are fewer."""
    found = np.full((len(queries), count), -1, np.int64)
    for row, distances in zip(found, distances_of(keys, queries), strict=True):
        order = np.lexsort((np.arange(len(keys)), distances))[:count]
        row[: len(order)] = numbers[order]
    return found


def random_keys(count: int, dimensions: int, *, highest: int = 128, seed: int = 0) -> Keys:
    return np.random.default_rng(seed).integers(0, highest, (count, dimensions), dtype=np.uint8)


@pytest.mark.parametrize("highest", [128, 3], ids=["spread", "mostly equal"])
@pytest.mark.parametrize(("part", "run"), [(1 << 16, 64), (1 << 16, 4), (64, 64), (16, 8)])
def test_the_nearest_keys_are_found_and_of_equally_near_ones_the_first(
    highest: int, part: int, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART", part)
    monkeypatch.setattr(module, "RUN", run)
    queries = random_keys(9, 6, highest=highest, seed=1)
    for number in (1, 5, 64, 65, 300):
        keys = random_keys(number, 6, highest=highest)
        cells = np.random.default_rng(2).permutation(1000)[:number]
        for count in (1, 12, 70):
            found = cells_of(Anywhere(keys, cells), queries, count)
            assert np.array_equal(found, nearest(keys, cells, queries, count))


def test_distances_are_exact_at_the_ends_of_the_range() -> None:
    # The farthest that two keys can be, and one number of 64 that makes the difference.
    keys = np.repeat(np.array([0, 127], np.uint8), 40)[:, np.newaxis].repeat(64, axis=1)
    keys[np.arange(80), np.arange(80) % 64] ^= 1
    queries = np.array([[0] * 64, [127] * 64, [0, 127] * 32], np.uint8)
    cells = np.arange(80)
    assert np.array_equal(cells_of(Anywhere(keys, cells), queries, 80), nearest(keys, cells, queries, 80))


def test_views_with_as_many_keys_share_a_graph() -> None:
    one, other = (Anywhere(random_keys(70, 6, seed=seed), np.arange(70)) for seed in (3, 4))
    assert one.signature == other.signature != Anywhere(random_keys(71, 6), np.arange(71)).signature
    queries = random_keys(5, 6, seed=5)
    kernel = DeviceKernel(graph_of(one, one.resident(), queries, 4), threads=1)
    for search in (one, other):
        (cells, _) = kernel(queries=queries.astype(np.float32), **search.resident())
        assert np.array_equal(cells.numpy(), nearest(search.keys, search.cells, queries, 4))


def squares_of(keys: Keys) -> NDArray[np.float32]:
    """Lengths that are the same for equal keys only."""
    wide = keys.astype(np.float32)
    return np.stack([wide @ np.arange(1, wide.shape[1] + 1, dtype=np.float32), (wide**2).sum(axis=1)], axis=1)


GRIDS = [(4, 4), (2, 5), (1, 1)]
NO_COPIES, COPIES = 128, 2  # how many values a number of a key may have


def place_search(keys: Keys, grid: tuple[int, int], reach: int, *, apart: bool = False) -> PlaceSearch:
    """A search over keys; `apart`: no two cells are the same, however alike their keys."""
    squares = np.arange(len(keys), dtype=np.float32)[:, np.newaxis] if apart else squares_of(keys)
    return PlaceSearch(keys, squares, grid=grid, reach=reach, threads=1)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("reach", [0, 1, 9])
def test_by_place_the_nearest_keys_around_are_found(grid: tuple[int, int], reach: int) -> None:
    cells, allowed = grid[0] * grid[1], np.array([True, False, True, True, True])
    queries = random_keys(cells, 3, highest=3, seed=1)
    for images, count in ((1, 3), (5, 1), (5, 5), (5, 40)):
        keys = random_keys(images * cells, 3, highest=3)  # many are equally near
        search = place_search(keys, grid, reach, apart=True)
        for permitted in (None, allowed[:images]):
            found = cells_of(ByPlace(search, permitted, first=700), queries, count)
            for cell, query in enumerate(queries):
                row, column = divmod(cell, grid[1])
                image, there = np.divmod(np.arange(len(keys)), cells)
                away = np.maximum(abs(there // grid[1] - row), abs(there % grid[1] - column))
                possible = np.flatnonzero((away <= reach) & (True if permitted is None else permitted[image]))
                wanted = nearest(keys[possible], possible + 700, query[np.newaxis], count)
                assert np.array_equal(found[cell], wanted[0])


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("reach", [0, 1, 9])
@pytest.mark.parametrize("highest", [NO_COPIES, COPIES])
def test_by_place_the_same_cells_are_found_as_on_the_cpu(grid: tuple[int, int], reach: int, highest: int) -> None:
    cells = grid[0] * grid[1]
    keys, queries = random_keys(7 * cells, 3, highest=highest), random_keys(cells, 3, highest=highest, seed=1)
    search = place_search(keys, grid, reach)
    assert (search.copies is not None) == (highest == COPIES)
    for allowed in (None, np.arange(7) != 0, np.arange(7) == 3):
        for count in (1, 6, 50):
            found = cells_of(ByPlace(search, allowed, first=0), queries, count)
            assert np.array_equal(found, search(queries, count=count, allowed=allowed))


def test_by_place_an_image_that_may_not_be_matched_is_not_found_however_near() -> None:
    keys = np.full((2, 64), 127, np.uint8)  # the largest products there are
    keys[1] = 0
    query = np.full((1, 64), 127, np.uint8)
    search = place_search(keys, (1, 1), 1)
    assert cells_of(ByPlace(search, np.array([False, True]), first=0), query, 3).tolist() == [[1, -1, -1]]
    assert cells_of(ByPlace(search, None, first=0), query, 3).tolist() == [[0, 1, -1]]


def test_cuda_runs_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 64)
    keys, queries = random_keys(6 * 16, 3, highest=COPIES), random_keys(16, 3)
    searches: list[Anywhere | ByPlace] = [Anywhere(keys, np.arange(96))]
    searches += [ByPlace(place_search(keys, (4, 4), 1, apart=apart), None, first=0) for apart in (False, True)]
    for search in searches:
        for count in (5, 100):
            assert left_to_the_cpu(graph_of(search, search.resident(), queries, count)) == []
