"""Graph search against hnswlib and brute force."""

from __future__ import annotations

import struct
from pathlib import Path

import hnswlib
import numpy as np
import pytest
from indexes import Keys, check_answer, clustered, true_distances, written_by_hnswlib
from numpy.typing import NDArray

from spade_edge.galleries.index_writer import write_index
from spade_edge.runtime import BundleError
from spade_edge.runtime.matching import graph_search as module
from spade_edge.runtime.matching.graph_search import EXHAUSTIVE, GraphSearch
from spade_edge.runtime.matching.hnsw import DIMENSIONS, HEADER, Index

Written = tuple[Path, Keys, Keys]

# Small indexes are searched exhaustively; 0 has the graph searched, however few its nodes.
both_ways = pytest.mark.parametrize("exhaustive", [0, EXHAUSTIVE], ids=["graph", "exhaustive"])


def search_over(keys: Keys, folder: Path, *, exhaustive: int = 0) -> GraphSearch:
    write_index(keys, folder / "i.hnsw")
    return GraphSearch(Index.read(folder / "i.hnsw"), threads=1, exhaustive=exhaustive)


@pytest.mark.parametrize("ef", [8, 16, 32])
def test_graph_search_is_as_good_as_hnswlibs(written: Written, ef: int) -> None:
    path, keys, queries = written
    theirs = hnswlib.Index(space="l2", dim=keys.shape[1])
    theirs.load_index(str(path))
    theirs.set_ef(ef)
    _, expected = theirs.knn_query(queries.astype(np.float32), k=8)
    answer = GraphSearch(Index.read(path), threads=1, exhaustive=0)(queries, count=8, ef=ef)
    check_answer(keys, queries, answer)
    assert (answer[0] >= 0).all()
    assert answer[1].mean() <= expected.mean() * 1.005 + 0.01


def test_graph_search_is_good_where_clusters_are_many_and_small(tmp_path: Path) -> None:
    keys, queries = clustered(6000, 64, centres=400), clustered(150, 64, seed=1, centres=400)
    _, distances = search_over(keys, tmp_path)(queries, count=8, ef=32)
    truth = np.sort(true_distances(keys, queries), axis=1)[:, :8]
    assert distances.mean() <= truth.mean() * 1.01
    assert (distances[:, 0] == truth[:, 0]).mean() > 0.97


@pytest.mark.parametrize("M", [2, 12, 48])
def test_an_index_that_hnswlib_wrote(tmp_path: Path, M: int) -> None:
    keys, queries = clustered(2000, 16), clustered(100, 16, seed=1)
    theirs = written_by_hnswlib(keys, tmp_path / "i.hnsw", M=M)
    search = GraphSearch(Index.read(tmp_path / "i.hnsw"), threads=1, exhaustive=0)
    for ef in (16, 64):
        theirs.set_ef(ef)
        _, expected = theirs.knn_query(queries.astype(np.float32), k=8)
        answer = search(queries, count=8, ef=ef)
        check_answer(keys, queries, answer)
        assert answer[1].mean() <= expected.mean() * 1.005 + 0.01


@pytest.mark.parametrize("dimensions", [3, 20, DIMENSIONS])
def test_a_list_as_long_as_the_index_finds_the_truth(tmp_path: Path, dimensions: int) -> None:
    keys, queries = clustered(400, dimensions), clustered(50, dimensions, seed=1)
    answer = search_over(keys, tmp_path)(queries, count=20, ef=400)
    check_answer(keys, queries, answer)
    assert np.array_equal(answer[1], np.sort(true_distances(keys, queries), axis=1)[:, :20])


