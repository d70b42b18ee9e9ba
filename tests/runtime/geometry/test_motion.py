"""Motions against complex numbers: turning is multiplication."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

from spade_edge.runtime.geometry.motion import Motion, pixel_centres

CASES = [
    (Motion(), 1.0),
    (Motion(right=0.1, down=-0.2), 1.0),
    (Motion(angle=30.0), 1.0),
    (Motion(right=-0.05, down=0.1, angle=-12.5), 16 / 9),
    (Motion(right=0.3, down=0.0, angle=7.0), 0.4),
]


@pytest.mark.parametrize(("motion", "aspect"), CASES)
def test_points_turn_about_the_centre_of_the_frame_and_shift(motion: Motion, aspect: float) -> None:
    width, height = 100 * aspect, 100.0
    for x, y in ((0.5, 0.5), (0.0, 0.0), (0.9, 0.2), (0.25, 1.0)):
        # x to the right and y down: a clockwise turn on the screen is a positive one.
        point = complex((x - 0.5) * width, (y - 0.5) * height) * cmath.exp(1j * math.radians(motion.angle))
        point += complex((0.5 + motion.right) * width, (0.5 + motion.down) * height)
        there = motion.moved(np.array([x], np.float32), np.array([y], np.float32), aspect)
        assert [float(axis[0]) for axis in there] == pytest.approx([point.real / width, point.imag / height], abs=1e-6)


@pytest.mark.parametrize(("motion", "aspect"), CASES)
def test_undone_leads_back(motion: Motion, aspect: float) -> None:
    x, y = np.random.default_rng(0).uniform(-0.2, 1.2, (2, 50)).astype(np.float32)
    back = motion.undone(*motion.moved(x, y, aspect), aspect)
    assert np.allclose(back, (x, y), atol=1e-6)


def test_pixel_centres_are_half_a_pixel_from_the_edges() -> None:
    x, y = pixel_centres((2, 4))
    assert x.tolist() == [[0.125, 0.375, 0.625, 0.875]] * 2
    assert y.tolist() == [[0.25] * 4, [0.75] * 4]
