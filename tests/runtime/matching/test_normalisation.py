"""Normalisation against sums over the channels of one position."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from cards import CARDS
from numpy.typing import NDArray

from spade_edge.galleries.keys import fit_coding
from spade_edge.runtime import ModelError
from spade_edge.runtime.matching.coding import Coder
from spade_edge.runtime.matching.normalisation import normalised
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.pyramid import Pyramid

each_card = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())


def pyramid_of(card: ModelCard, seed: int, *, signed: bool) -> Pyramid:
    rng = np.random.default_rng(seed)
    levels = tuple(
        (rng.gamma(0.5, 3, (*card.grid(x), x.channels)) * (rng.choice([-1, 1], x.channels) if signed else 1)).astype(
            np.float32
        )
        for x in card.levels
    )
    return Pyramid(levels=levels, descriptor=levels[-1].mean(axis=(0, 1)))


def by_hand(features: NDArray[np.float32], how: str) -> list[float]:
    """The features of one position."""
    values = [float(value) for value in features]
    if how == "root":
        total = sum(abs(value) for value in values)
        return [math.copysign(math.sqrt(abs(value) / total), value) if total else 0.0 for value in values]
    length = math.sqrt(sum(value**2 for value in values)) or 1.0
    return [value / length for value in values] if how == "length" else values


@each_card
@pytest.mark.parametrize("how", ["root", "length", "none"])
@pytest.mark.parametrize("signed", [False, True])
def test_each_position_of_each_level_is_normalised_alone(card: ModelCard, how: str, signed: bool) -> None:
    pyramid = pyramid_of(card, 0, signed=signed)
    pyramid.levels[0][0, 0] = 0  # a position at which the network does not respond
    for level, found in zip(pyramid.levels, normalised(pyramid, how).levels, strict=True):
        assert found.dtype == np.float32
        for row, column in np.ndindex(level.shape[:2]):
            np.testing.assert_allclose(found[row, column], by_hand(level[row, column], how), rtol=1e-5, atol=1e-7)


@each_card
@pytest.mark.parametrize("how", ["root", "length", "none"])
@pytest.mark.parametrize("signed", [False, True])
def test_codes_are_those_of_normalised_features(card: ModelCard, how: str, signed: bool) -> None:
    pyramids = [pyramid_of(card, seed, signed=signed) for seed in range(3)]
    pyramids[1].levels[0][0, 0] = 0
    coding = fit_coding(pyramids, card, normalisation=how)
    assert coding.normalisation == how
    for pyramid in pyramids:
        wanted = normalised(pyramid, how)
        found = Coder(card, coding, threads=1).rounded(pyramid)
        for level, expected, step in zip(found.levels, wanted.levels, coding.steps, strict=True):
            assert np.abs(level - expected).max() <= step * 0.501
            assert (np.abs(level - expected) > 0).any()


@each_card
def test_how_strongly_the_network_responds_does_not_matter(card: ModelCard) -> None:
    pyramids = [pyramid_of(card, seed, signed=False) for seed in range(3)]
    brighter = Pyramid(levels=tuple(level * 8 for level in pyramids[0].levels), descriptor=pyramids[0].descriptor)
    for how, same in (("root", True), ("length", True), ("none", False)):
        coder = Coder(card, fit_coding(pyramids, card, normalisation=how), threads=1)
        one, other = coder([pyramids[0]]), coder([brighter])
        equal = all(np.array_equal(a, b) for a, b in zip(one.levels, other.levels, strict=True))
        assert equal == same


def test_the_distance_of_roots_is_hellingers() -> None:
    card = CARDS["two levels"]
    one, other = (pyramid_of(card, seed, signed=False) for seed in range(2))
    p, q = (pyramid.levels[0][0, 0].astype(np.float64) for pyramid in (one, other))
    bhattacharyya = sum(math.sqrt(a / p.sum() * b / q.sum()) for a, b in zip(p, q, strict=True))
    roots = [normalised(pyramid, "root").levels[0][0, 0] for pyramid in (one, other)]
    assert float(((roots[0] - roots[1]) ** 2).sum()) == pytest.approx(2 - 2 * bhattacharyya, rel=1e-5)


@pytest.mark.parametrize("how", ["root", "length", "none"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_features_that_are_not_finite_are_refused(how: str, value: float) -> None:
    card = CARDS["two levels"]
    pyramids = [pyramid_of(card, seed, signed=False) for seed in range(2)]
    coder = Coder(card, fit_coding(pyramids, card, normalisation=how), threads=1)
    for level in range(2):
        wrong = pyramid_of(card, 0, signed=False)
        wrong.levels[level][-1, -1, 0] = value
        with pytest.raises(ModelError):
            coder([pyramids[1], wrong])


def test_features_of_any_size_have_a_direction() -> None:
    card = CARDS["two levels"]
    pyramids = [pyramid_of(card, seed, signed=False) for seed in range(2)]
    for how in ("root", "length"):
        coder = Coder(card, fit_coding(pyramids, card, normalisation=how), threads=1)
        known = coder.rounded(pyramids[0])
        for size in (1e-6, 1e12):
            levels = tuple(level * np.float32(size) for level in pyramids[0].levels)
            found = coder.rounded(replace(pyramids[0], levels=levels))
            for level, expected, step in zip(found.levels, known.levels, coder.coding.steps, strict=True):
                assert np.abs(level - expected).max() <= step * 1.01  # the next code at most, by rounding


@each_card
def test_codes_that_are_known_get_the_keys_of_their_view(card: ModelCard) -> None:
    pyramids = [pyramid_of(card, seed, signed=True) for seed in range(3)]
    coder = Coder(card, fit_coding(pyramids, card), threads=1)
    together = coder(pyramids)
    for view in range(3):
        again = coder.with_keys(tuple(level[view : view + 1] for level in together.levels))
        assert np.array_equal(again.keys, coder([pyramids[view]]).keys)


def test_negative_features_count_as_none_where_good_ones_are_never_negative() -> None:
    card = CARDS["two levels"]
    pyramids = [pyramid_of(card, seed, signed=False) for seed in range(2)]
    coder = Coder(card, fit_coding(pyramids, card), threads=1)
    level = pyramids[0].levels[0].copy()
    level[..., 0] = 0
    below = level.copy()
    below[..., 0] = -0.5
    found = [coder([replace(pyramids[0], levels=(one, *pyramids[0].levels[1:]))]).levels[0] for one in (level, below)]
    assert np.array_equal(*found)
