"""Entries that stand for many cells: against loops, and in searches of surfaces that are mostly flat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from indexes import Keys, clustered
from numpy.typing import NDArray

from spade_edge.galleries.index_writer import write_index
from spade_edge.runtime.matching import graph_search as module
from spade_edge.runtime.matching.entries import Members, belong_together, entries_of, variants_of
from spade_edge.runtime.matching.graph_search import GraphSearch
from spade_edge.runtime.matching.hnsw import Index


def some_keys() -> tuple[Keys, NDArray[np.bool_]]:
    """Sixty cells with nine keys; every fourth cell is excluded."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 3, (60, 2), dtype=np.uint8), np.arange(60) % 4 > 0


def test_the_first_included_cell_with_a_key_stands_for_all() -> None:
    keys, included = some_keys()
    first: dict[tuple[int, ...], int] = {}
    for cell, key in enumerate(keys.tolist()):
        if included[cell]:
            first.setdefault(tuple(key), cell)
    expected = [first[tuple(key)] if included[cell] else -1 for cell, key in enumerate(keys.tolist())]
    entries = entries_of(keys, included)
    assert entries.dtype == np.int32 and entries.tolist() == expected
    assert entries_of(keys[:, ::-1], included).tolist() == expected
    assert entries_of(keys, np.zeros(60, bool)).tolist() == [-1] * 60


