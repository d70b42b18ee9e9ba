"""Registration against parts that are rendered where they are said to lie."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from placed_part import placed_part

from spade_edge.runtime.geometry.resample import resample, resampling_weights
from spade_edge.runtime.preprocessing.registration import FINE, Registered, Registration, Relief

SIDE = 64


def view_of(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The whole frame in a square view, squeezed if need be."""
    rows, columns = (resampling_weights(side, SIDE) for side in frame.shape[:2])
    return resample(frame, rows=rows, columns=columns)


RELIEF = Relief((SIDE, SIDE))


def registered(frame: NDArray[np.uint8], *, aspect: float = 1.0, turns: bool = True) -> Registered:
    height, width = frame.shape[:2]
    reference = RELIEF(view_of(placed_part(0, size=(height, width))))
    return Registration(reference, aspect=aspect, turns=turns)(RELIEF(view_of(frame)))


@pytest.mark.parametrize("light", [0.8, 1.0, 1.2])
@pytest.mark.parametrize(
    ("right", "down", "angle"),
    [(0, 0, 0), (3, -2, 0), (-20, 5, 0), (0, 21, 0), (0, 0, 5), (0, 0, -22), (10, -8, 12), (-4, 15, -9)],
)
def test_a_shifted_and_turned_part_is_found_where_it_lies(
    right: float, down: float, angle: float, light: float
) -> None:
    found = registered(placed_part(1, right=right, down=down, angle=angle, light=light))
    assert found.motion.right * 96 == pytest.approx(right, abs=0.5)
    assert found.motion.down * 96 == pytest.approx(down, abs=0.5)
    assert found.motion.angle == pytest.approx(angle, abs=0.6)
    assert found.likeness > 0.9
    assert found.lead > 0.05


@pytest.mark.parametrize(("right", "down", "angle"), [(18, -7, 0), (0, 0, 15), (-12, 6, -10)])
def test_a_squeezed_view_shears_a_turn_and_the_frame_does_not(right: float, down: float, angle: float) -> None:
    found = registered(placed_part(1, size=(80, 144), right=right, down=down, angle=angle), aspect=144 / 80)
    assert found.motion.right * 144 == pytest.approx(right, abs=0.7)
    assert found.motion.down * 80 == pytest.approx(down, abs=0.5)
    assert found.motion.angle == pytest.approx(angle, abs=0.7)
    assert found.likeness > 0.9


@pytest.mark.parametrize("angle", [-14, 15])
def test_a_view_squeezed_to_a_third_is_refined_as_far(angle: float) -> None:
    found = registered(placed_part(1, size=(64, 192), angle=angle), aspect=3.0)
    assert found.motion.angle == pytest.approx(angle, abs=0.5)
    assert found.likeness > 0.9


def test_a_constant_in_the_reference_or_the_relief_changes_nothing() -> None:
    reference, relief = (RELIEF(view_of(frame)) for frame in (placed_part(0), placed_part(1, right=9, down=-7)))
    found = Registration(reference + 60, aspect=1.0, turns=True)(relief - 40)
    assert (96 * found.motion.right, 96 * found.motion.down) == pytest.approx((9, -7), abs=0.5)
    assert found.likeness > 0.9


def test_without_turns_only_the_shift_is_measured() -> None:
    found = registered(placed_part(1, right=6, down=-3, angle=3), turns=False)
    assert found.motion.angle == 0
    assert found.motion.right * 96 == pytest.approx(6, abs=1.5)
    assert found.motion.down * 96 == pytest.approx(-3, abs=1.5)


@pytest.mark.parametrize("period", [9, 12.5, 14, 16, 20.5])
def test_a_pattern_that_repeats_has_a_rival_as_good_as_what_was_found(period: float) -> None:
    y, x = np.mgrid[:96, :96] * (2 * np.pi / period)
    pattern = np.repeat((128 + 60 * np.sin(x) * np.sin(y))[..., np.newaxis], 3, axis=2)
    relief = RELIEF(view_of(pattern.astype(np.uint8)))
    registration = Registration(relief, aspect=1.0, turns=False)
    assert registration(relief).likeness - registration.rival(relief) < 0.05


def test_a_part_has_no_rival() -> None:
    relief = RELIEF(view_of(placed_part(1, right=4)))
    registration = Registration(RELIEF(view_of(placed_part(0))), aspect=1.0, turns=True)
    assert registration(relief).likeness - registration.rival(relief) > 0.1


def test_a_round_part_has_a_lead_only_where_turns_do_not_count() -> None:
    y, x = np.mgrid[:96, :96]
    disc = np.repeat(np.where(np.hypot(x - 47.5, y - 47.5) < 25, 40.0, 200.0)[..., np.newaxis], 3, axis=2)
    relief = RELIEF(view_of(disc.astype(np.uint8)))
    assert Registration(relief, aspect=1.0, turns=True)(relief).lead < 0.02
    assert Registration(relief, aspect=1.0, turns=False)(relief).lead > 0.2


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_frame_without_content_resembles_nothing(grey: int) -> None:
    found = registered(np.full((96, 96, 3), grey, np.uint8))
    assert abs(found.likeness) < 0.2


def test_noise_resembles_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    assert registered(noise).likeness < 0.3


def test_the_relief_is_the_grey_picture_less_its_local_mean() -> None:
    picture = np.random.default_rng(0).uniform(100, 140, (FINE, FINE, 3)).astype(np.float32)
    grey = picture.mean(axis=2)
    padded = np.pad(grey, 6, mode="edge")
    naive = np.array([[grey[y, x] - padded[y : y + 13, x : x + 13].mean() for x in range(FINE)] for y in range(FINE)])
    most = 2.5 * naive.std()
    assert np.allclose(Relief((FINE, FINE))(picture), np.clip(naive, -most, most), atol=1e-2)
