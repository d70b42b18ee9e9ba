"""Eq. 3 against a naive computation in torch: every pair of embeddings, in float64."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cards import card_of
from numpy.typing import NDArray

from spade_edge.galleries.index_writer import write_index
from spade_edge.galleries.keys import fit_coding
from spade_edge.runtime import BundleError, UsageError
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.geometry.layout import WHOLE, Canvas
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.kernels.workers import Workers
from spade_edge.runtime.matching import distances as module
from spade_edge.runtime.matching.cells import CellComparison
from spade_edge.runtime.matching.coding import Coder
from spade_edge.runtime.matching.config import Matching
from spade_edge.runtime.matching.distances import (
    CellMatches,
    ExactMatches,
    _fewest_near,
    _near,
    match_cells,
    match_exactly,
)
from spade_edge.runtime.matching.entries import entries_of
from spade_edge.runtime.matching.gallery import CodedGallery, Gallery, squared_lengths
from spade_edge.runtime.matching.graph_search import GraphSearch
from spade_edge.runtime.matching.hnsw import Index
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.pyramid import Pyramid, by_cell, from_cells

torch = pytest.importorskip("torch")

THREE = card_of((64, 96), (8, 5), (16, 7), (32, 9))  # grids 8 x 12, 4 x 6, 2 x 3
ONE = card_of((192, 160), (32, 11))  # 6 x 5
TWO = card_of((64, 64), (8, 4), (32, 6))  # 8 x 8, 2 x 2
each_card = pytest.mark.parametrize("card", [THREE, ONE, TWO], ids=["three", "one", "two"])


def random_pyramid(rng: np.random.Generator, card: ModelCard, *, signed: bool = False) -> Pyramid:
    levels = tuple(
        (rng.gamma(1, 1, (*card.grid(level), level.channels)) - signed).astype(np.float32) for level in card.levels
    )
    return Pyramid(levels=levels, descriptor=levels[-1].mean(axis=(0, 1)))


def gallery_of(pyramids: list[Pyramid], card: ModelCard) -> Gallery:
    return Gallery(
        card=card,
        levels=tuple(np.stack(levels) for levels in zip(*(p.levels for p in pyramids), strict=True)),
        descriptors=np.stack([p.descriptor for p in pyramids]),
        names=tuple(f"{i}.png" for i in range(len(pyramids))),
        squares=np.stack([squared_lengths(p) for p in pyramids]),
    )


def coded_gallery_of(pyramids: list[Pyramid], card: ModelCard) -> tuple[CodedGallery, Coder, NDArray[np.uint8]]:
    """A gallery in codes, what it was coded by, and the keys of its cells."""
    coder = Coder(card, fit_coding(pyramids, card, normalisation="none"), threads=1)
    coded = coder(pyramids)
    gallery = CodedGallery(
        card=card,
        levels=coded.levels,
        descriptors=np.stack([p.descriptor for p in pyramids]),
        names=tuple(f"{i}.png" for i in range(len(pyramids))),
        coding=coder.coding,
        squares=coder.windows(coded).squares,
    )
    return gallery, coder, coded.keys


def rounded(pyramid: Pyramid, gallery: CodedGallery) -> Pyramid:
    """What the codes of a view stand for, worked out here."""
    levels = tuple(
        (np.clip(np.round((level.astype(np.float64) - low) / step), 0, 127) * step + low).astype(np.float32)
        for level, low, step in zip(
            pyramid.levels,
            gallery.coding.lowest.astype(np.float64),
            gallery.coding.steps.astype(np.float64),
            strict=True,
        )
    )
    return Pyramid(levels=levels, descriptor=pyramid.descriptor)


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


def check_places(found: ExactMatches | CellMatches, query: Pyramid, gallery: list[Pyramid], images: list[int]) -> None:
    """`nearest` gives the image, position and distance of the nearest embedding in `images`."""
    embeddings = [torch_embedding(pyramid) for pyramid in gallery]
    for number, y in enumerate(torch_embedding(query)):
        place = found.nearest(*divmod(number, query.grid[1]))
        there = float(((embeddings[place.item][place.position] - y) ** 2).sum())
        best = min(float(((embeddings[image] - y) ** 2).sum(dim=1).min()) for image in images)
        assert place.item in images
        assert place.distance == pytest.approx(there, rel=1e-4, abs=1e-4)
        assert there == pytest.approx(best, rel=1e-4, abs=1e-4)


@each_card
@pytest.mark.parametrize("kappa", [1, 3, 10_000])
def test_exact_matching_is_eq_3(card: ModelCard, kappa: int) -> None:
    rng = np.random.default_rng(0)
    pyramids = [random_pyramid(rng, card) for _ in range(4)]
    query = random_pyramid(rng, card)
    images = np.array([2, 0, 3])
    found = match_exactly(query, gallery_of(pyramids, card), items=images, kappa=kappa)
    np.testing.assert_allclose(found.distances, naive(query, [pyramids[i] for i in images], kappa), rtol=1e-4)
    check_places(found, query, pyramids, images.tolist())


@each_card
@pytest.mark.parametrize("kappa", [1, 3, 10_000])
@pytest.mark.parametrize("signed", [False, True])
def test_exact_matching_in_codes_is_eq_3_of_what_they_stand_for(card: ModelCard, kappa: int, signed: bool) -> None:
    rng = np.random.default_rng(1)
    pyramids = [random_pyramid(rng, card, signed=signed) for _ in range(4)]
    gallery, coder, _ = coded_gallery_of(pyramids, card)
    query = random_pyramid(rng, card, signed=signed)
    decoded = [rounded(pyramid, gallery) for pyramid in pyramids]
    images = np.array([1, 3, 0])
    found = match_exactly(coder.rounded(query), gallery, items=images, kappa=kappa)
    expected = naive(rounded(query, gallery), [decoded[i] for i in images], kappa)
    np.testing.assert_allclose(found.distances, expected, rtol=1e-4)
    check_places(found, rounded(query, gallery), decoded, images.tolist())
    # Codes are close to the features themselves, for what lies within their range.
    near = naive(query, [pyramids[i] for i in images], kappa)
    assert np.median(np.abs(found.distances / near - 1)) < 0.05


def naive_around(query: Pyramid, gallery: list[Pyramid], kappa: int, *, side: int, reach: int) -> NDArray[np.float64]:
    """Eq. 3 among the embeddings of the cells around each position."""
    rows, columns = np.divmod(np.arange(len(torch_embedding(query))), query.grid[1])
    f = torch.stack([torch_embedding(pyramid) for pyramid in gallery])
    result = []
    for row, column, y in zip(rows // side, columns // side, torch_embedding(query), strict=True):
        around = (abs(rows // side - row) <= reach) & (abs(columns // side - column) <= reach)
        squared = ((f[:, torch.from_numpy(around)] - y) ** 2).sum(dim=2).ravel()
        result.append(float(squared.sort().values[:kappa].mean()))
    return np.array(result).reshape(query.grid)


@each_card
@pytest.mark.parametrize("reach", [0, 1, 2, 9])
def test_the_fewest_positions_are_near_a_corner(card: ModelCard, reach: int) -> None:
    gallery = gallery_of([random_pyramid(np.random.default_rng(0), card)], card)
    near = _near(gallery, reach, slice(None))
    assert _fewest_near(gallery, reach) == near.sum(axis=1).min()


@each_card
@pytest.mark.parametrize("kappa", [1, 3])
@pytest.mark.parametrize("reach", [0, 1, 9])
def test_matching_by_place_is_eq_3_of_the_cells_around(card: ModelCard, kappa: int, reach: int) -> None:
    rng = np.random.default_rng(14)
    pyramids, query = [random_pyramid(rng, card) for _ in range(5)], random_pyramid(rng, card)
    gallery, _, keys = coded_gallery_of(pyramids, card)
    known = [rounded(pyramid, gallery) for pyramid in pyramids]
    matching = Matching(search="place", place=reach, candidates=200, kappa=kappa)  # more than there are
    included, allowed, images = np.arange(5) != 2, np.arange(5) > 0, [1, 3, 4]
    for search in (None, "exact"):
        matcher = Matcher.open(
            gallery, matching, indexes=(), entries=None, keys=keys, included=included, search=search, threads=1
        )
        (found,) = matcher.match([query], allowed=allowed)
        expected = naive_around(
            rounded(query, gallery), [known[i] for i in images], kappa, side=gallery.side, reach=reach
        )
        np.testing.assert_allclose(found.distances, expected, rtol=1e-4)
        assert {found.nearest(*at).item for at in np.ndindex(*query.grid)} <= set(images)
        found = matcher.match_item(1, view=0, allowed=np.isin(np.arange(5), [0, 3, 4]))
        expected = naive_around(known[1], [known[i] for i in (0, 3, 4)], kappa, side=gallery.side, reach=reach)
        np.testing.assert_allclose(found.distances, expected, rtol=1e-4)
    # Features without codes are compared around the same places.
    plain = match_exactly(query, gallery_of(pyramids, card), items=np.array(images), kappa=kappa, place=reach)
    expected = naive_around(query, [pyramids[i] for i in images], kappa, side=gallery.side, reach=reach)
    np.testing.assert_allclose(plain.distances, expected, rtol=1e-4)


def test_each_view_has_places_of_its_own() -> None:
    rng = np.random.default_rng(15)
    pyramids, query = [random_pyramid(rng, THREE) for _ in range(6)], random_pyramid(rng, THREE)
    gallery, _, keys = coded_gallery_of(pyramids, THREE)
    known = [rounded(pyramid, gallery) for pyramid in pyramids]
    gallery = replace(gallery, names=gallery.names[:3])  # two views
    matching = Matching(search="place", place=1, candidates=40, gallery="per-view")
    matcher = Matcher(gallery, matching, keys=keys, threads=1)
    for found, own in zip(matcher.match([query, query], views=[1, 0]), (known[3:], known[:3]), strict=True):
        expected = naive_around(rounded(query, gallery), own, 1, side=4, reach=1)
        np.testing.assert_allclose(found.distances, expected, rtol=1e-4)
    few = replace(matching, candidates=2)  # so that it matters which keys are compared
    (found,) = Matcher(gallery, few, keys=keys, threads=1).match([query], views=[1])
    alone, _, _ = coded_gallery_of(pyramids, THREE)
    alone = replace(
        alone,
        levels=tuple(level[3:] for level in alone.levels),
        descriptors=alone.descriptors[3:],
        names=alone.names[3:],
        squares=alone.squares[18:],
    )
    (same,) = Matcher(alone, few, keys=keys[18:], threads=1).match([query])
    np.testing.assert_array_equal(found.distances, same.distances)
    with pytest.raises(UsageError):
        Matcher(gallery, replace(matching, gallery="shared"), keys=keys, threads=1)
    with pytest.raises(BundleError):
        Matcher(gallery, matching, threads=1)


def test_a_frame_of_the_gallery_is_found_at_distance_zero_in_its_place() -> None:
    rng = np.random.default_rng(1)
    pyramids = [random_pyramid(rng, THREE) for _ in range(3)]
    found = match_exactly(pyramids[1], gallery_of(pyramids, THREE), items=np.arange(3), kappa=1)
    assert found.distances.max() < 1e-9
    assert (found.items == 1).all()
    assert np.array_equal(found.positions.ravel(), np.arange(8 * 12))


def test_small_distances_between_large_features_survive() -> None:
    # ‖f‖² − 2⟨f, y⟩ + ‖y‖² in float32 would give noise of the size of the distance itself.
    rng = np.random.default_rng(2)
    base = random_pyramid(rng, ONE)
    far = Pyramid(levels=(base.levels[0] + 300,), descriptor=base.descriptor)
    near = Pyramid(
        levels=(far.levels[0] + rng.normal(0, 0.01, far.levels[0].shape).astype(np.float32),),
        descriptor=base.descriptor,
    )
    found = match_exactly(near, gallery_of([far], ONE), items=np.array([0]), kappa=1)
    np.testing.assert_allclose(found.distances, naive(near, [far], 1), rtol=1e-3)


def test_bands_of_a_large_view_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    gallery, query = gallery_of([random_pyramid(rng, THREE) for _ in range(3)], THREE), random_pyramid(rng, THREE)
    places = (None, 0, 1)
    whole = [match_exactly(query, gallery, items=np.arange(3), kappa=2, place=place) for place in places]
    monkeypatch.setattr(module, "TABLE", 96 * 7)  # seven positions at a time
    banded = [match_exactly(query, gallery, items=np.arange(3), kappa=2, place=place) for place in places]
    for found, expected in zip(banded, whole, strict=True):
        np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-6)
        assert np.array_equal(found.items, expected.items)


@each_card
def test_positions_are_read_out_of_the_levels_as_the_whole_embedding_has_them(card: ModelCard) -> None:
    rng = np.random.default_rng(4)
    pyramids = [random_pyramid(rng, card, signed=True) for _ in range(3)]
    coded, _, _ = coded_gallery_of(pyramids, card)
    places = int(np.prod(card.grid(card.levels[0])))
    for gallery in (gallery_of(pyramids, card), coded):
        for image, pyramid in enumerate(pyramids):
            known = rounded(pyramid, gallery) if isinstance(gallery, CodedGallery) else pyramid
            expected = torch_embedding(known).numpy()
            found = gallery.embeddings(np.full(places, image), np.arange(places))
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
            squares = (expected**2).sum(axis=1)
            np.testing.assert_allclose(gallery.squares_of(image).ravel(), squares, rtol=1e-5)
            for level, wanted in zip(gallery.pyramid(image).levels, known.levels, strict=True):
                np.testing.assert_allclose(level, wanted, rtol=1e-5, atol=1e-5)


def test_ordering_by_cell_can_be_undone() -> None:
    values = np.arange(8 * 12).reshape(8, 12, 1).astype(np.float32)
    cells = by_cell(values, 4)
    assert cells[1, :, 0].tolist() == [4, 5, 6, 7, 16, 17, 18, 19, 28, 29, 30, 31, 40, 41, 42, 43]
    assert np.array_equal(from_cells(cells[:, :, 0], 4, (8, 12)), values[:, :, 0])


class Indexed:
    """Twenty good images in codes, with an index over their cells."""

    def __init__(self, folder: Path, card: ModelCard = THREE, *, count: int = 20, signed: bool = False) -> None:
        rng = np.random.default_rng(5)
        self.card = card
        self.pyramids = [random_pyramid(rng, card, signed=signed) for _ in range(count)]
        self.gallery, self.coder, keys = coded_gallery_of(self.pyramids, card)
        self.decoded = [rounded(pyramid, self.gallery) for pyramid in self.pyramids]
        write_index(keys, folder / "i.hnsw")
        self.keys = keys
        self.graph_search = GraphSearch(Index.read(folder / "i.hnsw"), threads=1)
        self.comparison = CellComparison(card, self.gallery.coding)

    def matcher(self, **parameters: object) -> Matcher:
        return Matcher(self.gallery, Matching(**parameters), searches=[self.graph_search], threads=1)  # type: ignore[arg-type]

    def match(self, queries: list[Pyramid], view: int, candidates: NDArray[np.int64], kappa: int) -> CellMatches:
        return match_cells(
            self.coder(queries),
            view,
            self.gallery,
            candidates=candidates,
            coder=self.coder,
            comparison=self.comparison,
            kappa=kappa,
            workers=Workers.of(2),
        )


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Indexed:
    return Indexed(tmp_path_factory.mktemp("indexed"))


@each_card
@pytest.mark.parametrize("kappa", [1, 3])
@pytest.mark.parametrize("signed", [False, True])
def test_looking_into_every_cell_is_exact(card: ModelCard, kappa: int, signed: bool, tmp_path: Path) -> None:
    indexed = Indexed(tmp_path, card, count=6, signed=signed)
    rng = np.random.default_rng(6)
    queries = [random_pyramid(rng, card, signed=signed) for _ in range(2)]
    cells = indexed.gallery.cells_per_item
    everything = np.tile(np.arange(6 * cells), (cells, 1))
    for view, query in enumerate(queries):
        found = indexed.match(queries, view, everything, kappa)
        exact = match_exactly(indexed.coder.rounded(query), indexed.gallery, items=np.arange(6), kappa=kappa)
        np.testing.assert_allclose(found.distances, exact.distances, rtol=1e-4)
        np.testing.assert_allclose(
            found.distances, naive(rounded(query, indexed.gallery), indexed.decoded, kappa), rtol=1e-4
        )
        check_places(found, rounded(query, indexed.gallery), indexed.decoded, list(range(6)))


@pytest.mark.parametrize("views", [1, 2])
def test_a_copy_is_found_where_the_cell_that_stands_for_it_may_not_be(views: int, tmp_path: Path) -> None:
    """Images 0, 2 and 4 are the same, in the second view 1, 3 and 5: leaving one out must not lose the others."""
    rng = np.random.default_rng(9)
    one, *others = (random_pyramid(rng, THREE) for _ in range(3 * views + 1))
    pyramids = [one if i % 2 == i // 6 else others[i // 2] for i in range(6 * views)]
    gallery, coder, keys = coded_gallery_of(pyramids, THREE)
    gallery = replace(gallery, names=gallery.names[:6])
    included = np.arange(6) != 5
    parts = np.split(keys, views)
    own = [entries_of(part, np.repeat(included, 6)) for part in parts]
    for number, (part, entries) in enumerate(zip(parts, own, strict=True)):
        labels = np.unique(entries[entries >= 0]).astype(np.int64)
        write_index(part[labels], tmp_path / f"{number}.hnsw", labels=labels)
    matcher = Matcher(
        gallery,
        Matching(candidates=3, gallery="per-view" if views > 1 else "shared"),
        searches=[GraphSearch(Index.read(tmp_path / f"{n}.hnsw"), threads=1) for n in range(views)],
        entries=np.concatenate(own),
        included=included,
        threads=1,
    )
    for view in range(views):
        for left_out, first in ((None, view), (view, 2 + view), (2 + view, view), (4, view)):
            allowed = None if left_out is None else np.arange(6) != left_out
            found = matcher.candidates([one.descriptor], coder([one]).keys, views=[view], allowed=allowed)[0]
            assert found[:, 0].tolist() == [(view * 6 + first) * 6 + cell for cell in range(6)]
            items = np.unique(found // 6)
            assert view * 6 + 5 not in items and (left_out is None or view * 6 + left_out not in items)
            (matches,) = matcher.match([one], views=[view], allowed=allowed)
            np.testing.assert_allclose(matches.distances, 0, atol=1e-2)
        alone = matcher.candidates([one.descriptor], coder([one]).keys, views=[view], allowed=np.arange(6) == 3 - view)[
            0
        ]
        assert set(np.unique(alone // 6)) <= {view * 6 + 3 - view, -1}


@pytest.mark.parametrize("kappa", [1, 2, 20, 10_000])
def test_some_cells_are_eq_3_of_their_embeddings(indexed: Indexed, kappa: int) -> None:
    query = random_pyramid(np.random.default_rng(7), THREE)
    candidates = np.random.default_rng(8).permutation(120)[:18].reshape(6, 3)
    found = indexed.match([query], 0, candidates, kappa)
    view = by_cell(torch_embedding(rounded(query, indexed.gallery)).reshape(8, 12, -1).float().numpy(), 4)
    known = np.concatenate(
        [by_cell(torch_embedding(p).reshape(8, 12, -1).float().numpy(), 4) for p in indexed.decoded]
    ).astype(np.float64)
    for cell in range(6):
        top, left = divmod(cell, 3)
        offered = known[candidates[cell]].reshape(3 * 16, -1)
        for place in range(16):
            squared = np.sort(((offered - view[cell, place]) ** 2).sum(axis=1))
            at = top * 4 + place // 4, left * 4 + place % 4
            assert found.distances[at] == pytest.approx(squared[:kappa].mean(), rel=1e-4)
            spot = found.nearest(*at)
            assert spot.distance == pytest.approx(squared[0], rel=1e-4)
            row, column = divmod(spot.position, 12)
            assert spot.item * 6 + row // 4 * 3 + column // 4 in candidates[cell]


@pytest.mark.parametrize("kappa", [1, 5])
def test_missing_candidates_are_never_matched(indexed: Indexed, kappa: int) -> None:
    query = random_pyramid(np.random.default_rng(9), THREE)
    candidates = np.random.default_rng(10).permutation(120)[:24].reshape(6, 4)
    expected = indexed.match([query], 0, candidates[:, :2], kappa)
    candidates[:, 2:] = -1
    found = indexed.match([query], 0, candidates, kappa)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-6)
    for row in range(8):
        for column in range(12):
            assert found.nearest(row, column) == expected.nearest(row, column)


def test_a_view_of_the_gallery_is_at_distance_zero_through_the_index(indexed: Indexed) -> None:
    for image in (0, 7, 19):
        (found,) = indexed.matcher(candidates=4).match([indexed.pyramids[image]])
        assert found.distances.min() >= 0 and found.distances.max() <= 1e-3
        place = found.nearest(5, 7)
        assert (place.item, place.position) == (image, 5 * 12 + 7)
        assert place.distance <= 1e-3


@pytest.mark.parametrize("parameters", [{}, {"neighbours": 3}, {"kappa": 4}, {"search": "exact"}])
def test_views_of_a_batch_are_matched_as_each_alone(indexed: Indexed, parameters: dict[str, object]) -> None:
    rng = np.random.default_rng(11)
    queries = [random_pyramid(rng, THREE) for _ in range(4)]
    matcher = indexed.matcher(**parameters)
    together = matcher.match(queries)
    assert len(together) == 4
    for query, found in zip(queries, together, strict=True):
        (alone,) = matcher.match([query])
        assert np.array_equal(alone.distances, found.distances)
        assert alone.nearest(3, 4) == found.nearest(3, 4)


@each_card
@pytest.mark.parametrize("kappa", [1, 3])
def test_neither_threads_nor_bands_change_a_bit(
    card: ModelCard, kappa: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(19)
    indexed, queries = Indexed(tmp_path, card, count=5), [random_pyramid(rng, card) for _ in range(2)]
    for place in (None, 1):
        matching = Matching(kappa=kappa, candidates=3, place=place, search="hnsw" if place is None else "place")
        found = []
        for cells in (1, 4, 1000):
            monkeypatch.setattr(module, "CELLS", cells)
            for threads in (1, 2, 5):
                search = GraphSearch(indexed.graph_search.index, threads=threads)
                given = {"searches": [search]} if place is None else {"keys": indexed.keys}
                matcher = Matcher(indexed.gallery, matching, threads=threads, **given)  # type: ignore[arg-type]
                found.append(matcher.match(queries))
        for matches in found[1:]:
            for one, other in zip(matches, found[0], strict=True):
                assert np.array_equal(one.distances, other.distances)
                assert all(one.nearest(*at) == other.nearest(*at) for at in np.ndindex(*one.distances.shape))


def test_candidates_are_the_nearest_keys(indexed: Indexed) -> None:
    rng = np.random.default_rng(12)
    queries = [random_pyramid(rng, THREE) for _ in range(3)]
    keys = indexed.coder(queries).keys
    truth = ((indexed.keys.astype(np.int64)[np.newaxis] - keys[:, np.newaxis]) ** 2).sum(axis=2).reshape(3, 6, 120)
    for parameters, images in (({}, range(20)), ({"neighbours": 50}, range(20)), ({}, range(0, 20, 2))):
        allowed = np.isin(np.arange(20), list(images))
        matcher = indexed.matcher(candidates=5, ef=120, **parameters)
        found = matcher.candidates(
            [query.descriptor for query in queries], keys, views=[0] * 3, allowed=None if allowed.all() else allowed
        )
        assert found.shape == (3, 6, 5)
        assert np.isin(found // 6, list(images)).all()
        possible = np.where(np.repeat(allowed, 6), truth, np.iinfo(np.int64).max)
        assert np.array_equal(np.take_along_axis(truth, found, axis=2), np.sort(possible, axis=2)[:, :, :5])


def test_fewer_cells_than_candidates_leave_none(indexed: Indexed) -> None:
    query = random_pyramid(np.random.default_rng(13), THREE)
    only = np.arange(20) == 11
    matcher = indexed.matcher(candidates=9)
    found = matcher.candidates([query.descriptor], indexed.coder([query]).keys, views=[0], allowed=only)
    assert (np.sort(found[0, :, :6], axis=1) == 66 + np.arange(6)).all()
    assert (found[0, :, 6:] == -1).all()
    (matches,) = matcher.match([query], allowed=only)
    expected = naive(rounded(query, indexed.gallery), [indexed.decoded[11]], 1)
    np.testing.assert_allclose(matches.distances, expected, rtol=1e-4)


@pytest.mark.parametrize("search", ["exact", "hnsw"])
def test_an_image_that_is_left_out_is_never_matched(indexed: Indexed, search: str) -> None:
    matcher = indexed.matcher(search=search)
    (found,) = matcher.match([indexed.pyramids[4]])
    assert found.distances.max() == pytest.approx(0, abs=1e-3)
    (found,) = matcher.match([indexed.pyramids[4]], allowed=np.arange(20) != 4)
    assert all(found.nearest(row, column).item != 4 for row in range(8) for column in range(12))
    assert found.distances.min() > 0.01


@pytest.mark.parametrize("search", ["exact", "hnsw"])
@pytest.mark.parametrize("neighbours", [1, 3, 50])
def test_only_the_k_nearest_images_are_matched(indexed: Indexed, search: str, neighbours: int) -> None:
    rng = np.random.default_rng(14)
    queries = [random_pyramid(rng, THREE) for _ in range(2)]
    matcher = indexed.matcher(neighbours=neighbours, search=search, candidates=120, ef=120)
    chosen = []
    for query, found in zip(queries, matcher.match(queries), strict=True):
        vectors = [p.descriptor.astype(np.float64) for p in indexed.pyramids]
        order = sorted(range(20), key=lambda i: float(((vectors[i] - query.descriptor) ** 2).sum()))[:neighbours]
        chosen.append(order)
        known = [indexed.decoded[i] for i in order]
        np.testing.assert_allclose(found.distances, naive(rounded(query, indexed.gallery), known, 1), rtol=1e-4)
        check_places(found, rounded(query, indexed.gallery), indexed.decoded, order)
    assert chosen[0] != chosen[1]  # each view has images of its own


@pytest.mark.parametrize("neighbours", [None, 2])
def test_a_gallery_in_float32_is_matched_as_the_network_gave_it(neighbours: int | None) -> None:
    rng = np.random.default_rng(15)
    pyramids = [random_pyramid(rng, THREE) for _ in range(5)]
    query = random_pyramid(rng, THREE)
    matching = Matching(neighbours=neighbours, projection="none", search="exact", kappa=2)
    (found,) = Matcher(gallery_of(pyramids, THREE), matching, threads=1).match([query])
    order = sorted(
        range(5), key=lambda i: float(((pyramids[i].descriptor.astype(np.float64) - query.descriptor) ** 2).sum())
    )
    known = [pyramids[i] for i in order[:neighbours]]
    np.testing.assert_allclose(found.distances, naive(query, known, 2), rtol=1e-4)


@pytest.mark.parametrize("search", ["exact", "hnsw"])
def test_memory_does_not_grow_with_the_gallery(search: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "TABLE", 1 << 12)
    peaks = []
    for count in (4, 40):
        indexed = Indexed(tmp_path, count=count)
        matcher = indexed.matcher(search=search)
        matcher.match([indexed.pyramids[0]])
        tracemalloc.start()
        matcher.match([indexed.pyramids[0]])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize("neighbours", [1, 5, 20, 50, None])
@pytest.mark.parametrize("coded", [False, True])
def test_the_descriptor_score_is_the_mean_squared_distance_to_the_k_nearest_vectors(
    neighbours: int | None, coded: bool
) -> None:
    rng = np.random.default_rng(16)
    pyramids = [random_pyramid(rng, ONE) for _ in range(20)]
    query = random_pyramid(rng, ONE)
    squared = [
        sum((float(a) - float(b)) ** 2 for a, b in zip(p.descriptor, query.descriptor, strict=True)) for p in pyramids
    ]
    gallery = coded_gallery_of(pyramids, ONE)[0] if coded else gallery_of(pyramids, ONE)
    matching = Matching(neighbours=neighbours, search="exact", image_score="descriptors")
    score: Callable[..., float] = Matcher(gallery, matching, threads=1).descriptor_score
    assert score(query.descriptor) == pytest.approx(np.mean(sorted(squared)[:neighbours]), rel=1e-5)
    allowed = np.arange(20) % 3 > 0
    kept = sorted(x for x, may in zip(squared, allowed, strict=True) if may)
    assert score(query.descriptor, allowed=allowed) == pytest.approx(np.mean(kept[:neighbours]), rel=1e-5)


@pytest.mark.parametrize("shape", [(32, 32), (32, 64), (160, 32), (96, 96), (224, 224), (192, 320)])
def test_the_map_score_is_the_mean_of_the_highest_three_in_a_thousand(shape: tuple[int, int]) -> None:
    heatmap = np.random.default_rng(17).gamma(1, 10, shape).astype(np.float32)
    count = max(1, shape[0] * shape[1] * 3 // 1000)
    expected = sum(sorted(heatmap.ravel().tolist(), reverse=True)[:count]) / count
    before = heatmap.copy()
    stitching = Stitching(Canvas(WHOLE, View(shape, shape)), (shape[0] // 8, shape[1] // 8), sigma=4)
    assert stitching.kept is None
    assert stitching.score(heatmap) == pytest.approx(expected, rel=1e-6)
    assert stitching.score(heatmap[::-1]) == pytest.approx(expected, rel=1e-6)
    assert np.array_equal(heatmap, before)


def test_searching_without_codes_or_an_index_is_refused(indexed: Indexed) -> None:
    gallery = gallery_of([random_pyramid(np.random.default_rng(0), THREE)], THREE)
    for features, searches in ((gallery, [indexed.graph_search]), (gallery, []), (indexed.gallery, [])):
        with pytest.raises(BundleError, match="--search exact"):
            Matcher(features, Matching(), searches=searches)


def test_more_neighbours_than_the_search_looks_at_are_refused(indexed: Indexed) -> None:
    indexed.matcher(candidates=2, kappa=32)
    indexed.matcher(candidates=2, kappa=33, search="exact")
    with pytest.raises(UsageError, match="at most 32"):
        indexed.matcher(candidates=2, kappa=33)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kappa": 0},
        {"kappa": 10_001},
        {"neighbours": 0},
        {"sigma": -1.0},
        {"sigma": 101.0},
        {"sigma": float("nan")},
        {"search": "best"},
        {"projection": "pca"},
        {"projection": "none"},  # with the index, which is searched in codes
        {"image_score": "mean"},
        {"ef": 0},
        {"candidates": 0},
        {"place": -1, "search": "place"},
        {"place": 65, "search": "place"},
        {"place": 1, "search": "hnsw"},
        {"search": "place"},
        {"normalisation": "roots"},
        {"candidates": 10_000},
    ],
)
def test_parameters_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="expected"):
        Matching(**wrong)  # type: ignore[arg-type]
