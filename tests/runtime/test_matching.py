"""Eq. 3 against a naive computation in torch: every pair of embeddings, in float64."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spade_edge.galleries.index import write_index
from spade_edge.galleries.keys import fit_key_projection
from spade_edge.runtime import BundleError, UsageError
from spade_edge.runtime import matching as module
from spade_edge.runtime.gallery import Gallery, cell_keys, squared_lengths
from spade_edge.runtime.hnsw import Index
from spade_edge.runtime.matcher import Matcher, Matching
from spade_edge.runtime.matching import match_cells, match_exactly
from spade_edge.runtime.pyramid import Pyramid, by_cell, from_cells

THREE = ((8, 12, 5), (4, 6, 7), (2, 3, 9))
ONE = ((6, 5, 11),)
TWO = ((8, 8, 4), (2, 2, 6))  # levels 1 and 3


def random_pyramid(rng: np.random.Generator, shapes: tuple[tuple[int, int, int], ...]) -> Pyramid:
    levels = tuple(rng.gamma(1, 1, shape).astype(np.float32) for shape in shapes)
    return Pyramid(levels=levels, image=levels[-1].mean(axis=(0, 1)))


def gallery_of(pyramids: list[Pyramid]) -> Gallery:
    return Gallery(
        levels=tuple(np.stack(levels) for levels in zip(*(p.levels for p in pyramids), strict=True)),
        squares=np.stack([squared_lengths(p) for p in pyramids]),
        images=np.stack([p.image for p in pyramids]),
        names=tuple(f"{i}.png" for i in range(len(pyramids))),
    )


def torch_embedding(pyramid: Pyramid) -> torch.Tensor:
    """(h * w, sum of C) float64, by torch's own interpolation."""
    grid = pyramid.levels[0].shape[:2]
    enlarged = [
        torch.nn.functional.interpolate(
            torch.from_numpy(level).double().permute(2, 0, 1)[None], size=grid, mode="bilinear", align_corners=False
        )[0]
        for level in pyramid.levels
    ]
    return torch.cat(enlarged).permute(1, 2, 0).reshape(grid[0] * grid[1], -1)


def naive(query: Pyramid, gallery: list[Pyramid], kappa: int) -> NDArray[np.float64]:
    """Eq. 3, word by word."""
    f = torch.cat([torch_embedding(pyramid) for pyramid in gallery])
    result = []
    for y in torch_embedding(query):
        squared = ((f - y) ** 2).sum(dim=1)
        result.append(squared.sort().values[:kappa].mean())
    return torch.stack(result).reshape(query.grid).numpy()


@pytest.mark.parametrize("shapes", [THREE, ONE, TWO])
@pytest.mark.parametrize("kappa", [1, 3, 10_000])
def test_exact_matching_is_eq_3(shapes: tuple[tuple[int, int, int], ...], kappa: int) -> None:
    rng = np.random.default_rng(0)
    pyramids = [random_pyramid(rng, shapes) for _ in range(4)]
    query = random_pyramid(rng, shapes)
    images = np.array([2, 0, 3])
    found = match_exactly(query, gallery_of(pyramids), images=images, kappa=kappa)
    np.testing.assert_allclose(found.distances, naive(query, [pyramids[i] for i in images], kappa), rtol=1e-4)


def test_a_frame_of_the_gallery_is_found_at_distance_zero_in_its_place() -> None:
    rng = np.random.default_rng(1)
    pyramids = [random_pyramid(rng, THREE) for _ in range(3)]
    found = match_exactly(pyramids[1], gallery_of(pyramids), images=np.arange(3), kappa=1)
    assert found.distances.max() < 1e-9
    assert (found.images == 1).all()
    assert np.array_equal(found.positions.ravel(), np.arange(8 * 12))


def test_small_distances_between_large_features_survive() -> None:
    # ‖f‖² − 2⟨f, y⟩ + ‖y‖² in float32 would give noise of the size of the distance itself.
    rng = np.random.default_rng(2)
    base = random_pyramid(rng, ONE)
    far = Pyramid(levels=(base.levels[0] + 300,), image=base.image)
    near = Pyramid(
        levels=(far.levels[0] + rng.normal(0, 0.01, far.levels[0].shape).astype(np.float32),), image=base.image
    )
    found = match_exactly(near, gallery_of([far]), images=np.array([0]), kappa=1)
    np.testing.assert_allclose(found.distances, naive(near, [far], 1), rtol=1e-3)


