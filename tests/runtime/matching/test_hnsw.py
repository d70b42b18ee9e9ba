"""The index reader and the walk against hnswlib and brute force, and against files that lie."""

from __future__ import annotations

import struct
from pathlib import Path

import hnswlib
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries.index_writer import index_bytes, write_index
from spade_edge.runtime import BundleError
from spade_edge.runtime.matching import graph_search as module
from spade_edge.runtime.matching import hnsw
from spade_edge.runtime.matching.graph_search import FEW, GraphSearch
from spade_edge.runtime.matching.hnsw import DIMENSIONS, HEADER, Index

Keys = NDArray[np.uint8]


def clustered(count: int, dimensions: int, seed: int = 0, *, centres: int = 40) -> Keys:
    middle = np.random.default_rng(99).uniform(20, 107, (centres, dimensions))
    rng = np.random.default_rng(seed)
    keys = middle[rng.integers(0, centres, count)] + rng.normal(0, 6, (count, dimensions))
    return np.clip(np.rint(keys), 0, 127).astype(np.uint8)


def written_by_hnswlib(keys: Keys, path: Path, *, M: int, ef_construction: int = 100) -> hnswlib.Index:
    index = hnswlib.Index(space="l2", dim=keys.shape[1])
    index.init_index(max_elements=len(keys) + 7, M=M, ef_construction=ef_construction, random_seed=1)
    index.add_items(keys.astype(np.float32), np.arange(len(keys)), num_threads=1)
    index.save_index(str(path))
    return index


def walk_over(keys: Keys, folder: Path, *, threads: int | None = 1) -> GraphSearch:
    write_index(keys, folder / "i.hnsw")
    return GraphSearch(Index.read(folder / "i.hnsw"), threads=threads)


def true_distances(keys: Keys, queries: Keys) -> NDArray[np.int64]:
    """(Q, n), every query to every key."""
    return np.array([((keys.astype(np.int64) - query) ** 2).sum(axis=1) for query in queries])


