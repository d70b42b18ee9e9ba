"""The index reader against hnswlib itself, and against files that lie."""

from __future__ import annotations

import struct
from pathlib import Path

import hnswlib
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries.index import index_bytes, write_index
from spade_edge.runtime import BundleError
from spade_edge.runtime import hnsw as module
from spade_edge.runtime.hnsw import HEADER, Index

Vectors = NDArray[np.float32]


def clustered(count: int, dimensions: int, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 3, (40, dimensions))
    return (centres[rng.integers(0, 40, count)] + rng.normal(0, 1, (count, dimensions))).astype(np.float32)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Vectors, Vectors]:
    vectors, queries = clustered(6000, 24), clustered(150, 24, seed=1)
    path = tmp_path_factory.mktemp("index") / "i.hnsw"
    write_index(vectors, path)
    return path, vectors, queries


def true_distances(vectors: Vectors, queries: Vectors, count: int) -> NDArray[np.float64]:
    everything = ((queries[:, None].astype(np.float64) - vectors[None]) ** 2).sum(axis=2)
    return np.sort(everything, axis=1)[:, :count]


def test_what_was_written_is_read(written: tuple[Path, Vectors, Vectors]) -> None:
    path, vectors, _ = written
    index = Index.read(path)
    assert np.array_equal(index.vectors[np.argsort(index.labels)], vectors)
    size = path.stat().st_size
    assert abs(index_bytes(6000, 24) - size) < 0.01 * size
    assert 1 < len(index.seeds) < 1000


@pytest.mark.parametrize("ef", [8, 16, 32, 64])
def test_the_walk_is_as_good_as_hnswlibs(written: tuple[Path, Vectors, Vectors], ef: int) -> None:
    path, vectors, queries = written
    theirs = hnswlib.Index(space="l2", dim=24)
    theirs.load_index(str(path))
    theirs.set_ef(ef)
    _, expected = theirs.knn_query(queries, k=8)
    labels, distances = Index.read(path).search(queries, count=8, ef=ef)
    assert distances.mean() <= expected.mean() * 1.01
    differences = vectors[labels] - queries[:, None]
    np.testing.assert_allclose(distances, (differences**2).sum(axis=2), rtol=1e-3, atol=1e-3)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert all(len(set(row)) == 8 for row in labels.tolist())


def test_a_wide_search_finds_the_truth(written: tuple[Path, Vectors, Vectors]) -> None:
    path, vectors, queries = written
    _, distances = Index.read(path).search(queries, count=5, ef=400)
    np.testing.assert_allclose(distances, true_distances(vectors, queries, 5), rtol=1e-3)


@pytest.mark.parametrize("few", [0, 16384])
def test_a_filter_finds_only_what_is_allowed_and_all_of_it(
    written: tuple[Path, Vectors, Vectors], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEW", few)  # 0: by walking; 16384: by looking at each
    path, vectors, queries = written
    allowed = np.random.default_rng(2).random(6000) < 0.3
    labels, distances = Index.read(path).search(queries, count=5, ef=64, allowed=allowed)
    assert allowed[labels].all()
    truth = true_distances(vectors[allowed], queries, 5)
    assert distances.mean() <= truth.mean() * 1.01


def test_chunks_of_queries_give_the_same_result(
    written: tuple[Path, Vectors, Vectors], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, queries = written
    whole = Index.read(path).search(queries, count=4, ef=16)
    monkeypatch.setattr(module, "CHUNK", 7 * 6000)
    chunked = Index.read(path).search(queries, count=4, ef=16)
    assert np.array_equal(whole[0], chunked[0])


@pytest.mark.parametrize("count", [1, 2, 17])
def test_tiny_indexes(tmp_path: Path, count: int) -> None:
    vectors = clustered(count, 5)
    write_index(vectors, tmp_path / "i.hnsw")
    index = Index.read(tmp_path / "i.hnsw")
    labels, distances = index.search(vectors, count=1, ef=4)
    assert labels[:, 0].tolist() == list(range(count))
    assert np.allclose(distances, 0, atol=1e-4)
    labels, distances = index.search(vectors[:1], count=30, ef=4)  # more than there are
    assert sorted(labels[0][labels[0] >= 0].tolist()) == list(range(count))
    assert np.isinf(distances[labels < 0]).all()


def test_a_layer_too_large_to_look_through_falls_back_to_a_smaller_one(
    written: tuple[Path, Vectors, Vectors], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, vectors, queries = written
    monkeypatch.setattr(module, "SEEDS", 0)
    index = Index.read(path)
    assert len(index.seeds) == 1
    _, distances = index.search(queries, count=5, ef=200)
    assert distances.mean() <= true_distances(vectors, queries, 5).mean() * 1.02


def test_the_same_keys_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_index(clustered(500, 6), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


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


def test_records_that_lie_are_refused(tmp_path: Path) -> None:
    write_index(clustered(40, 3), tmp_path / "whole")
    good = (tmp_path / "whole").read_bytes()
    record = struct.unpack_from("<6Q", good)[3]
    label_at, vector_at = struct.unpack_from("<6Q", good)[4:6]
    faults = {
        "too many links": (0, "<H", 33),
        "a link out of range": (4, "<I", 40),
        "a deleted record": (2, "<B", 1),
        "a vector of NaN": (vector_at, "<f", float("nan")),
        "a vector whose square overflows": (vector_at, "<f", 1e30),
        "a label twice": (label_at, "<Q", 39),
        "a label out of range": (label_at, "<Q", 2**64 - 1),
    }
    for name, (offset, kind, value) in faults.items():
        raw = bytearray(good)
        struct.pack_into(kind, raw, HEADER.size + offset, value)
        (tmp_path / "bad").write_bytes(raw)
        with pytest.raises(BundleError, match="expected"):
            Index.read(tmp_path / "bad")
            pytest.fail(name)
    raw = bytearray(good)
    struct.pack_into("<I", raw, HEADER.size + 40 * record, 12345)  # bytes of upper layers of the first node
    (tmp_path / "bad").write_bytes(raw)
    with pytest.raises(BundleError, match="upper layers"):
        Index.read(tmp_path / "bad")


def test_random_damage_never_does_more_than_refuse(tmp_path: Path) -> None:
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
        labels, _ = index.search(clustered(3, 4), count=2, ef=4)
        assert ((labels >= -1) & (labels < 60)).all()
    assert refused > 50


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.hnsw: expected an index file, found: No such file"):
        Index.read(tmp_path / "none.hnsw")
