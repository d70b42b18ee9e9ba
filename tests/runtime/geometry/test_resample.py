"""Resampling against OpenCV and against a loop over pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.runtime.geometry.resample import Bands, resample, resampling_weights


def resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    return resample(
        image,
        rows=resampling_weights(image.shape[0], height),
        columns=resampling_weights(image.shape[1], width),
    )


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "source", [(448, 448), (672, 448), (900, 900), (517, 333), (1080, 1920), (225, 226), (224, 224)]
)
def test_shrinking_agrees_with_inter_area_to_a_grey_level(source: tuple[int, int]) -> None:
    image = noise(*source)
    expected = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA).astype(np.float32)
    assert np.abs(resized(image, 224, 224) - expected).max() <= 1


@pytest.mark.parametrize("source", [(112, 112), (56, 100), (223, 150), (1, 1), (2, 3), (1, 200)])
def test_enlarging_agrees_with_inter_linear_to_a_grey_level(source: tuple[int, int]) -> None:
    image = noise(*source)
    expected = cv2.resize(image, (224, 224), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    assert np.abs(resized(image, 224, 224) - expected).max() <= 1


def test_each_axis_goes_its_own_way() -> None:
    image = noise(400, 100)  # rows shrink, columns grow
    shrunk = cv2.resize(image, (100, 224), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(shrunk, (224, 224), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    assert np.abs(resized(image, 224, 224) - expected).max() <= 1


@pytest.mark.parametrize(("source", "target"), [(7, 3), (10, 5), (5, 4), (900, 224)])
def test_area_weights_are_overlaps(source: int, target: int) -> None:
    weights = resampling_weights(source, target)
    for t in range(target):
        low, high = t * source / target, (t + 1) * source / target
        for s in range(source):
            overlap = max(0.0, min(high, s + 1) - max(low, s)) * target / source
            assert weights[t, s] == pytest.approx(overlap, abs=1e-6)


@pytest.mark.parametrize(("source", "target"), [(1, 5), (3, 224), (224, 224), (900, 224), (8193, 224)])
def test_a_flat_image_stays_flat(source: int, target: int) -> None:
    assert np.allclose(resampling_weights(source, target).sum(axis=1), 1, atol=1e-5)


BANDS = [
    # source, target, first, count, group
    (1, 8, 0, 8, 8),
    (1, 40, 8, 24, 8),
    (5, 40, 0, 40, 8),
    (40, 40, 0, 40, 8),
    (39, 40, 3, 32, 8),
    (41, 40, 0, 40, 8),
    (58, 56, 0, 56, 8),  # 56 * (58 / 56) is a little more than 58
    (900, 256, 16, 224, 8),
    (1080, 224, 0, 224, 8),
    (8193, 64, 0, 64, 32),
    (32766, 32, 0, 32, 8),
    (100, 33, 1, 32, 1),
]


@pytest.mark.parametrize(("source", "target", "first", "count", "group"), BANDS)
def test_bands_are_the_weights_without_most_zeros(source: int, target: int, first: int, count: int, group: int) -> None:
    bands = Bands.of(source, target, first=first, count=count, group=group)
    groups, span = bands.sources.shape
    assert (groups, len(bands.lengths), bands.weights.shape) == (count // group, groups, (groups, group, span))
    assert bands.weights.dtype == np.float32 and bands.sources.dtype == bands.lengths.dtype == np.int64
    assert bands.sources.min() >= 0 and bands.sources.max() < source and span == bands.lengths.max()
    whole = np.zeros((count, source), np.float32)
    for i, (sources, length, weights) in enumerate(zip(bands.sources, bands.lengths, bands.weights, strict=True)):
        assert np.array_equal(sources[:length], sources[0] + np.arange(length))
        assert not weights[:, length:].any()
        whole[i * group : (i + 1) * group, sources[0] : sources[0] + length] = weights[:, :length]
    assert np.array_equal(whole, resampling_weights(source, target)[first : first + count])
    assert span <= group * max(1, source / target) + 2  # little more than what the targets cover


def test_weights_cannot_be_spoilt_for_the_next_frame() -> None:
    with pytest.raises(ValueError, match="read-only"):
        resampling_weights(10, 5)[0, 0] = 1
