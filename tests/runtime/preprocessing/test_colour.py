"""Whether a frame has colours, and whether red and blue are swapped, against naive loops and drawn parts."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.runtime.preprocessing.colour import BANDS, DIM, MOST, NO_COLOUR, ChannelOrder, Colour
from spade_edge.tools.demo.parts import render_defect, render_good

Pixels = NDArray[np.float32]


def pixels_of(image: NDArray[np.uint8]) -> Pixels:
    return image[::3, ::3].reshape(-1, 3).astype(np.float32)


def naive(pixels: Pixels) -> Colour:
    """Pixel by pixel."""
    ordered = sorted(pixels.tolist(), key=lambda pixel: np.float32(sum(map(np.float32, pixel))))
    redness = []
    for band in range(BANDS):
        some = ordered[len(ordered) * band // BANDS : len(ordered) * (band + 1) // BANDS]
        grey = sum(sum(pixel) / 3 for pixel in some) / len(some)
        redness.append(statistics.median(red - blue for blue, _, red in some) / (grey + DIM))
    saturation = sum(max(pixel) - min(pixel) for pixel in ordered) / len(ordered)
    return Colour(saturation=saturation, redness=tuple(redness))


def test_it_is_what_a_naive_loop_says() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (600, 3)).astype(np.float32)
    found, expected = Colour.of(pixels), naive(pixels)
    assert found.saturation == pytest.approx(expected.saturation, rel=1e-5)
    assert found.redness == pytest.approx(expected.redness, rel=1e-4, abs=1e-6)


def test_many_pixels_are_sampled_and_few_or_none_are_no_fault() -> None:
    few = np.array([[0, 10, 20], [30, 20, 40]], np.float32)
    assert Colour.of(np.repeat(few, 3 * MOST, axis=0)).saturation == pytest.approx(20)
    assert Colour.of(few).redness[0] == pytest.approx(20 / (10 + DIM))
    assert Colour.of(few[:1]).redness == (pytest.approx(20 / (10 + DIM)),) * BANDS
    assert Colour.of(few[:0]) == NO_COLOUR


def test_grey_is_what_is_grey_in_however_many_channels() -> None:
    rng = np.random.default_rng(1)
    grey = np.repeat(rng.uniform(0, 255, (500, 1)), 3, axis=1).astype(np.float32)
    assert Colour.of(grey).grey and not Colour.of(grey).coloured
    faint = grey + np.array([0, 0.3, 0], np.float32)  # neither: a trace, as of a codec
    assert not Colour.of(faint).grey and not Colour.of(faint).coloured
    assert Colour.of(grey + np.array([0, 3, 0], np.float32)).coloured


@pytest.fixture(scope="module")
def drawn() -> list[Colour]:
    return [Colour.of(pixels_of(render_good(seed, size=160))) for seed in range(12)]


def test_swapped_frames_are_told_from_good_and_from_defective_ones(drawn: list[Colour]) -> None:
    order = ChannelOrder.learned(drawn[:6])
    assert order is not None
    frames = [render_good(seed, size=160) for seed in range(20, 26)]
    frames += [render_defect(kind, 30, size=160)[0] for kind in ("scratch", "dent", "missing_screw")]
    for frame in frames:
        assert not order.swapped(Colour.of(pixels_of(frame)))
        assert order.swapped(Colour.of(pixels_of(frame[:, :, ::-1])))


def test_the_mean_good_image_is_at_one_and_its_swapped_copy_at_minus_one(drawn: list[Colour]) -> None:
    order = ChannelOrder.learned(drawn)
    assert order is not None
    mean = np.mean([colour.redness for colour in drawn], axis=0)
    assert float(np.dot(order.weights, mean)) == pytest.approx(1)
    # Against the closed form of linear discriminant analysis: the direction is that of C⁻¹ m.
    found = np.cov(np.array([colour.redness for colour in drawn]), rowvar=False)
    shrunk = 0.8 * found + 0.2 * np.diag(np.diag(found)) + 0.003**2 * np.eye(BANDS)
    direction = np.linalg.inv((1 + 20 / len(drawn)) * shrunk + 0.02**2) @ mean
    assert order.weights == pytest.approx(direction / (direction @ mean), rel=1e-6)


def test_colours_that_do_not_tell_the_order_for_certain_give_none(
    drawn: list[Colour], part: Callable[..., NDArray[np.uint8]]
) -> None:
    assert ChannelOrder.learned(drawn[:1]) is None
    grey = [Colour.of(np.full((50, 3), level, np.float32)) for level in (10, 50, 90)]
    assert ChannelOrder.learned(grey) is None
    # A tint no stronger than a camera's white balance drifts.
    faint = [Colour.of(np.array([[100, 100, 102 + 0.1 * i]] * 60, np.float32)) for i in range(20)]
    assert ChannelOrder.learned(faint) is None
    # Red parts and blue ones: a swapped frame of one looks like the other.
    images = [pixels_of(part(seed)) for seed in range(8)]
    both = [Colour.of(image if i % 2 else image[:, ::-1]) for i, image in enumerate(images)]
    assert ChannelOrder.learned([Colour.of(image) for image in images]) is not None
    assert ChannelOrder.learned(both) is None