def check_answer(keys: Keys, queries: Keys, answer: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
    """What holds of every answer, however good: true whole distances, nearest first, no label twice, -1 at the end."""
    labels, distances = answer
    assert labels.dtype == distances.dtype == np.int64
    assert labels.shape == distances.shape
    assert len(labels) == len(queries)
    for query, row, found in zip(queries.astype(np.int64), labels, distances, strict=True):
        known = row >= 0
        assert (row[~known] == -1).all()
        assert (np.diff(known.astype(int)) <= 0).all()
        assert len(set(row[known].tolist())) == known.sum()
        assert np.array_equal(((keys[row[known]] - query) ** 2).sum(axis=1), found[known])
        assert (np.diff(found) >= 0).all()


Written = tuple[Path, Keys, Keys]


@pytest.fixture
def walking(monkeypatch: pytest.MonkeyPatch) -> None:
    """GraphSearch in the graph, however few nodes it has."""
    monkeypatch.setattr(module, "FEW", 0)


@pytest.fixture(params=["walking", "looking at each"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to search; small indexes are looked through node by node unless told otherwise."""
    if request.param == "walking":
        monkeypatch.setattr(module, "FEW", 0)


walks = pytest.mark.usefixtures("walking")
both_ways = pytest.mark.usefixtures("either")


@pytest.fixture(scope="module", params=[24, 64])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    keys, queries = clustered(6000, request.param), clustered(150, request.param, seed=1)
    path = tmp_path_factory.mktemp("index") / "i.hnsw"
    write_index(keys, path)
    return path, keys, queries


def test_what_was_written_is_read(written: Written) -> None:
    path, keys, _ = written
    index = Index.read(path)
    assert len(index) == 6000
    assert index.keys.dtype == np.uint8
    assert np.array_equal(index.keys[np.argsort(index.labels)], keys)
    size = path.stat().st_size
    assert abs(index_bytes(6000, keys.shape[1]) - size) < 0.01 * size
    assert 100 < len(index.seeds) < 1000
    assert index.links.shape == (6000, 24)
    assert index.links.min() >= 0 and index.links.max() <= 6000


def test_links_and_seeds_are_those_of_the_file(tmp_path: Path) -> None:
    keys = clustered(300, 5)
    written_by_hnswlib(keys, tmp_path / "i.hnsw", M=4)
    raw = (tmp_path / "i.hnsw").read_bytes()
    _, _, count, record, label_at, vector_at, *_ = HEADER.unpack_from(raw)
    index = Index.read(tmp_path / "i.hnsw")
    upper, at = [], HEADER.size + count * record
    for node in range(count):
        start = HEADER.size + node * record
        used = struct.unpack_from("<H", raw, start)[0]
        links = list(struct.unpack_from(f"<{used}I", raw, start + 4))
        assert index.links[node].tolist() == links + [count] * (8 - used)
        assert index.labels[node] == struct.unpack_from("<Q", raw, start + label_at)[0]
        assert index.keys[node].tolist() == list(struct.unpack_from("<5f", raw, start + vector_at))
        length = struct.unpack_from("<I", raw, at)[0]
        at += 4 + length
        upper += [node] if length else []
    assert index.seeds.tolist() == upper
    assert len(upper) > 10


@walks
@pytest.mark.parametrize("ef", [8, 16, 32])
def test_the_walk_is_as_good_as_hnswlibs(written: Written, ef: int) -> None:
    path, keys, queries = written
    theirs = hnswlib.Index(space="l2", dim=keys.shape[1])
    theirs.load_index(str(path))
    theirs.set_ef(ef)
    _, expected = theirs.knn_query(queries.astype(np.float32), k=8)
    answer = GraphSearch(Index.read(path), threads=1)(queries, count=8, ef=ef)
    check_answer(keys, queries, answer)
    assert (answer[0] >= 0).all()
    assert answer[1].mean() <= expected.mean() * 1.005 + 0.01


@walks
def test_the_walk_is_good_where_clusters_are_many_and_small(tmp_path: Path) -> None:
    keys, queries = clustered(6000, 64, centres=400), clustered(150, 64, seed=1, centres=400)
    _, distances = walk_over(keys, tmp_path)(queries, count=8, ef=32)
    truth = np.sort(true_distances(keys, queries), axis=1)[:, :8]
    assert distances.mean() <= truth.mean() * 1.01
    assert (distances[:, 0] == truth[:, 0]).mean() > 0.97


@walks
@pytest.mark.parametrize("M", [2, 12, 48])
def test_an_index_that_hnswlib_wrote(tmp_path: Path, M: int) -> None:
    keys, queries = clustered(2000, 16), clustered(100, 16, seed=1)
    theirs = written_by_hnswlib(keys, tmp_path / "i.hnsw", M=M)
    walk = GraphSearch(Index.read(tmp_path / "i.hnsw"), threads=1)
    for ef in (16, 64):
        theirs.set_ef(ef)
        _, expected = theirs.knn_query(queries.astype(np.float32), k=8)
        answer = walk(queries, count=8, ef=ef)
        check_answer(keys, queries, answer)
        assert answer[1].mean() <= expected.mean() * 1.005 + 0.01


@walks
@pytest.mark.parametrize("dimensions", [3, 20, DIMENSIONS])
def test_a_list_as_long_as_the_index_finds_the_truth(tmp_path: Path, dimensions: int) -> None:
    keys, queries = clustered(400, dimensions), clustered(50, dimensions, seed=1)
    answer = walk_over(keys, tmp_path)(queries, count=20, ef=400)
    check_answer(keys, queries, answer)
    assert np.array_equal(answer[1], np.sort(true_distances(keys, queries), axis=1)[:, :20])


@both_ways
def test_the_ends_of_the_range_do_not_overflow(tmp_path: Path) -> None:
    # The farthest that two keys can be, and keys among them.
    keys = np.repeat(np.array([0, 127], np.uint8), 100)[:, np.newaxis].repeat(DIMENSIONS, axis=1)
    keys[np.arange(200), np.arange(200) % DIMENSIONS] = np.arange(200) % 128
    queries = np.array([[0] * DIMENSIONS, [127] * DIMENSIONS, [0, 127] * (DIMENSIONS // 2)], np.uint8)
    walk = walk_over(keys, tmp_path)
    truth = np.sort(true_distances(keys, queries), axis=1)
    for allowed in (None, np.ones(200, bool)):
        answer = walk(queries, count=200, ef=200, allowed=allowed)
        check_answer(keys, queries, answer)
        # A walk may miss what few links lead to, as hnswlib's own does here.
        assert np.array_equal(answer[1][:2, :20], truth[:2, :20])
        if module.FEW:
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


@pytest.mark.parametrize("table", [module.TABLE, 1, 150 * 1000])
@pytest.mark.parametrize("kind", [None, *KINDS])
def test_up_to_few_nodes_the_answer_is_exact(
    written: Written, kind: str | None, table: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TABLE", table)  # all nodes at once, a run at a time, some runs at a time
    path, keys, queries = written
    queries = queries[:150:15] if table == 1 else queries
    allowed = None if kind is None else permissions(kind, 6000)
    there = np.arange(6000) if allowed is None else np.flatnonzero(allowed)
    assert len(there) <= FEW
    answer = GraphSearch(Index.read(path), threads=1)(queries, count=5, ef=8, allowed=allowed)
    check_answer(keys, queries, answer)
    possible = min(5, len(there))
    assert ((answer[0] >= 0).sum(axis=1) == possible).all()
    assert np.isin(answer[0][:, :possible], there).all()
    truth = np.sort(true_distances(keys[there], queries), axis=1)[:, :5]
    assert np.array_equal(answer[1][:, :possible], truth)


@pytest.mark.parametrize(
    ("few", "allowed", "walked"),
    [(100, 100, False), (100, 149, False), (100, 150, True), (100, None, True), (60, 120, False), (60, 121, True)],
)
def test_rarely_allowed_nodes_are_looked_at_a_little_longer(
    tmp_path: Path, few: int, allowed: int | None, walked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = walk_over(clustered(600, 4), tmp_path)
    calls = []

    def call(queries: Keys, ef: int, *_: object) -> NDArray[np.int64]:
        calls.append(ef)
        return np.full((len(queries), ef), module.NOTHING)

    monkeypatch.setattr(module, "FEW", few)
    monkeypatch.setattr(walk, "_search_graph", call)
    walk(clustered(9, 4), count=3, ef=8, allowed=None if allowed is None else np.arange(600) < allowed)
    assert calls == ([8] if walked else [])


@walks
@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_that_is_walked_finds_only_what_is_allowed(written: Written, kind: str) -> None:
    path, keys, queries = written
    allowed = permissions(kind, 6000)
    answer = GraphSearch(Index.read(path), threads=1)(queries, count=5, ef=64, allowed=allowed)
    check_answer(keys, queries, answer)
    labels, distances = answer
    assert allowed[labels[labels >= 0]].all()
    assert ((labels >= 0).sum(axis=1) <= allowed.sum()).all()
    if allowed.sum() > 1000:
        assert (labels >= 0).all()
        truth = np.sort(true_distances(keys[allowed], queries), axis=1)[:, :5]
        assert distances.mean() <= truth.mean() * 1.01
        assert (distances == truth).mean() > 0.9


@walks
def test_a_forbidden_key_never_comes_before_an_allowed_one_that_is_far(tmp_path: Path) -> None:
    keys = np.full((300, DIMENSIONS), 127, np.uint8)
    keys[:, :4] -= np.random.default_rng(0).integers(0, 60, (300, 4), dtype=np.uint8)
    allowed = np.arange(300) % 50 == 0
    answer = walk_over(keys, tmp_path)(keys[:20], count=6, ef=300, allowed=allowed)
    check_answer(keys, keys[:20], answer)
    labels, distances = answer
    assert allowed[labels[labels >= 0]].all()
    truth = np.sort(true_distances(keys[allowed], keys[:20]), axis=1)
    assert (distances[:, 0] == truth[:, 0]).mean() > 0.8


@both_ways
@pytest.mark.parametrize("count", [1, 2, 7, 17])
def test_tiny_indexes(tmp_path: Path, count: int) -> None:
    keys = clustered(count, 5)
    walk = walk_over(keys, tmp_path)
    answer = walk(keys, count=1, ef=4)
    check_answer(keys, keys, answer)
    assert answer[0][:, 0].tolist() == list(range(count))
    assert (answer[1] == 0).all()
    for allowed in (None, np.ones(count, bool)):
        answer = walk(keys[:1], count=30, ef=4, allowed=allowed)  # more than there are
        check_answer(keys, keys[:1], answer)
        assert answer[0].shape == (1, 30)
        assert answer[0][0, 0] == 0
        if module.FEW:  # a walk may miss what is far
            assert sorted(answer[0][0].tolist()) == [-1] * (30 - count) + list(range(count))


@both_ways
def test_what_is_not_found_is_far(tmp_path: Path) -> None:
    keys = np.array([[0] * DIMENSIONS, [127] * DIMENSIONS], np.uint8)
    labels, distances = walk_over(keys, tmp_path)(keys, count=4, ef=8)
    assert labels.tolist() == [[0, 1, -1, -1], [1, 0, -1, -1]]
    assert (distances[:, 2:] > 127**2 * DIMENSIONS).all()


@both_ways
def test_keys_that_are_all_equal(tmp_path: Path) -> None:
    keys = np.full((500, 16), 64, np.uint8)
    queries = np.array([[64] * 16, [0] * 16, [127] * 16], np.uint8)
    answer = walk_over(keys, tmp_path)(queries, count=8, ef=32)
    check_answer(keys, queries, answer)
    assert (answer[0] >= 0).all()
    assert answer[1].tolist() == [[0] * 8, [16 * 64**2] * 8, [16 * 63**2] * 8]


@both_ways
def test_keys_of_which_many_are_equal(tmp_path: Path) -> None:
    few = clustered(12, 16, seed=5, centres=12)
    keys = few[np.random.default_rng(6).integers(0, 12, 1200)]
    walk = walk_over(keys, tmp_path)
    answer = walk(few, count=8, ef=32)
    check_answer(keys, few, answer)
    assert (answer[0] >= 0).all()
    allowed = np.random.default_rng(7).random(1200) < 0.5
    labels, distances = walk(few, count=8, ef=32, allowed=allowed)
    check_answer(keys, few, (labels, distances))
    assert (distances == 0).all() and allowed[labels].all()


@both_ways
def test_threads_do_not_change_the_answer(written: Written) -> None:
    path, _, queries = written
    allowed = permissions("third", 6000)
    one, two = (GraphSearch(Index.read(path), threads=threads) for threads in (1, 2))
    for allow in (None, allowed):
        for a, b in zip(
            one(queries, count=6, ef=20, allowed=allow), two(queries, count=6, ef=20, allowed=allow), strict=True
        ):
            assert np.array_equal(a, b)


@both_ways
def test_a_query_is_answered_as_alone(written: Written) -> None:
    path, _, queries = written
    walk = GraphSearch(Index.read(path), threads=1)
    for allowed in (None, permissions("most", 6000)):
        labels, distances = walk(queries, count=6, ef=16, allowed=allowed)
        for row in range(0, 150, 5):
            alone = walk(queries[row : row + 1], count=6, ef=16, allowed=allowed)
            assert np.array_equal(alone[0][0], labels[row])
            assert np.array_equal(alone[1][0], distances[row])


@walks
@pytest.mark.parametrize("ef", [1, 3, 7, 9])
def test_short_lists(written: Written, ef: int) -> None:
    path, keys, queries = written
    walk = GraphSearch(Index.read(path), threads=1)
    answer = walk(queries, count=1, ef=ef)
    check_answer(keys, queries, answer)
    assert (answer[0] >= 0).all()
    longer = walk(queries, count=12, ef=ef)  # ef is raised to the count
    check_answer(keys, queries, longer)
    assert (longer[0] >= 0).all()
    assert np.array_equal(longer[1], walk(queries, count=12, ef=12)[1])


@both_ways
def test_queries_keep_their_contents_and_may_have_any_strides(written: Written) -> None:
    path, _, queries = written
    walk = GraphSearch(Index.read(path), threads=1)
    before = queries.copy()
    expected = walk(queries, count=4, ef=16)
    assert np.array_equal(queries, before)
    for strided in (np.asfortranarray(queries), np.repeat(queries, 2, axis=1)[:, ::2]):
        for found, wanted in zip(walk(strided, count=4, ef=16), expected, strict=True):
            assert np.array_equal(found, wanted)
    assert all(np.array_equal(a, b) for a, b in zip(walk(queries, count=4, ef=16), expected, strict=True))


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


@walks
def test_a_layer_too_large_to_look_through_falls_back_to_a_smaller_one(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hnsw, "SEEDS", 0)
    path, keys, queries = written
    index = Index.read(path)
    assert len(index.seeds) == 1
    answer = GraphSearch(index, threads=1)(queries, count=5, ef=400)
    check_answer(keys, queries, answer)
    monkeypatch.setattr(hnsw, "SEEDS", 60)
    assert 1 < len(Index.read(path).seeds) <= 60


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    write_index(clustered(40, 3), tmp_path / "whole")
    raw = (tmp_path / "whole").read_bytes()
    path = tmp_path / "cut.hnsw"
    for length in range(0, len(raw), 7):
        path.write_bytes(raw[:length])
        with pytest.raises(BundleError, match=r"cut\.hnsw: expected"):
            Index.read(path)
    path.write_bytes(raw + b"\0")
    with pytest.raises(BundleError, match="expected"):
        Index.read(path)
    path.write_bytes(raw)
    Index.read(path)


# Byte offsets of the header's fields, and values that a hostile file might hold there.
HEADER_FIELDS = {
    "offsetLevel0": (0, "<Q", [1, 2**63]),
    "count": (16, "<Q", [0, 41, 2**31, 2**64 - 1]),
    "record": (24, "<Q", [0, 1, 2**40, 2**64 - 1]),
    "label offset": (32, "<Q", [0, 3, 2**60]),
    "vector offset": (40, "<Q", [0, 2**60, 137]),
    "highest layer": (48, "<i", [-1, 63, 1000]),
    "entry point": (52, "<I", [40, 2**32 - 1]),
    "maxM": (56, "<Q", [0, 2**62]),
    "maxM0": (64, "<Q", [0, 5, 2**62]),
    "M": (72, "<Q", [0, 2**62]),
}


@pytest.mark.parametrize("field", HEADER_FIELDS)
def test_a_header_that_lies_is_refused(tmp_path: Path, field: str) -> None:
    write_index(clustered(40, 3), tmp_path / "whole")
    raw = bytearray((tmp_path / "whole").read_bytes())
    at, kind, values = HEADER_FIELDS[field]
    for value in values:
        struct.pack_into(kind, raw, at, value)
        (tmp_path / "bad").write_bytes(raw)
        with pytest.raises(BundleError, match="bad: expected"):
            Index.read(tmp_path / "bad")


def test_keys_longer_than_the_walk_can_count_are_refused(tmp_path: Path) -> None:
    written_by_hnswlib(clustered(40, DIMENSIONS), tmp_path / "longest", M=4)
    assert Index.read(tmp_path / "longest").keys.shape == (40, DIMENSIONS)
    written_by_hnswlib(clustered(40, DIMENSIONS + 1), tmp_path / "longer", M=4)
    with pytest.raises(BundleError, match="longer: expected an hnswlib header, found sizes"):
        Index.read(tmp_path / "longer")


def test_records_that_lie_are_refused(tmp_path: Path) -> None:
    write_index(clustered(40, 3), tmp_path / "whole")
    good = (tmp_path / "whole").read_bytes()
    record, label_at, vector_at = struct.unpack_from("<6Q", good)[3:6]
    faults = {
        "too many links": (0, "<H", 33, "links"),
        "a link out of range": (4, "<I", 40, "links"),
        "a deleted record": (2, "<B", 1, "deleted"),
        "a coordinate of NaN": (vector_at, "<f", float("nan"), "whole numbers"),
        "an infinite coordinate": (vector_at, "<f", float("inf"), "whole numbers"),
        "a coordinate that is not whole": (vector_at + 4, "<f", 63.5, "whole numbers"),
        "a coordinate below 0": (vector_at + 8, "<f", -1.0, "whole numbers"),
        "a coordinate above 127": (vector_at, "<f", 128.0, "whole numbers"),
        "a coordinate that would wrap around": (vector_at, "<f", 256.0, "whole numbers"),
        "a coordinate whose square overflows": (vector_at, "<f", 1e30, "whole numbers"),
        "a label twice": (label_at, "<Q", 39, "labels"),
        "a label out of range": (label_at, "<Q", 2**64 - 1, "labels"),
    }
    for name, (offset, kind, value, complaint) in faults.items():
        raw = bytearray(good)
        struct.pack_into(kind, raw, HEADER.size + offset, value)
        (tmp_path / "bad").write_bytes(raw)
        with pytest.raises(BundleError, match=f"bad: expected .*{complaint}"):
            Index.read(tmp_path / "bad")
            pytest.fail(name)
    raw = bytearray(good)
    struct.pack_into("<I", raw, HEADER.size + 40 * record, 12345)  # bytes of upper layers of the first node
    (tmp_path / "bad").write_bytes(raw)
    with pytest.raises(BundleError, match="upper layers"):
        Index.read(tmp_path / "bad")


def test_upper_layers_that_lie_are_refused(tmp_path: Path) -> None:
    written_by_hnswlib(clustered(60, 3), tmp_path / "whole", M=4)
    good = (tmp_path / "whole").read_bytes()
    record = struct.unpack_from("<6Q", good)[3]
    at = HEADER.size + 60 * record
    tops = []  # where the links of nodes in upper layers stand
    for node in range(60):
        length = struct.unpack_from("<I", good, at)[0]
        if length:
            tops.append((node, at + 4))
        at += 4 + length
    above = {node for node, _ in tops}
    place = next(p for _, p in tops if struct.unpack_from("<I", good, p)[0])
    below = next(node for node in range(60) if node not in above)
    other_entry = struct.pack("<I", below)
    for offset, content in (
        (place, struct.pack("<I", 5)),  # more links than M
        (place + 4, struct.pack("<I", 60)),  # a node that is not there
        (place + 4, struct.pack("<I", below)),  # a node that is only in the lowest layer
        (52, other_entry),  # an entry point outside the highest layer
    ):
        raw = bytearray(good)
        raw[offset : offset + len(content)] = content
        (tmp_path / "bad").write_bytes(raw)
        with pytest.raises(BundleError, match="bad: expected"):
            Index.read(tmp_path / "bad")
    (tmp_path / "good").write_bytes(good)
    Index.read(tmp_path / "good")


def test_random_damage_never_does_more_than_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_index(clustered(60, 4), tmp_path / "whole")
    good = (tmp_path / "whole").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        raw = bytearray(good)
        for at in rng.integers(0, len(raw), rng.integers(1, 4)):
            raw[at] = int(rng.integers(0, 256))
        (tmp_path / "bad").write_bytes(raw)
        try:
            index = Index.read(tmp_path / "bad")
        except BundleError:
            refused += 1
            continue
        for few in (0, FEW):
            monkeypatch.setattr(module, "FEW", few)
            labels, _ = GraphSearch(index, threads=1)(clustered(3, 4), count=2, ef=4)
            assert ((labels >= -1) & (labels < 60)).all()
    assert 50 < refused < 400


@walks
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
    answer = GraphSearch(index, threads=1)(queries, count=8, ef=32)
    check_answer(keys, queries, answer)
    assert np.array_equal(answer[1], np.sort(true_distances(keys, queries), axis=1)[:, :8])


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.hnsw: expected an index file, found: No such file"):
        Index.read(tmp_path / "none.hnsw")