def some_cells() -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The entries of these cells, and the lengths of embeddings: of cells with one key some are the same."""
    keys, included = some_keys()
    return entries_of(keys, included), np.random.default_rng(1).integers(0, 3, (60, 1)).astype(np.float32).repeat(4, 1)


def test_cells_with_one_key_and_the_same_embeddings_are_the_same() -> None:
    entries, squares = some_cells()
    first: dict[tuple[float, ...], int] = {}
    expected = []
    for cell, (entry, lengths) in enumerate(zip(entries.tolist(), squares.tolist(), strict=True)):
        expected.append(-1 if entry < 0 else first.setdefault((entry, *lengths), cell))
    variants = variants_of(entries, squares)
    assert variants.dtype == np.int32 and variants.tolist() == expected
    assert len(set(entries)) < len(set(expected)) < 46
    each = np.arange(60, dtype=np.int32)
    assert np.array_equal(variants_of(each, squares), each)


@pytest.mark.parametrize("few", [False, True], ids=["all", "some"])
@pytest.mark.parametrize("wanted", [1, 4, 9, 30])
def test_the_cells_of_the_nearest_entries_fill_the_list(few: bool, wanted: int) -> None:
    entries, squares = some_cells()
    variants = variants_of(entries, squares)
    allowed = (entries >= 0) & (np.arange(60) > 12) if few else None
    members = Members.of(entries, variants, allowed=allowed)
    rng = np.random.default_rng(2)
    known = np.flatnonzero(members.counts)
    assert set(known) == set(entries[(entries >= 0) if allowed is None else allowed])
    labels = np.full((7, wanted), -1)
    for row in range(6):  # the last has none
        some = rng.permutation(known)[: rng.integers(1, 10)][:wanted]
        labels[row, : len(some)] = some
    expected = np.full((7, wanted), -1)
    for row in range(7):
        cells: list[int] = []
        for label in labels[row][labels[row] >= 0]:
            seen = set()
            for variant in sorted(set(variants[entries == label])):
                same = [c for c in range(60) if variants[c] == variant and (allowed is None or allowed[c])]
                if same and variant not in seen:
                    seen.add(variant)
                    cells.append(min(same))
        expected[row, : len(cells[:wanted])] = cells[:wanted]
    assert np.array_equal(members(labels), expected)
    if few:  # an entry that may not be found itself stands for a cell that may
        assert any(label <= 12 for label in known) and members.cells.min() > 12
        nobody = Members.of(entries, variants, allowed=np.zeros(60, bool))
        assert not nobody.counts.any()


def test_entries_belong_to_an_index_with_each_of_their_labels_once() -> None:
    keys, included = some_keys()
    entries = entries_of(keys, included)
    labels = np.unique(entries[included]).astype(np.int64)[::-1]
    assert belong_together(entries, labels, included)
    assert not belong_together(entries, labels[1:], included)
    assert not belong_together(entries, np.append(labels, 4), included)
    assert not belong_together(entries, labels, np.ones(60, bool))
    beyond = np.where(entries == labels[0], 60, entries).astype(np.int32)  # a cell that is not there, on both sides
    assert not belong_together(beyond, np.append(labels[1:], 60), included)
    for cell, value in ((0, 5), (1, -1), (1, 60), (1, 2**31 - 1), (1, -(2**31)), (int(labels[0]), int(labels[1]))):
        altered = entries.copy()
        altered[cell] = value
        assert not belong_together(altered, labels, included)


def mostly_white(rng: np.random.Generator, count: int) -> Keys:
    """Three quarters of the cells have one of four keys, as a background has; the rest is varied."""
    keys = clustered(count, 64, seed=int(rng.integers(1000)), centres=300)
    white = rng.random(count) < 0.76
    keys[white] = clustered(4, 64, seed=5)[rng.integers(0, 4, int(white.sum()))]
    return keys


def noisy(rng: np.random.Generator, count: int) -> Keys:
    """One level with noise along few directions, rounded: near copies without end."""
    directions = np.random.default_rng(6).normal(0, 1.2, (8, 64))
    return np.clip(np.rint(64 + rng.normal(0, 1, (count, 8)) @ directions), 0, 127).astype(np.uint8)


def binarised(rng: np.random.Generator, count: int) -> Keys:
    """Four quarters, each of which has one of few patterns: many copies, and large gaps between the others."""
    patterns = np.random.default_rng(7).integers(20, 108, (4, 40, 16), dtype=np.uint8)
    chosen = np.minimum(rng.geometric(0.12, (count, 4)) - 1, 39)
    return np.concatenate([patterns[quarter, chosen[:, quarter]] for quarter in range(4)], axis=1)


KINDS = {"mostly white": (mostly_white, 40_000), "noisy": (noisy, 18_000), "binarised": (binarised, 20_000)}
Flat = tuple[Keys, NDArray[np.int32], Index]


@pytest.fixture(scope="module", params=KINDS)
def flat(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Flat:
    """Keys of cells, their entries and the index."""
    make, count = KINDS[request.param]
    keys = make(np.random.default_rng(1), count)
    entries = entries_of(keys, np.ones(count, bool))
    labels = np.unique(entries).astype(np.int64)
    path = tmp_path_factory.mktemp("flat") / "i.hnsw"
    write_index(keys[labels], path, labels=labels)
    return keys, entries, Index.read(path)


def queries_of(keys: Keys, seed: int) -> Keys:
    """A view: cells like those of the gallery, a few of which are damaged."""
    rng = np.random.default_rng(seed)
    chosen = keys[rng.integers(0, len(keys), 196)].astype(int)
    moved = chosen + rng.integers(-1, 2, chosen.shape)
    moved[::20] += rng.integers(-9, 10, moved[::20].shape)
    return np.clip(moved, 0, 127).astype(np.uint8)


def true_records(keys: Keys, queries: Keys) -> NDArray[np.int64]:
    """(Q, n) squared distances of every query to every key."""
    wide, seen = keys.astype(np.float32), queries.astype(np.float32)  # no sum exceeds 2^24, so all are exact
    table = (wide**2).sum(axis=1) - 2 * (seen @ wide.T) + (seen**2).sum(axis=1)[:, np.newaxis]
    return table.astype(np.int64)


def part_of(kind: str, count: int) -> NDArray[np.bool_] | None:
    """Cells that may be found: all; all but those of an image, as in leave-one-out; a third."""
    if kind == "all":
        return None
    if kind == "all but one image":
        return np.arange(count) >= 196
    return np.random.default_rng(2).random(count) < 1 / 3


@pytest.mark.parametrize("kind", ["all", "all but one image", "a third"])
def test_the_graph_finds_the_nearest_cell_of_flat_surfaces(flat: Flat, kind: str) -> None:
    keys, entries, index = flat
    search = GraphSearch(index, threads=1, exhaustive=0)
    allowed = part_of(kind, len(keys))
    members = Members.of(entries, np.where(entries >= 0, np.arange(len(entries)), -1).astype(np.int32), allowed=allowed)
    right, far, total, truth_total = 0, [], 0.0, 0.0
    for seed in range(2):
        queries = queries_of(keys, seed)
        labels, distances = search(queries, count=12, ef=32, allowed=None if allowed is None else members.counts > 0)
        cells = members(labels)
        every = true_records(keys, queries)
        if allowed is not None:
            every[:, ~allowed] = np.iinfo(np.int64).max
            assert allowed[cells[cells >= 0]].all()
        truth = every.min(axis=1)
        assert np.array_equal(np.take_along_axis(every, cells[:, :1], axis=1)[:, 0], distances[:, 0])
        right += int((distances[:, 0] == truth).sum())
        far.append((distances[:, 0].max(), truth.max()))
        total, truth_total = total + float(distances[:, 0].sum()), truth_total + float(truth.sum())
    assert right >= 0.98 * 2 * 196
    assert total <= 1.02 * truth_total
    assert all(found == best for found, best in far)  # the cell that decides a score


def test_copies_as_nodes_of_their_own_would_hide_the_rest(tmp_path: Path) -> None:
    """What entries are for. The same keys, each copy in the graph: too few are found."""
    keys = mostly_white(np.random.default_rng(1), 12_000)
    write_index(keys, tmp_path / "i.hnsw")
    search = GraphSearch(Index.read(tmp_path / "i.hnsw"), threads=1, exhaustive=0)
    queries = queries_of(keys, 0)
    found = search._search_graph(queries, 32, None)[:, 0] >> 32
    truth = true_records(keys, queries).min(axis=1) - module.squares_of_keys(queries)
    assert (found == truth).mean() < 0.95
