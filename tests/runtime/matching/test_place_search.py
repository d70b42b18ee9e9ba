"""Search by place against loops over all cells of all images."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.runtime.matching.entries import copies_of
from spade_edge.runtime.matching.place_search import PlaceSearch

Keys = NDArray[np.uint8]


def keys_of(count: int, grid: tuple[int, int], *, highest: int = 128, seed: int = 0, dimensions: int = 16) -> Keys:
    rng = np.random.default_rng(seed)
    return rng.integers(0, highest, (count * grid[0] * grid[1], dimensions), dtype=np.uint8)


def squares_of(keys: Keys) -> NDArray[np.float32]:
    """Squared lengths that are the same for equal keys only."""
    wide = keys.astype(np.float32)
    return np.stack([wide @ np.arange(1, wide.shape[1] + 1, dtype=np.float32), (wide**2).sum(axis=1)], axis=1)


def naive(
    keys: Keys, queries: Keys, grid: tuple[int, int], *, reach: int, allowed: NDArray[np.bool_]
) -> list[list[tuple[int, int]]]:
    """For each cell of a view all (distance, cell) that it may match, nearest first."""
    cells = grid[0] * grid[1]
    found = []
    for cell, query in enumerate(queries):
        row, column = divmod(cell, grid[1])
        near = []
        for number, key in enumerate(keys):
            image, there = divmod(number, cells)
            away = max(abs(there // grid[1] - row), abs(there % grid[1] - column))
            if allowed[image] and away <= reach:
                near.append((int(((key.astype(int) - query.astype(int)) ** 2).sum()), number))
        found.append(sorted(near))
    return found


@pytest.mark.parametrize("grid", [(4, 4), (2, 5), (1, 3), (1, 1)])
@pytest.mark.parametrize("reach", [0, 1, 2, 9])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_the_nearest_keys_around_a_place_are_found(grid: tuple[int, int], reach: int, count: int) -> None:
    keys, queries = keys_of(6, grid), keys_of(1, grid, seed=1)
    search = PlaceSearch(keys, squares_of(keys), grid=grid, reach=reach, threads=1)
    for allowed in (None, np.array([True, False, True, True, False, True])):
        found = search(queries, count=count, allowed=allowed)
        assert found.shape == (len(queries), count) and found.dtype == np.int64
        wanted = naive(keys, queries, grid, reach=reach, allowed=np.ones(6, bool) if allowed is None else allowed)
        for cell, expected in enumerate(wanted):
            few = expected[:count]
            distances = [
                int(((keys[number].astype(int) - queries[cell].astype(int)) ** 2).sum())
                for number in found[cell][: len(few)]
            ]
            assert distances == [distance for distance, _ in few]
            assert len(set(found[cell][: len(few)].tolist())) == len(few)
            assert {number for _, number in expected} >= set(found[cell][: len(few)].tolist())
            assert (found[cell][len(few) :] == -1).all()


def test_distances_are_whole_numbers_at_the_ends_of_the_range() -> None:
    keys = np.repeat(np.array([[0], [127], [126]], np.uint8), 64, axis=1)
    search = PlaceSearch(keys, squares_of(keys), grid=(1, 1), reach=0, threads=1)
    assert search(np.full((1, 64), 127, np.uint8), count=3).tolist() == [[1, 2, 0]]
    assert search(np.zeros((1, 64), np.uint8), count=3).tolist() == [[0, 2, 1]]


def test_images_that_may_not_be_matched_are_not_found_however_near() -> None:
    keys = np.full((2, 64), 127, np.uint8)  # the largest products there are
    keys[1] = 0
    for copies in (False, True):
        squares = np.zeros((2, 4), np.float32) if copies else squares_of(keys)
        search = PlaceSearch(keys, squares, grid=(1, 1), reach=1, threads=1)
        query = np.full((1, 64), 127, np.uint8)
        assert search(query, count=3, allowed=np.array([False, True])).tolist() == [[1, -1, -1]]
        assert search(query, count=3, allowed=np.array([False, False])).tolist() == [[-1, -1, -1]]
        assert search(query, count=3).tolist() == [[0, 1, -1]]  # and is as before


def test_one_image_is_enough() -> None:
    keys = keys_of(1, (3, 2))
    found = PlaceSearch(keys, squares_of(keys), grid=(3, 2), reach=1, threads=1)(keys, count=5)
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    wanted = naive(keys, keys, (3, 2), reach=1, allowed=np.ones(1, bool))
    assert [row[row >= 0].tolist() for row in found] == [[number for _, number in near[:5]] for near in wanted]


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_of_cells_that_are_the_same_one_is_found(reach: int) -> None:
    grid = (3, 4)
    keys = keys_of(8, grid, highest=2, dimensions=3)  # eight different keys at most
    queries = keys_of(1, grid, highest=2, seed=1, dimensions=3)
    search = PlaceSearch(keys, squares_of(keys), grid=grid, reach=reach, threads=1)
    for left_out in (None, 0, 5):
        allowed = np.arange(8) != left_out
        found = search(queries, count=6, allowed=None if left_out is None else allowed)
        for cell, expected in enumerate(naive(keys, queries, grid, reach=reach, allowed=allowed)):
            kinds: dict[bytes, int] = {}
            for distance, number in expected:
                kinds.setdefault(keys[number].tobytes(), distance)
            there = [number for number in found[cell].tolist() if number >= 0]
            assert len(there) == min(6, len(kinds))
            assert len({keys[number].tobytes() for number in there}) == len(there)
            assert all(allowed[number // 12] for number in there)
            distances = [int(((keys[n].astype(int) - queries[cell].astype(int)) ** 2).sum()) for n in there]
            assert distances == sorted(kinds.values())[:6]


def test_copies_have_the_same_key_and_the_same_lengths() -> None:
    keys = np.array([[1, 2], [1, 2], [1, 2], [3, 4], [1, 2]], np.uint8)
    squares = np.array([[1, 5], [1, 5], [1, 6], [1, 5], [1, 5]], np.float32)
    assert copies_of(keys, squares).tolist() == [0, 0, 2, 3, 0]
    assert copies_of(keys[:1], squares[:1]).tolist() == [0]
    assert copies_of(keys[:2], squares[:2]).tolist() == [0, 0]


def test_threads_do_not_change_a_cell() -> None:
    keys, queries = keys_of(30, (6, 6)), keys_of(1, (6, 6), seed=1)
    one, two = (
        PlaceSearch(keys, squares_of(keys), grid=(6, 6), reach=1, threads=threads)(queries, count=7)
        for threads in (1, 2)
    )
    assert np.array_equal(one, two)