@both_ways
def test_the_ends_of_the_range_do_not_overflow(exhaustive: int, tmp_path: Path) -> None:
    # The farthest that two keys can be, and keys among them.
    keys = np.repeat(np.array([0, 127], np.uint8), 100)[:, np.newaxis].repeat(DIMENSIONS, axis=1)
    keys[np.arange(200), np.arange(200) % DIMENSIONS] = np.arange(200) % 128
    queries = np.array([[0] * DIMENSIONS, [127] * DIMENSIONS, [0, 127] * (DIMENSIONS // 2)], np.uint8)
    search = search_over(keys, tmp_path, exhaustive=exhaustive)
    truth = np.sort(true_distances(keys, queries), axis=1)
    for allowed in (None, np.ones(200, bool)):
        answer = search(queries, count=200, ef=200, allowed=allowed)
        check_answer(keys, queries, answer)
        # Graph search may miss what few links lead to, as hnswlib's own does here.
        assert np.array_equal(answer[1][:2, :20], truth[:2, :20])
        if exhaustive:
            assert np.array_equal(answer[1], truth)


def permissions(kind: str, count: int) -> NDArray[np.bool_]:
    allowed = np.zeros(count, bool)
    if kind == "third":
        allowed = np.random.default_rng(2).random(count) < 0.3
    elif kind == "most":
        allowed = np.random.default_rng(3).random(count) < 0.98
    elif kind == "all":
        allowed[:] = True
    elif kind == "three":
        allowed[[5, count // 2, count - 1]] = True
    elif kind == "one":
        allowed[count // 3] = True
    return allowed


KINDS = ["third", "most", "all", "three", "one", "none"]


@pytest.mark.parametrize("sets", [module.SETS, 1, 62])
@pytest.mark.parametrize("kind", [None, *KINDS])
def test_up_to_few_nodes_the_answer_is_exact(
    written: Written, kind: str | None, sets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETS", sets)  # all nodes at once, a set at a time, some sets at a time
    path, keys, queries = written
    queries = queries[:150:15] if sets == 1 else queries
    allowed = None if kind is None else permissions(kind, 6000)
    there = np.arange(6000) if allowed is None else np.flatnonzero(allowed)
    assert len(there) <= EXHAUSTIVE
    answer = GraphSearch(Index.read(path), threads=1)(queries, count=5, ef=8, allowed=allowed)
    check_answer(keys, queries, answer)
    possible = min(5, len(there))
    assert ((answer[0] >= 0).sum(axis=1) == possible).all()
    assert np.isin(answer[0][:, :possible], there).all()
    truth = np.sort(true_distances(keys[there], queries), axis=1)[:, :5]
    assert np.array_equal(answer[1][:, :possible], truth)


@pytest.mark.parametrize("sets", [module.SETS, 1, 3])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_of_equally_near_nodes_the_first_are_found(
    threads: int, sets: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that exhaustive search finds the same cells wherever it runs."""
    monkeypatch.setattr(module, "SETS", sets)
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 3, (500, 4), dtype=np.uint8)  # 81 different keys at most
    write_index(keys, tmp_path / "i.hnsw", labels=np.arange(500)[::-1].astype(np.int64))
    index = Index.read(tmp_path / "i.hnsw")
    search = GraphSearch(index, threads=threads, exhaustive=10**9)
    for count, queries in ((1, 7), (6, 7), (6, 130), (70, 7)):  # many queries are shared by threads
        asked = rng.integers(0, 3, (queries, 4), dtype=np.uint8)
        for allowed in (None, permissions("third", 500), permissions("three", 500)):
            nodes = np.arange(500) if allowed is None else np.flatnonzero(allowed[index.labels])
            labels, _ = search(asked, count=count, ef=count, allowed=allowed)
            for row, distances in zip(labels, true_distances(index.keys[nodes], asked), strict=True):
                first = nodes[np.lexsort((nodes, distances))[:count]]
                assert row[: len(first)].tolist() == index.labels[first].tolist()
                assert (row[len(first) :] == -1).all()


class Counted(GraphSearch):
    """Counts searches of the graph, and finds nothing in it."""

    searched = 0

    def _search_graph(self, queries: Keys, ef: int, permitted: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        self.searched += 1
        return np.full((len(queries), ef), module.NOTHING)


@pytest.mark.parametrize(
    ("exhaustive", "allowed", "graph"),
    [(100, 100, False), (100, 149, False), (100, 150, True), (100, None, True), (60, 120, False), (60, 121, True)],
)
def test_rarely_allowed_nodes_are_searched_exhaustively_a_little_longer(
    tmp_path: Path, exhaustive: int, allowed: int | None, graph: bool
) -> None:
    write_index(clustered(600, 4), tmp_path / "i.hnsw")
    search = Counted(Index.read(tmp_path / "i.hnsw"), threads=1, exhaustive=exhaustive)
    search(clustered(9, 4), count=3, ef=8, allowed=None if allowed is None else np.arange(600) < allowed)
    assert search.searched == graph


@pytest.mark.parametrize("kind", KINDS)
def test_graph_search_with_a_filter_finds_only_what_is_allowed(written: Written, kind: str) -> None:
    path, keys, queries = written
    allowed = permissions(kind, 6000)
    answer = GraphSearch(Index.read(path), threads=1, exhaustive=0)(queries, count=5, ef=64, allowed=allowed)
    check_answer(keys, queries, answer)
    labels, distances = answer
    assert allowed[labels[labels >= 0]].all()
    assert ((labels >= 0).sum(axis=1) <= allowed.sum()).all()
    if allowed.sum() > 1000:
        assert (labels >= 0).all()
        truth = np.sort(true_distances(keys[allowed], queries), axis=1)[:, :5]
        assert distances.mean() <= truth.mean() * 1.01
        assert (distances == truth).mean() > 0.9


def test_a_forbidden_key_never_comes_before_an_allowed_one_that_is_far(tmp_path: Path) -> None:
    keys = np.full((300, DIMENSIONS), 127, np.uint8)
    keys[:, :4] -= np.random.default_rng(0).integers(0, 60, (300, 4), dtype=np.uint8)
    allowed = np.arange(300) % 50 == 0
    answer = search_over(keys, tmp_path)(keys[:20], count=6, ef=300, allowed=allowed)
    check_answer(keys, keys[:20], answer)
    labels, distances = answer
    assert allowed[labels[labels >= 0]].all()
    truth = np.sort(true_distances(keys[allowed], keys[:20]), axis=1)
    assert (distances[:, 0] == truth[:, 0]).mean() > 0.8


@both_ways
@pytest.mark.parametrize("count", [1, 2, 7, 17])
def test_tiny_indexes(exhaustive: int, tmp_path: Path, count: int) -> None:
    keys = clustered(count, 5)
    search = search_over(keys, tmp_path, exhaustive=exhaustive)
    answer = search(keys, count=1, ef=4)
    check_answer(keys, keys, answer)
    assert answer[0][:, 0].tolist() == list(range(count))
    assert (answer[1] == 0).all()
    for allowed in (None, np.ones(count, bool)):
        answer = search(keys[:1], count=30, ef=4, allowed=allowed)  # more than there are
        check_answer(keys, keys[:1], answer)
        assert answer[0].shape == (1, 30)
        assert answer[0][0, 0] == 0
        if exhaustive:  # graph search may miss what is far
            assert sorted(answer[0][0].tolist()) == [-1] * (30 - count) + list(range(count))


@both_ways
def test_what_is_not_found_is_far(exhaustive: int, tmp_path: Path) -> None:
    keys = np.array([[0] * DIMENSIONS, [127] * DIMENSIONS], np.uint8)
    labels, distances = search_over(keys, tmp_path, exhaustive=exhaustive)(keys, count=4, ef=8)
    assert labels.tolist() == [[0, 1, -1, -1], [1, 0, -1, -1]]
    assert (distances[:, 2:] > 127**2 * DIMENSIONS).all()


@both_ways
def test_keys_that_are_all_equal(exhaustive: int, tmp_path: Path) -> None:
    keys = np.full((500, 16), 64, np.uint8)
    queries = np.array([[64] * 16, [0] * 16, [127] * 16], np.uint8)
    answer = search_over(keys, tmp_path, exhaustive=exhaustive)(queries, count=8, ef=32)
    check_answer(keys, queries, answer)
    assert (answer[0] >= 0).all()
    assert answer[1].tolist() == [[0] * 8, [16 * 64**2] * 8, [16 * 63**2] * 8]


@both_ways
def test_keys_of_which_many_are_equal(exhaustive: int, tmp_path: Path) -> None:
    few = clustered(12, 16, seed=5, centres=12)
    keys = few[np.random.default_rng(6).integers(0, 12, 1200)]
    search = search_over(keys, tmp_path, exhaustive=exhaustive)
    answer = search(few, count=8, ef=32)
    check_answer(keys, few, answer)
    assert (answer[0] >= 0).all()
    allowed = np.random.default_rng(7).random(1200) < 0.5
    labels, distances = search(few, count=8, ef=32, allowed=allowed)
    check_answer(keys, few, (labels, distances))
    assert (distances == 0).all() and allowed[labels].all()


@both_ways
def test_threads_do_not_change_the_answer(exhaustive: int, written: Written) -> None:
    path, _, queries = written
    allowed = permissions("third", 6000)
    one, two = (GraphSearch(Index.read(path), threads=threads, exhaustive=exhaustive) for threads in (1, 2))
    for allow in (None, allowed):
        for a, b in zip(
            one(queries, count=6, ef=20, allowed=allow), two(queries, count=6, ef=20, allowed=allow), strict=True
        ):
            assert np.array_equal(a, b)


@both_ways
def test_a_query_is_answered_the_same_wherever_it_stands_in_its_view(exhaustive: int, written: Written) -> None:
    path, _, queries = written
    search = GraphSearch(Index.read(path), threads=1, exhaustive=exhaustive)
    order = np.random.default_rng(8).permutation(150)
    for allowed in (None, permissions("most", 6000)):
        labels, distances = search(queries, count=6, ef=16, allowed=allowed)
        for found, wanted in zip(
            search(queries[order], count=6, ef=16, allowed=allowed), (labels, distances), strict=True
        ):
            assert np.array_equal(found, wanted[order])


@pytest.mark.parametrize("count", [1, 12, 13, 40])
def test_the_queries_of_a_view_that_are_farthest_are_compared_with_every_key(
    written: Written, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph gives far answers here, as it does where a query ends in the wrong place; the farthest are revised."""
    path, keys, queries = written
    queries, truth = queries[:count], np.sort(true_distances(keys, queries[:count]), axis=1)[:, :5]
    wrong = true_distances(keys, queries).argsort(axis=1)[:, 2000:2032]
    search = GraphSearch(Index.read(path), threads=1, exhaustive=0)
    nodes = np.argsort(search.index.labels)[wrong]
    lost = module.squares_of_keys(queries)[:, np.newaxis].astype(np.int64)
    records = np.take_along_axis(true_distances(keys, queries), wrong, axis=1) - lost << 32 | nodes << 1 | 1
    monkeypatch.setattr(search, "_search_graph", lambda *_: records.copy())
    answer = search(queries, count=5, ef=32)
    check_answer(keys, queries, answer)
    exact = (answer[1] == truth).all(axis=1)
    farthest = np.argsort(-(records[:, 0] >> 32) - lost[:, 0], kind="stable")[: -(-count // module.REVISED)]
    assert sorted(np.flatnonzero(exact)) == sorted(farthest)


@pytest.mark.parametrize("ef", [1, 3, 7, 9])
def test_short_lists(written: Written, ef: int) -> None:
    path, keys, queries = written
    search = GraphSearch(Index.read(path), threads=1, exhaustive=0)
    answer = search(queries, count=1, ef=ef)
    check_answer(keys, queries, answer)
    assert (answer[0] >= 0).all()
    longer = search(queries, count=12, ef=ef)  # ef is raised to the count
    check_answer(keys, queries, longer)
    assert (longer[0] >= 0).all()
    assert np.array_equal(longer[1], search(queries, count=12, ef=12)[1])


@both_ways
def test_queries_keep_their_contents_and_may_have_any_strides(exhaustive: int, written: Written) -> None:
    path, _, queries = written
    search = GraphSearch(Index.read(path), threads=1, exhaustive=exhaustive)
    before = queries.copy()
    expected = search(queries, count=4, ef=16)
    assert np.array_equal(queries, before)
    for strided in (np.asfortranarray(queries), np.repeat(queries, 2, axis=1)[:, ::2]):
        for found, wanted in zip(search(strided, count=4, ef=16), expected, strict=True):
            assert np.array_equal(found, wanted)
    assert all(np.array_equal(a, b) for a, b in zip(search(queries, count=4, ef=16), expected, strict=True))


def test_seeds_that_fill_more_than_one_part_are_all_looked_at(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, queries = written
    index = Index.read(path)
    monkeypatch.setattr(module, "BLOCK", 16)  # as if there were 128 seeds to a part
    starts = GraphSearch(index, threads=1)._starts(queries)
    assert starts.shape == (150, 8 * -(-len(index.seeds) // 128))
    truth = true_distances(index.keys[index.seeds], queries)
    for row, query, distances in zip(starts, queries.astype(np.int64), truth, strict=True):
        nodes = row[row != module.NOTHING] >> 1 & 0x7FFFFFFF
        assert set(nodes.tolist()) <= set(index.seeds.tolist())
        assert index.seeds[distances.argmin()] in nodes or distances.min() in ((index.keys[nodes] - query) ** 2).sum(1)


def test_more_links_than_a_block_are_searched_rightly_or_refused(tmp_path: Path) -> None:
    # Every key is linked to the 1,400 after it; hnswlib would write such a file with M = 700.
    count, links = 1500, 1400
    keys, queries = clustered(count, 6), clustered(40, 6, seed=1)
    vector_at = 4 + 4 * links
    label_at = vector_at + 4 * 6
    raw = [HEADER.pack(0, count, count, label_at + 8, label_at, vector_at, 0, 0, links // 2, links, links // 2, 1, 9)]
    for node, key in enumerate(keys.tolist()):
        others = ((node + 1 + np.arange(links)) % count).tolist()
        raw.append(struct.pack(f"<HH{links}I6fQ", links, 0, *others, *key, node))
    (tmp_path / "i.hnsw").write_bytes(b"".join(raw) + bytes(4 * count))
    try:
        index = Index.read(tmp_path / "i.hnsw")
    except BundleError:
        return
    answer = GraphSearch(index, threads=1, exhaustive=0)(queries, count=8, ef=32)
    check_answer(keys, queries, answer)
    assert np.array_equal(answer[1], np.sort(true_distances(keys, queries), axis=1)[:, :8])


@pytest.mark.parametrize("count", [1, 5, 40])
def test_equal_nodes_that_are_not_allowed_do_not_hide_the_rest(tmp_path: Path, count: int) -> None:
    """An image with an even background has hundreds of equal cells, which leave-one-out excludes all at once."""
    keys = clustered(3000, 16)
    keys[:900] = keys[0]
    allowed = np.arange(3000) >= 900
    queries = np.concatenate([keys[:1], keys[:1] // 2 + 20, clustered(20, 16, seed=1)])
    labels, distances = search_over(keys, tmp_path)(queries, count=count, ef=32, allowed=allowed)
    truth = true_distances(keys[900:], queries)
    assert (labels >= 900).all() and (distances[0] == np.sort(truth[0])[:count]).all()
    few = np.zeros(3000, bool)
    few[[1000, 2000]] = True
    labels, _ = search_over(keys, tmp_path)(queries, count=count, ef=32, allowed=few)
    assert all(set(row[row >= 0]) <= {1000, 2000} and (row >= 0).sum() == min(count, 2) for row in labels)
