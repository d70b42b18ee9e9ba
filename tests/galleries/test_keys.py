"""What is fitted to good images: ranges that hold them, keys that tell cells apart."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from cards import CARDS, card_of
from numpy.typing import NDArray

from spade_edge.galleries.keys import DETAIL, DIMENSIONS, MARGIN, fit_coding
from spade_edge.runtime.matching.coding import LARGEST, Coder, Coding
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.pyramid import Pyramid

each_card = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())
THREE = CARDS["three levels"]


def pyramid_of(card: ModelCard, seed: int, *, signed: bool = False) -> Pyramid:
    rng = np.random.default_rng(seed)
    levels = tuple(
        (rng.gamma(1, 1, (*card.grid(level), level.channels)) - signed).astype(np.float32) for level in card.levels
    )
    return Pyramid(levels=levels, descriptor=levels[-1].mean(axis=(0, 1)))


def constant_pyramid(card: ModelCard, value: float) -> Pyramid:
    levels = tuple(np.full((*card.grid(level), level.channels), value, np.float32) for level in card.levels)
    return Pyramid(levels=levels, descriptor=levels[-1][0, 0])


def check_sane(coding: Coding, card: ModelCard) -> None:
    """Types, shapes, and numbers that a bundle may hold."""
    record = sum((card.levels[-1].stride // level.stride) ** 2 * level.channels for level in card.levels)
    dimensions = len(coding.key_scale)
    assert 1 <= dimensions <= DIMENSIONS
    assert coding.lowest.shape == coding.steps.shape == (len(card.levels),)
    assert coding.key_weights.shape == (record, dimensions)
    assert coding.key_weights.dtype == np.int8
    assert coding.key_offset.shape == (dimensions,)
    for field in fields(coding)[1:]:  # the first is the normalisation
        assert np.isfinite(getattr(coding, field.name)).all()
        assert getattr(coding, field.name).dtype in (np.float32, np.int8)
    assert (coding.steps > 0).all() and (coding.key_scale > 0).all()
    assert coding.key_weights.min() >= -127


@each_card
@pytest.mark.parametrize("signed", [False, True])
def test_ranges_hold_the_good_features_with_a_margin(card: ModelCard, signed: bool) -> None:
    pyramids = [pyramid_of(card, seed, signed=signed) for seed in range(4)]
    coding = fit_coding(pyramids, card, normalisation="none")
    check_sane(coding, card)
    for i in range(len(card.levels)):
        everything = np.concatenate([p.levels[i].ravel() for p in pyramids]).astype(np.float64)
        low, high = everything.min(), everything.max()
        top = coding.lowest[i] + LARGEST * np.float64(coding.steps[i])
        assert top == pytest.approx(high + MARGIN * (high - low), rel=1e-5)
        if signed:
            assert low < 0
            assert coding.lowest[i] == pytest.approx(low - MARGIN / 2 * (high - low), rel=1e-5)
        else:
            assert coding.lowest[i] == 0  # after a ReLU
    codes = Coder(card, coding, threads=1)(pyramids).levels
    assert all(level.max() < LARGEST for level in codes)
    assert all(level.min() > 0 for level in codes) or not signed


def naive_quarters(pyramid: Pyramid, card: ModelCard) -> NDArray[np.float64]:
    """What a key is a projection of, by loops: (cells, G)."""
    rows, columns = card.grid(card.levels[-1])
    side = card.levels[-1].stride // card.levels[0].stride
    result = []
    for r in range(rows):
        for c in range(columns):
            parts = []
            for features, level in zip(pyramid.levels, card.levels, strict=True):
                span = card.levels[-1].stride // level.stride
                cell = features[r * span : (r + 1) * span, c * span : (c + 1) * span].astype(np.float64)
                count = 2 if span > 1 else 1
                wide = span // count
                quarters = [
                    cell[y * wide : (y + 1) * wide, x * wide : (x + 1) * wide].mean(axis=(0, 1))
                    for y in range(count)
                    for x in range(count)
                ]
                mean = sum(quarters) / len(quarters)
                parts += [(mean + DETAIL * (quarter - mean)) * side / count for quarter in quarters]
            result.append(np.concatenate(parts))
    return np.array(result)


def patterned(card: ModelCard, count: int, *, patterns: int) -> list[Pyramid]:
    """Views whose cells are mixtures of a few patterns, which differ within a cell, and a little noise."""
    rng = np.random.default_rng(3)
    rows, columns = card.grid(card.levels[-1])
    shapes = []
    for level in card.levels:
        span = card.levels[-1].stride // level.stride
        # Whole quarters differ, so that the mean of a cell does not tell all.
        quarters = rng.normal(0, 1, (patterns, min(span, 2), min(span, 2), level.channels))
        shapes.append(np.kron(quarters, np.ones((1, max(1, span // 2), max(1, span // 2), 1))))
    pyramids = []
    for _ in range(count):
        shares = rng.normal(0, 1, (rows, columns, patterns)) * 0.8 ** np.arange(patterns)
        levels = []
        for level, shape in zip(card.levels, shapes, strict=True):
            features = np.einsum("rck,kyxf->rycxf", shares, shape).reshape(*card.grid(level), level.channels)
            levels.append((features + rng.normal(0, 0.01, features.shape)).astype(np.float32))
        pyramids.append(Pyramid(levels=tuple(levels), descriptor=levels[-1][0, 0]))
    return pyramids


@pytest.mark.parametrize("lifted", [0, 20])  # 20: every feature above 0, as after a ReLU
@pytest.mark.parametrize("name", ["three levels", "not square", "a level left out", "the third level alone"])
def test_distances_of_keys_are_those_of_the_principal_directions(name: str, lifted: float) -> None:
    card = CARDS[name]
    pyramids = [
        Pyramid(levels=tuple(level + np.float32(lifted) for level in p.levels), descriptor=p.descriptor)
        for p in patterned(card, 20, patterns=6)
    ]
    coding = fit_coding(pyramids, card, dimensions=3, normalisation="none")
    check_sane(coding, card)
    keys = Coder(card, coding, threads=1)(pyramids).keys.astype(np.float64)
    assert keys.min() > 0 and keys.max() < LARGEST  # the good cells reach neither end
    wide = np.concatenate([naive_quarters(p, card) for p in pyramids])
    wide -= wide.mean(axis=0)
    directions = np.linalg.svd(wide, full_matrices=False)[2]
    kept = wide @ directions[:3].T
    pairs = np.random.default_rng(9).integers(0, len(keys), (400, 2))
    found = np.linalg.norm(keys[pairs[:, 0]] - keys[pairs[:, 1]], axis=1)
    expected = np.linalg.norm(kept[pairs[:, 0]] - kept[pairs[:, 1]], axis=1)
    scale = (found @ expected) / (expected @ expected)
    assert np.abs(found - scale * expected).max() < (0.15 if lifted else 0.1) * found.mean()
    assert np.corrcoef(found, expected)[0, 1] > 0.995


def test_keys_tell_cells_apart_and_find_what_is_like_them() -> None:
    card = card_of((64, 64), (4, 6), (8, 8), (16, 12))  # 68 numbers to a cell's quarters
    pyramids = [pyramid_of(card, seed) for seed in range(8)]
    coding = fit_coding(pyramids, card, normalisation="none")
    assert coding.key_weights.shape[1] == DIMENSIONS
    coder = Coder(card, coding, threads=1)
    keys = coder(pyramids).keys.astype(np.int64)
    assert len(np.unique(keys, axis=0)) == len(keys) == 8 * 16
    rng = np.random.default_rng(1)
    noisy = [
        Pyramid(
            levels=tuple((x + rng.normal(0, 0.05, x.shape)).astype(np.float32) for x in p.levels),
            descriptor=p.descriptor,
        )
        for p in pyramids
    ]
    seen = coder(noisy).keys.astype(np.int64)
    distances = ((seen[:, np.newaxis] - keys) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == np.arange(len(keys))).all()
    own = distances[np.arange(len(keys)), np.arange(len(keys))]
    others = np.sort(distances, axis=1)[:, 1]
    assert own.max() < others.min()


@each_card
def test_one_image_is_enough(card: ModelCard) -> None:
    pyramid = pyramid_of(card, 0)
    coding = fit_coding([pyramid], card, normalisation="none")
    check_sane(coding, card)
    cells = int(np.prod(card.grid(card.levels[-1])))
    assert len(coding.key_scale) == min(cells, naive_quarters(pyramid, card).shape[1], DIMENSIONS)
    coded = Coder(card, coding, threads=1)([pyramid])
    assert len(np.unique(coded.keys, axis=0)) == cells


@pytest.mark.parametrize("dimensions", [1, 5, 64])
def test_fewer_dimensions_where_asked_or_where_there_are_fewer_cells(dimensions: int) -> None:
    card = CARDS["not square"]  # 12 cells an image
    assert len(fit_coding([pyramid_of(card, 0)], card, dimensions=dimensions, normalisation="none").key_scale) == min(
        dimensions, 12
    )
    card = CARDS["the third level alone"]  # 6 features a cell
    pyramids = [pyramid_of(card, seed) for seed in range(9)]
    assert len(fit_coding(pyramids, card, dimensions=dimensions, normalisation="none").key_scale) == min(dimensions, 6)


@each_card
@pytest.mark.parametrize("value", [0, 3, -2])
def test_features_that_never_vary(card: ModelCard, value: float) -> None:
    pyramids = [constant_pyramid(card, value)] * 3
    coding = fit_coding(pyramids, card, normalisation="none")
    check_sane(coding, card)
    coder = Coder(card, coding, threads=1)
    coded = coder(pyramids)
    assert len(np.unique(coded.keys, axis=0)) == 1
    assert np.isfinite(coder.windows(coded).squares).all()
    assert all(np.allclose(level, value, atol=1e-5) for level in coder.rounded(pyramids[0]).levels)


def test_a_channel_that_never_varies_does_not_spoil_the_others() -> None:
    pyramids = [pyramid_of(THREE, seed) for seed in range(5)]
    for pyramid in pyramids:
        pyramid.levels[1][:] = 0  # a dead level
        pyramid.levels[0][:, :, 2] = 1
    coding = fit_coding(pyramids, THREE, normalisation="none")
    check_sane(coding, THREE)
    keys = Coder(THREE, coding, threads=1)(pyramids).keys
    assert len(np.unique(keys, axis=0)) == 5 * 16


def test_the_same_features_give_the_same_coding() -> None:
    first, second = (
        fit_coding([pyramid_of(THREE, seed) for seed in range(5)], THREE, normalisation="none") for _ in range(2)
    )
    for field in fields(first):
        assert np.array_equal(getattr(first, field.name), getattr(second, field.name))
    other = fit_coding([pyramid_of(THREE, seed) for seed in range(1, 6)], THREE, normalisation="none")
    assert not np.array_equal(first.key_weights, other.key_weights)
