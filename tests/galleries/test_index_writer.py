"""Writing an index, and searching a bundle's index with hnswlib itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import hnswlib
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.galleries.index_writer import LINKS, HnswlibSearch, index_bytes, write_index
from spade_edge.runtime import BundleError, Scorer
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.matching.graph_search import Search
from spade_edge.runtime.matching.hnsw import Index


def random_keys(count: int, dimensions: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 128, (count, dimensions), dtype=np.uint8)


def test_the_same_keys_give_the_same_file(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("other", 1)):
        write_index(random_keys(700, 6, seed), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "other").read_bytes()


def test_hnswlib_reads_the_file_and_finds_every_key(tmp_path: Path) -> None:
    keys = random_keys(900, 12)
    write_index(keys, tmp_path / "i.hnsw")
    index = hnswlib.Index(space="l2", dim=12)
    index.load_index(str(tmp_path / "i.hnsw"))
    index.set_ef(200)
    labels, distances = index.knn_query(keys.astype(np.float32), k=1)
    assert (labels[:, 0] == np.arange(900)).mean() > 0.99
    assert np.array_equal(np.array(index.get_items(range(900))), keys)
    assert index.M == LINKS
    assert distances.min() == 0


@pytest.mark.parametrize(("count", "dimensions"), [(2000, 64), (20_000, 8)])
def test_the_size_is_known_before(tmp_path: Path, count: int, dimensions: int) -> None:
    write_index(random_keys(count, dimensions), tmp_path / "i.hnsw")
    assert (tmp_path / "i.hnsw").stat().st_size == pytest.approx(index_bytes(count, dimensions), rel=0.01)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_keys(tmp_path: Path, count: int) -> None:
    keys = random_keys(count, 3)
    write_index(keys, tmp_path / "i.hnsw")
    index = Index.read(tmp_path / "i.hnsw")
    assert np.array_equal(index.keys[np.argsort(index.labels)], keys)


@pytest.fixture(scope="module")
def bundle(edge: Built) -> tuple[HnswlibSearch, NDArray[np.uint8]]:
    """A search in a bundle, and the bundle's keys by label."""
    (index,) = Bundle.open(edge.path).indexes
    return HnswlibSearch(edge.path, threads=1), index.keys[np.argsort(index.labels)]


def check(
    keys: NDArray[np.uint8],
    queries: NDArray[np.uint8],
    answer: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    count: int,
    allowed: NDArray[np.bool_] | None = None,
) -> None:
    """The index is small, so that a long list finds the truth."""
    labels, distances = answer
    assert labels.dtype == distances.dtype == np.int64
    assert labels.shape == distances.shape == (len(queries), count)
    there = np.arange(len(keys)) if allowed is None else np.flatnonzero(allowed)
    possible = min(count, len(there))
    for query, row, found in zip(queries.astype(np.int64), labels, distances, strict=True):
        assert len(set(row[:possible].tolist())) == possible
        assert set(row[:possible].tolist()) <= set(there.tolist())
        assert np.array_equal(((keys[row[:possible]] - query) ** 2).sum(axis=1), found[:possible])
        assert np.array_equal(found[:possible], np.sort(((keys[there] - query) ** 2).sum(axis=1))[:possible])
        assert (row[possible:] == -1).all()
        assert (found[possible:] > 127**2 * keys.shape[1]).all()


def queries_like(keys: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    near = keys[rng.integers(0, len(keys), 20)].astype(int) + rng.integers(-9, 10, (20, keys.shape[1]))
    return np.clip(near, 0, 127).astype(np.uint8)


def test_hnswlib_follows_the_protocol(bundle: tuple[HnswlibSearch, NDArray[np.uint8]]) -> None:
    search: Search = bundle[0]
    keys = bundle[1]
    queries = queries_like(keys)
    check(keys, queries, search(queries, count=5, ef=len(keys)), count=5)
    check(keys, queries, search(queries, count=len(keys) + 3, ef=1), count=len(keys) + 3)  # more than there are


@pytest.mark.parametrize("share", [0.5, 3, 1, 0], ids=["half", "three", "one", "none"])
def test_hnswlib_finds_only_what_is_allowed(bundle: tuple[HnswlibSearch, NDArray[np.uint8]], share: float) -> None:
    search, keys = bundle
    queries = queries_like(keys)
    allowed = np.zeros(len(keys), bool)
    chosen = np.random.default_rng(2).permutation(len(keys))
    allowed[chosen[: int(share * len(keys)) if share < 1 else int(share)]] = True
    check(keys, queries, search(queries, count=5, ef=len(keys), allowed=allowed), count=5, allowed=allowed)


def test_the_farthest_queries_are_compared_with_every_key(
    bundle: tuple[HnswlibSearch, NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here hnswlib finds the farthest keys instead of the nearest; two of 20 queries are looked at again."""
    search, keys = bundle
    queries = queries_like(keys)
    wide = keys.astype(np.int64)
    truth = np.array([((wide - query) ** 2).sum(axis=1) for query in queries.astype(np.int64)])
    labels = np.argsort(-truth, axis=1)[:, :5][:, ::-1]
    answer = labels.astype(np.uint64), np.take_along_axis(truth, labels, axis=1).astype(np.float32)
    lost = SimpleNamespace(set_ef=lambda ef: None, knn_query=lambda *_, **__: answer)
    monkeypatch.setattr(search, "_index", lost)
    found, distances = search(queries, count=5, ef=32)
    again = np.argsort(-answer[1][:, 0], kind="stable")[:2]
    assert np.array_equal(distances[again], np.sort(truth[again], axis=1)[:, :5])
    others = np.setdiff1d(np.arange(20), again)
    assert np.array_equal(found[others], labels[others])


def test_a_scorer_takes_it(edge: Built) -> None:
    frame = np.random.default_rng(3).integers(0, 256, (96, 80, 3), dtype=np.uint8)
    own, theirs = Scorer.open(edge.path), Scorer.open(edge.path, searches=[HnswlibSearch(edge.path)])
    assert theirs(frame).score == pytest.approx(own(frame).score, rel=0.01)


def test_a_bundle_without_an_index_is_refused(paper: Built) -> None:
    with pytest.raises(BundleError, match="found none"):
        HnswlibSearch(paper.path)
