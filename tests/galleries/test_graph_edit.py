"""Nodes that join an HNSW graph and leave it, against hnswlib and against comparing with every key."""

from __future__ import annotations

from pathlib import Path

import hnswlib
import numpy as np
import pytest
from indexes import clustered, true_distances, written_by_hnswlib

from spade_edge.galleries.graph_edit import Graph
from spade_edge.galleries.index_writer import write_index
from spade_edge.runtime import BundleError
from spade_edge.runtime.matching.graph_search import GraphSearch
from spade_edge.runtime.matching.hnsw import Index


def found_by_hnswlib(path: Path, queries: np.ndarray, *, dimensions: int) -> np.ndarray:
    index = hnswlib.Index(space="l2", dim=dimensions)
    index.load_index(str(path))
    index.set_ef(64)
    return index.knn_query(queries.astype(np.float32), k=1, num_threads=1)[1][:, 0]


def check(path: Path, keys: np.ndarray, labels: np.ndarray, *, least: float) -> None:
    """Both searches find nearly all nearest keys, and the file holds the keys under their labels."""
    index = Index.read(path)
    order, expected = np.argsort(index.labels), np.argsort(labels)
    assert np.array_equal(index.labels[order], labels[expected])
    assert np.array_equal(index.keys[order], keys[expected])
    queries = clustered(196, keys.shape[1], seed=5)
    nearest = true_distances(keys, queries).min(axis=1)
    assert (found_by_hnswlib(path, queries, dimensions=keys.shape[1]) == nearest).mean() >= least
    _, distances = GraphSearch(index, threads=1, exhaustive=0)(queries, count=4, ef=32)
    assert (distances[:, 0] == nearest).mean() >= least


def test_reading_and_writing_changes_nothing_that_a_search_sees(tmp_path: Path) -> None:
    keys = np.unique(clustered(1500, 8), axis=0)
    written_by_hnswlib(keys, tmp_path / "a", M=6)
    graph = Graph.read(tmp_path / "a")
    assert graph.most == 6 and graph.ef_construction == 100 and len(graph.layers) > 2
    graph.write(tmp_path / "b")
    before, after = Index.read(tmp_path / "a"), Index.read(tmp_path / "b")
    for name in ("keys", "labels", "links", "seeds"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
    queries = clustered(50, 8, seed=3)
    one, other = (found_by_hnswlib(tmp_path / name, queries, dimensions=8) for name in "ab")
    assert np.array_equal(one, other)


@pytest.mark.parametrize("leaving", [0.1, 0.5])
def test_nodes_that_leave_are_not_found_and_the_others_are(tmp_path: Path, leaving: float) -> None:
    keys = np.unique(clustered(2500, 12), axis=0)
    write_index(keys, tmp_path / "i")
    graph = Graph.read(tmp_path / "i")
    gone = np.random.default_rng(2).random(len(keys)) < leaving
    gone[graph.entry] = True  # hnswlib starts there
    kept, labels = graph.keys[~gone], graph.labels[~gone]
    graph.remove(gone)
    graph.write(tmp_path / "i")
    check(tmp_path / "i", kept, labels, least=0.97)


def test_nodes_that_join_are_found_as_in_a_graph_of_hnswlibs_own(tmp_path: Path) -> None:
    keys = np.unique(clustered(2500, 12), axis=0)
    np.random.default_rng(0).shuffle(keys)
    write_index(keys[:2000], tmp_path / "i")
    graph = Graph.read(tmp_path / "i")
    graph.add(keys[2000:], np.arange(2000, len(keys)))
    graph.write(tmp_path / "i")
    check(tmp_path / "i", keys, np.arange(len(keys)), least=0.98)
    assert len(graph.layers[0]) == len(keys) > len(graph.layers[1]) > len(keys) / 20


def test_hnswlib_adds_to_a_graph_that_was_changed(tmp_path: Path) -> None:
    keys = np.unique(clustered(1200, 10), axis=0)
    write_index(keys[:800], tmp_path / "i")
    graph = Graph.read(tmp_path / "i")
    graph.remove(np.arange(len(graph.keys)) % 7 == 0)
    graph.add(keys[800:900], np.arange(5000, 5100))
    graph.write(tmp_path / "i")
    index = hnswlib.Index(space="l2", dim=10)
    index.load_index(str(tmp_path / "i"), max_elements=2000)
    index.add_items(keys[900:].astype(np.float32), np.arange(9000, 9000 + len(keys) - 900), num_threads=1)
    index.save_index(str(tmp_path / "j"))
    together = Graph.read(tmp_path / "j")
    check(tmp_path / "j", together.keys, together.labels, least=0.97)


def test_the_same_change_gives_the_same_file(tmp_path: Path) -> None:
    keys = np.unique(clustered(700, 6), axis=0)
    write_index(keys[:600], tmp_path / "i")
    for name in "ab":
        graph = Graph.read(tmp_path / "i")
        graph.add(keys[600:], np.arange(600, len(keys)))
        graph.remove(np.arange(len(keys)) < 30)
        graph.write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(("at", "value"), [(56, 7), (72, 1), (72, 4)])
def test_a_graph_with_other_links_than_hnswlib_has_is_refused(tmp_path: Path, at: int, value: int) -> None:
    write_index(np.unique(clustered(60, 4), axis=0), tmp_path / "i")
    raw = bytearray((tmp_path / "i").read_bytes())
    raw[at : at + 8] = value.to_bytes(8, "little")
    (tmp_path / "i").write_bytes(raw)
    with pytest.raises(BundleError):
        Graph.read(tmp_path / "i")


@pytest.mark.parametrize("count", [1, 2, 12])
def test_small_graphs(tmp_path: Path, count: int) -> None:
    keys = np.unique(clustered(40, 4, seed=7), axis=0)
    write_index(keys[:count], tmp_path / "i")
    graph = Graph.read(tmp_path / "i")
    graph.add(keys[count:], np.arange(count, len(keys)))
    graph.remove(np.arange(len(keys)) < len(keys) - 1)  # one is left
    graph.write(tmp_path / "i")
    index = Index.read(tmp_path / "i")
    assert len(index) == 1 and np.array_equal(index.keys[0], keys[graph.labels[0]])
