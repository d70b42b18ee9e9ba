"""Views that are brought back, against rendered parts and naive loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from placed_part import placed_part

from spade_edge.runtime.geometry.motion import Motion
from spade_edge.runtime.preprocessing.moved import Moved

FILLING = np.full((96, 96, 3), (1, 2, 3), np.float32)


@pytest.mark.parametrize(("right", "down", "angle"), [(6, -9, 0), (0, 0, 8), (5, 4, -7)])
def test_a_part_is_brought_back_to_where_it_would_lie(right: float, down: float, angle: float) -> None:
    moved = Moved(Motion(right / 96, down / 96, angle), 1.0)
    back = moved.brought_back(placed_part(1, right=right, down=down, angle=angle).astype(np.float32), FILLING)
    still = placed_part(2).astype(np.float32)
    seen = (back != FILLING).all(axis=-1)
    assert 0.75 < seen.mean() < 1
    assert np.abs(back - still)[seen].mean() < 4  # both are noisy
    assert 0 <= back.min() <= back.max() <= 255


@pytest.mark.parametrize(("right", "down"), [(0, 0), (5, 0), (-3, 0), (0, 4), (0, -6), (7, -2), (-1, 3)])
def test_whole_pixels_are_copied(right: int, down: int) -> None:
    height, width = 28, 44
    view, filling = np.random.default_rng(0).uniform(0, 255, (2, height, width, 3)).astype(np.float32)
    back = Moved(Motion(right / width, down / height), width / height).brought_back(view, filling)
    for row in range(height):
        for column in range(width):
            seen = 0 <= row + down < height and 0 <= column + right < width
            wanted = view[row + down, column + right] if seen else filling[row, column]
            assert np.array_equal(back[row, column], wanted)


def test_what_the_frame_does_not_show_is_filled() -> None:
    view = np.full((32, 32, 3), 200, np.float32)
    back = Moved(Motion(right=0.25, down=0.0), 1.0).brought_back(view, FILLING[:32, :32])
    # The part moved by 8 pixels to the right, so what belongs into the last 8 columns is out of sight.
    assert np.array_equal(back[:, 24:], FILLING[:32, 24:32])
    assert np.allclose(back[:, :24], 200, atol=1e-3)


@pytest.mark.parametrize(
    ("motion", "aspect"),
    [(Motion(0.1, 0, 0), 1.0), (Motion(0, -0.07, 0), 1.0), (Motion(0.02, 0.05, 9), 1.0), (Motion(0, 0, -6), 2.0)],
)
def test_positions_out_of_sight_and_their_neighbours_are_unseen(motion: Motion, aspect: float) -> None:
    rows, columns = 8, 16
    turn = math.radians(motion.angle)

    def visible(x: float, y: float) -> bool:
        wide, high = (x - 0.5) * aspect, y - 0.5
        there_x = (wide * math.cos(turn) - high * math.sin(turn)) / aspect + 0.5 + motion.right
        there_y = wide * math.sin(turn) + high * math.cos(turn) + 0.5 + motion.down
        return -0.005 <= there_x <= 1.005 and -0.005 <= there_y <= 1.005

    unseen = Moved(motion, aspect).unseen((rows, columns))
    assert 0 < unseen.mean() < 0.6
    for row in range(rows):
        for column in range(columns):
            corners = [
                (min(max(x, 0), columns) / columns, min(max(y, 0), rows) / rows)
                for x in (column - 1, column + 2)
                for y in (row - 1, row + 2)
            ]
            assert unseen[row, column] == (not all(visible(*corner) for corner in corners))


def test_a_part_that_did_not_move_is_seen_everywhere() -> None:
    assert not Moved(Motion(), 1.0).unseen((56, 56)).any()


def test_maps_are_carried_back_to_where_the_camera_sees() -> None:
    maps = np.zeros((64, 64, 2), np.float32)
    maps[20:24, 30:34] = (5, 1)
    there = Moved(Motion(right=8 / 64, down=-4 / 64), 1.0).carried_back(maps)
    wanted = np.zeros_like(maps)
    wanted[16:20, 38:42] = (5, 1)
    assert np.allclose(there, wanted, atol=1e-3)
    assert not there[:, :8].any()  # beyond the map


def test_a_place_in_the_frame_leads_to_its_place_on_a_good_part() -> None:
    motion, aspect = Motion(right=0.1, down=-0.05, angle=10), 1.5
    x, y = motion.moved(np.array([0.3], np.float32), np.array([0.6], np.float32), aspect)
    assert Moved(motion, aspect).on_good(float(y[0]), float(x[0])) == pytest.approx((0.6, 0.3), abs=1e-6)
