"""Codes, keys and squares against loops over positions and torch's bilinear enlarging."""

from __future__ import annotations

import numpy as np
import pytest
from cards import CARDS
from numpy.typing import NDArray

from spade_edge.runtime import ModelError
from spade_edge.runtime.matching import coding as module
from spade_edge.runtime.matching.coding import Coded, Coder, Coding, Window, windows
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.pyramid import Pyramid

torch = pytest.importorskip("torch")

each_card = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())


def coding_of(card: ModelCard, *, dimensions: int = 12, seed: int = 0) -> Coding:
    """Limits that cut off some features of `pyramid_of` on both sides, and keys of which some are cut off."""
    rng = np.random.default_rng(seed)
    count = len(card.levels)
    features = sum((card.levels[-1].stride // level.stride) ** 2 * level.channels for level in card.levels)
    weights = rng.integers(-127, 128, (features, dimensions)).astype(np.int8)
    return Coding(
        normalisation="none",
        lowest=np.array([0, -1.5, -0.3][:count], np.float32),
        steps=np.array([0.013, 0.021, 0.017][:count], np.float32),
        key_weights=weights,
        key_scale=rng.uniform(0.5, 1.5, dimensions).astype(np.float32) * np.float32(0.02 / features**0.5),
        key_offset=rng.uniform(30, 90, dimensions).astype(np.float32),
    )


def pyramid_of(card: ModelCard, seed: int) -> Pyramid:
    rng = np.random.default_rng(seed)
    levels = tuple(rng.normal(0.4, 0.8, (*card.grid(x), x.channels)).astype(np.float32) for x in card.levels)
    return Pyramid(levels=levels, descriptor=levels[-1].mean(axis=(0, 1)))


def naive_codes(pyramid: Pyramid, coding: Coding) -> list[NDArray[np.int64]]:
    """Each level (h, w, C), row by row."""
    return [
        np.clip(np.round((level - low) / step), 0, 127).astype(np.int64)
        for level, low, step in zip(pyramid.levels, coding.lowest, coding.steps, strict=True)
    ]


def naive_embeddings(codes: list[NDArray[np.int64]], coding: Coding) -> NDArray[np.float64]:
    """(h, w, sum of C) by torch, the lowest features being 0."""
    enlarged = [
        torch.nn.functional.interpolate(
            torch.from_numpy(level * float(step)).permute(2, 0, 1)[None],
            size=codes[0].shape[:2],
            mode="bilinear",
            align_corners=False,
        )[0]
        for level, step in zip(codes, coding.steps, strict=True)
    ]
    return torch.cat(enlarged).permute(1, 2, 0).numpy()


def cell_by_cell(values: NDArray[np.generic], card: ModelCard, stride: int) -> list[list[NDArray[np.generic]]]:
    """The positions of a level inside each cell, row by row, as lists."""
    rows, columns = card.grid(card.levels[-1])
    span = card.levels[-1].stride // stride
    return [
        [values[r * span + y, c * span + x] for y in range(span) for x in range(span)]
        for r in range(rows)
        for c in range(columns)
    ]


@each_card
def test_codes_are_rounded_and_clipped_features_finest_by_cell(card: ModelCard) -> None:
    coding = coding_of(card)
    pyramids = [pyramid_of(card, seed) for seed in range(3)]
    coded = Coder(card, coding, threads=1)(pyramids)
    assert len(coded) == 3
    assert len(coded.levels) == len(card.levels)
    ends = []
    for view, pyramid in enumerate(pyramids):
        for i, (level, expected) in enumerate(zip(coded.levels, naive_codes(pyramid, coding), strict=True)):
            assert level.dtype == np.uint8
            ends.append((expected.min(), expected.max()))
            channels = expected.shape[2]
            if i == 0:
                expected = np.array(cell_by_cell(expected, card, card.levels[0].stride))  # noqa: PLW2901
            assert np.array_equal(level[view], expected.reshape(-1, channels))
    assert min(ends)[0] == 0 and max(high for _, high in ends) == 127  # both ends are reached


@each_card
def test_a_key_is_a_product_with_the_cells_record(card: ModelCard) -> None:
    coding = coding_of(card)
    pyramid = pyramid_of(card, 1)
    codes = naive_codes(pyramid, coding)
    inside = [cell_by_cell(level, card, x.stride) for level, x in zip(codes, card.levels, strict=True)]
    keys = Coder(card, coding, threads=1)([pyramid]).keys
    assert keys.dtype == np.uint8
    assert keys.shape == (int(np.prod(card.grid(card.levels[-1]))), 12)
    seen = set()
    for cell, key in enumerate(keys):
        record = np.concatenate([position for level in inside for position in level[cell]])
        exact = (record @ coding.key_weights.astype(np.int64)) * coding.key_scale.astype(np.float64) + coding.key_offset
        sure = np.abs(exact % 1 - 0.5) > 1e-3  # float32 may round a half either way
        assert sure.mean() > 0.9
        assert np.array_equal(key[sure], np.clip(np.round(exact), 0, 127)[sure])
        seen |= set(key.tolist())
    assert len(seen) > 8


def test_keys_are_clipped_at_both_ends() -> None:
    card = CARDS["two levels"]
    coding = coding_of(card)
    for offset, expected in ((-1e4, 0), (1e4, 127)):
        shifted = Coding(
            normalisation="none",
            lowest=coding.lowest,
            steps=coding.steps,
            key_weights=coding.key_weights,
            key_scale=coding.key_scale,
            key_offset=np.full(12, offset, np.float32),
        )
        assert (Coder(card, shifted, threads=1)([pyramid_of(card, 0)]).keys == expected).all()


def test_features_far_beyond_the_range_are_coded_as_its_end() -> None:
    card = CARDS["the third level alone"]
    coder = Coder(card, coding_of(card), threads=1)
    for value, code in ((-1e9, 0), (1e9, 127)):
        level = np.full((4, 2, 6), value, np.float32)
        assert (coder([Pyramid(levels=(level,), descriptor=level[0, 0])]).levels[0] == code).all()
    for value in (-np.inf, np.inf, np.nan):
        level = np.ones((4, 2, 6), np.float32)
        level[1, 1, 3] = value
        with pytest.raises(ModelError, match="finite"):
            coder([Pyramid(levels=(level,), descriptor=level[0, 0])])


@each_card
def test_squares_are_lengths_of_bilinear_embeddings(card: ModelCard) -> None:
    coding = coding_of(card)
    coder = Coder(card, coding, threads=1)
    pyramids = [pyramid_of(card, seed) for seed in range(2)]
    squares = coder.windows(coder(pyramids)).squares
    side = card.levels[-1].stride // card.levels[0].stride
    assert squares.shape == (2 * int(np.prod(card.grid(card.levels[-1]))), side**2)
    expected = []
    for pyramid in pyramids:
        codes = naive_codes(pyramid, coding)
        embedding = naive_embeddings(codes, coding)
        ours = Pyramid(
            levels=tuple((c * s).astype(np.float32) for c, s in zip(codes, coding.steps, strict=True)),
            descriptor=pyramid.descriptor,
        ).embedding()
        np.testing.assert_allclose(ours, embedding, rtol=1e-5, atol=1e-6)
        expected += cell_by_cell((embedding**2).sum(axis=2), card, card.levels[0].stride)
    np.testing.assert_allclose(squares, np.array(expected), rtol=1e-5)


@each_card
def test_operands_enlarge_to_the_embeddings(card: ModelCard) -> None:
    coding = coding_of(card)
    coder = Coder(card, coding, threads=1)
    pyramid = pyramid_of(card, 3)
    operands = coder.windows(coder([pyramid])).operands
    embedding = naive_embeddings(naive_codes(pyramid, coding), coding)
    expected = np.array(cell_by_cell(embedding, card, card.levels[0].stride))  # (cells, side², sum of C)
    found = [
        np.einsum("ip,ncp->nic", window.padded()[1], operand.astype(np.float64)) * float(step)
        for window, operand, step in zip(windows(card), operands, coding.steps, strict=True)
    ]
    np.testing.assert_allclose(np.concatenate(found, axis=2), expected, rtol=1e-5, atol=1e-6)


@each_card
def test_padding_weighs_nothing_and_fills_up_sixteens(card: ModelCard) -> None:
    for window in windows(card):
        taps, weights = window.padded()
        assert taps.shape[1] == weights.shape[1] == window.taps.shape[1] + window.padding
        assert taps.shape[1] % 16 == 0 and window.padding < 16
        assert (weights[:, window.weights.shape[1] :] == 0).all()
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)


def test_a_window_repeats_the_edge() -> None:
    window = Window.of((4, 6), cells=(2, 3), side=4)
    assert window.span == 2
    assert window.taps[0].tolist() == [0, 0, 1, 2, 0, 0, 1, 2, 6, 6, 7, 8, 12, 12, 13, 14]
    assert window.taps[5].tolist() == [9, 10, 11, 11, 15, 16, 17, 17, 21, 22, 23, 23, 21, 22, 23, 23]


@each_card
def test_a_decoded_image_has_the_same_codes(card: ModelCard) -> None:
    coding = coding_of(card)
    coder = Coder(card, coding, threads=1)
    pyramids = [pyramid_of(card, seed) for seed in range(2)]
    coded = coder(pyramids)
    gallery = CodedGallery(
        card=card,
        levels=coded.levels,
        descriptors=np.stack([p.descriptor for p in pyramids]),
        names=("0.png", "1.png"),
        coding=coding,
        squares=coder.windows(coded).squares,
    )
    for image, pyramid in enumerate(pyramids):
        decoded = gallery.pyramid(image)
        for level, rounded, original, codes, low, step in zip(
            decoded.levels,
            coder.rounded(pyramid).levels,
            pyramid.levels,
            naive_codes(pyramid, coding),
            coding.lowest,
            coding.steps,
            strict=True,
        ):
            np.testing.assert_allclose(level, codes * float(step) + float(low), rtol=1e-5, atol=1e-6)
            assert np.array_equal(level, rounded)
            inside = (codes > 0) & (codes < 127)
            assert inside.any()
            assert np.abs(level - original)[inside].max() <= step * 0.5001
        same_as(coder([decoded]), coded, image)


def same_as(one: Coded, several: Coded, view: int) -> None:
    cells = len(one.keys)
    for level, others in zip(one.levels, several.levels, strict=True):
        assert np.array_equal(level[0], others[view])
    assert np.array_equal(one.keys, several.keys[view * cells : (view + 1) * cells])


@each_card
@pytest.mark.parametrize("threads", [1, 2])
def test_several_views_are_coded_as_each_alone(card: ModelCard, threads: int) -> None:
    coder = Coder(card, coding_of(card), threads=threads)
    pyramids = [pyramid_of(card, seed) for seed in range(5)]
    together = coder(pyramids)
    prepared = coder.windows(together)
    for view, pyramid in enumerate(pyramids):
        alone = coder([pyramid])
        same_as(alone, together, view)
        windows_alone = coder.windows(alone)
        here = slice(view * len(alone.keys), (view + 1) * len(alone.keys))
        for operand, others in zip(windows_alone.operands, prepared.operands, strict=True):
            assert np.array_equal(operand, others[here])
        assert np.array_equal(windows_alone.squares, prepared.squares[here])


@each_card
def test_neither_threads_nor_bands_change_a_bit(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    pyramid = pyramid_of(card, 0)
    one = Coder(card, coding_of(card), threads=1)
    expected = one([pyramid])
    squares = one.windows(expected).squares
    for rows in (1, 2, 7):
        monkeypatch.setattr(module, "ROWS", rows)
        for threads in (1, 2, 5):
            coder = Coder(card, coding_of(card), threads=threads)
            same_as(expected, coder([pyramid]), 0)
            assert np.array_equal(coder.windows(coder([pyramid])).squares, squares)