def test_bands_of_a_large_view_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    gallery, query = gallery_of([random_pyramid(rng, THREE) for _ in range(3)]), random_pyramid(rng, THREE)
    whole = match_exactly(query, gallery, images=np.arange(3), kappa=2)
    monkeypatch.setattr(module, "TABLE", 96 * 7)  # seven positions at a time
    banded = match_exactly(query, gallery, images=np.arange(3), kappa=2)
    np.testing.assert_allclose(banded.distances, whole.distances, rtol=1e-6)
    assert np.array_equal(banded.images, whole.images)


@pytest.mark.parametrize("search", ["exact", "hnsw"])
def test_memory_does_not_grow_with_the_gallery(search: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "TABLE", 1 << 12)
    rng = np.random.default_rng(10)
    peaks = []
    for count in (4, 40):
        pyramids = [random_pyramid(rng, THREE) for _ in range(count)]
        gallery = gallery_of(pyramids)
        projection = fit_key_projection(gallery, dimensions=8)
        write_index(np.concatenate([cell_keys(p, projection) for p in pyramids]), tmp_path / "i.hnsw")
        matching = Matching(search=search, candidates=8, ef=8)
        matcher = Matcher(gallery, matching, index=Index.read(tmp_path / "i.hnsw"), key_projection=projection)
        tracemalloc.start()
        matcher.matches(pyramids[0])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_cells_and_positions_are_read_out_of_the_levels_as_the_whole_embedding_has_them() -> None:
    rng = np.random.default_rng(4)
    for shapes in (THREE, ONE, TWO):
        pyramids = [random_pyramid(rng, shapes) for _ in range(3)]
        gallery = gallery_of(pyramids)
        places = shapes[0][0] * shapes[0][1]
        for image, pyramid in enumerate(pyramids):
            expected = torch_embedding(pyramid).numpy()
            found = gallery.embeddings(np.full(places, image), np.arange(places))
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
            cells = image * gallery.cells_per_image + np.arange(gallery.cells_per_image)
            blocks = by_cell(expected.reshape(*shapes[0][:2], -1).astype(np.float32), gallery.side)
            np.testing.assert_allclose(gallery.cells(cells), blocks, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(gallery.cell_squares(cells), (blocks**2).sum(axis=2), rtol=1e-5)


def test_ordering_by_cell_can_be_undone() -> None:
    values = np.arange(8 * 12).reshape(8, 12, 1).astype(np.float32)
    cells = by_cell(values, 4)
    assert cells[1, :, 0].tolist() == [4, 5, 6, 7, 16, 17, 18, 19, 28, 29, 30, 31, 40, 41, 42, 43]
    assert np.array_equal(from_cells(cells[:, :, 0], 4, (8, 12)), values[:, :, 0])


@pytest.fixture
def indexed(tmp_path) -> tuple[list[Pyramid], Gallery, Index, NDArray[np.float32]]:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(5)
    pyramids = [random_pyramid(rng, THREE) for _ in range(20)]
    gallery = gallery_of(pyramids)
    projection = fit_key_projection(gallery, dimensions=8)
    write_index(np.concatenate([cell_keys(p, projection) for p in pyramids]), tmp_path / "i.hnsw")
    return pyramids, gallery, Index.read(tmp_path / "i.hnsw"), projection


@pytest.mark.parametrize("kappa", [1, 4])
def test_looking_into_every_cell_is_exact(
    indexed: tuple[list[Pyramid], Gallery, Index, NDArray[np.float32]], kappa: int
) -> None:
    pyramids, gallery, index, projection = indexed
    query = random_pyramid(np.random.default_rng(6), THREE)
    everything = len(index)
    found = match_cells(
        query,
        gallery,
        index=index,
        keys=cell_keys(query, projection),
        allowed=None,
        candidates=everything,
        ef=everything,
        kappa=kappa,
    )
    np.testing.assert_allclose(found.distances, naive(query, pyramids, kappa), rtol=1e-4)
    exact = match_exactly(query, gallery, images=np.arange(20), kappa=kappa)
    assert np.array_equal(found.images, exact.images)
    assert np.array_equal(found.positions, exact.positions)


def test_chunks_of_cells_give_the_same_result(
    indexed: tuple[list[Pyramid], Gallery, Index, NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, gallery, index, projection = indexed
    query = random_pyramid(np.random.default_rng(7), THREE)
    asked = {
        "index": index,
        "keys": cell_keys(query, projection),
        "allowed": None,
        "candidates": 5,
        "ef": 9,
        "kappa": 2,
    }
    whole = match_cells(query, gallery, **asked)  # type: ignore[arg-type]
    monkeypatch.setattr(module, "TABLE", 1)  # one cell at a time
    chunked = match_cells(query, gallery, **asked)  # type: ignore[arg-type]
    np.testing.assert_allclose(chunked.distances, whole.distances, rtol=1e-6)


@pytest.mark.parametrize("search", ["exact", "hnsw"])
def test_an_image_that_is_left_out_is_never_matched(
    indexed: tuple[list[Pyramid], Gallery, Index, NDArray[np.float32]], search: str
) -> None:
    pyramids, gallery, index, projection = indexed
    matcher = Matcher(gallery, Matching(search=search, candidates=8), index=index, key_projection=projection)
    assert matcher.matches(pyramids[4]).distances.max() == pytest.approx(0, abs=1e-6)
    allowed = np.arange(20) != 4
    found = matcher.matches(pyramids[4], allowed=allowed)
    assert not (found.images == 4).any()
    assert found.distances.min() > 0


@pytest.mark.parametrize("search", ["exact", "hnsw"])
@pytest.mark.parametrize("neighbours", [1, 3, 50])
def test_only_the_k_nearest_images_are_matched(
    indexed: tuple[list[Pyramid], Gallery, Index, NDArray[np.float32]], search: str, neighbours: int
) -> None:
    pyramids, gallery, index, projection = indexed
    query = random_pyramid(np.random.default_rng(8), THREE)
    order = sorted(range(20), key=lambda i: float(((pyramids[i].image.astype(np.float64) - query.image) ** 2).sum()))
    matching = Matching(neighbours=neighbours, search=search, candidates=4096, ef=4096)
    found = Matcher(gallery, matching, index=index, key_projection=projection).matches(query)
    np.testing.assert_allclose(found.distances, naive(query, [pyramids[i] for i in order[:neighbours]], 1), rtol=1e-4)


@pytest.mark.parametrize("neighbours", [1, 5, 20, 50])
def test_the_image_score_is_the_mean_squared_distance_to_the_k_nearest_vectors(neighbours: int) -> None:
    rng = np.random.default_rng(9)
    pyramids = [random_pyramid(rng, ONE) for _ in range(20)]
    query = random_pyramid(rng, ONE)
    squared = sorted(
        sum((float(a) - float(b)) ** 2 for a, b in zip(p.image, query.image, strict=True)) for p in pyramids
    )
    expected = np.mean(squared[:neighbours])
    matcher = Matcher(gallery_of(pyramids), Matching(neighbours=neighbours, search="exact", image_score="vectors"))
    assert matcher.image_score(query, np.zeros((1, 1), np.float32)) == pytest.approx(expected, rel=1e-5)


def test_searching_without_an_index_is_refused() -> None:
    gallery = gallery_of([random_pyramid(np.random.default_rng(0), ONE)])
    with pytest.raises(BundleError, match="expected an HNSW index, found none"):
        Matcher(gallery, Matching())


def test_more_neighbours_than_the_search_looks_at_are_refused(
    indexed: tuple[list[Pyramid], Gallery, Index, NDArray[np.float32]],
) -> None:
    _, gallery, index, projection = indexed
    Matcher(gallery, Matching(candidates=2, kappa=32), index=index, key_projection=projection)
    with pytest.raises(UsageError, match="expected kappa of at most 32"):
        Matcher(gallery, Matching(candidates=2, kappa=33), index=index, key_projection=projection)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kappa": 0},
        {"neighbours": 0},
        {"sigma": -1.0},
        {"sigma": float("nan")},
        {"search": "best"},
        {"image_score": "mean"},
        {"ef": 0},
        {"candidates": 10_000},
    ],
)
def test_parameters_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="expected"):
        Matching(**wrong)  # type: ignore[arg-type]
