"""The reader of index files, against files that hnswlib wrote and files that are wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from indexes import Keys, check_answer, clustered, written_by_hnswlib

from spade_edge.galleries.index_writer import index_bytes, write_index
from spade_edge.runtime import BundleError
from spade_edge.runtime.matching.graph_search import EXHAUSTIVE, GraphSearch
from spade_edge.runtime.matching.hnsw import DIMENSIONS, HEADER, Index

Written = tuple[Path, Keys, Keys]


def test_what_was_written_is_read(written: Written) -> None:
    path, keys, _ = written
    index = Index.read(path)
    assert len(index) == 6000
    assert index.keys.dtype == np.uint8
    assert np.array_equal(index.keys[np.argsort(index.labels)], keys)
    size = path.stat().st_size
    assert abs(index_bytes(6000, keys.shape[1]) - size) < 0.01 * size
    assert 100 < len(index.seeds) < 1000
    assert index.links.shape == (6000, 20)
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


def test_a_layer_too_large_to_look_through_falls_back_to_a_smaller_one(
    written: Written,
) -> None:
    path, keys, queries = written
    index = Index.read(path, seeds=0)
    assert len(index.seeds) == 1
    answer = GraphSearch(index, threads=1, exhaustive=0)(queries, count=5, ef=400)
    check_answer(keys, queries, answer)
    assert 1 < len(Index.read(path, seeds=60).seeds) <= 60


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


def test_keys_longer_than_the_search_can_count_are_refused(tmp_path: Path) -> None:
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
        for exhaustive in (0, EXHAUSTIVE):
            labels, _ = GraphSearch(index, threads=1, exhaustive=exhaustive)(clustered(3, 4), count=2, ef=4)
            assert ((labels >= -1) & (labels < 2**31)).all()
    assert 50 < refused < 400


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.hnsw: expected an index file, found: No such file"):
        Index.read(tmp_path / "none.hnsw")
