"""Sampled pictures against naive sums over the pixels around a point."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.runtime.geometry.motion import pixel_centres
from spade_edge.runtime.kernels.sampling import BICUBIC, BILINEAR, EDGE, ZEROS, Sampler

RNG = np.random.default_rng(0)
PICTURE = RNG.uniform(0, 255, (7, 9, 3)).astype(np.float32)


def linear(distance: float) -> float:
    return max(1 - abs(distance), 0)


def cubic(distance: float, a: float = -0.75) -> float:
    """Keys' kernel, as OpenCV has it."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def naive(x: float, y: float, *, kernel: object, edge: bool) -> NDArray[np.float64]:
    rows, columns, channels = PICTURE.shape
    at_x, at_y = x * columns - 0.5, y * rows - 0.5
    total = np.zeros(channels)
    for row in range(int(np.floor(at_y)) - 1, int(np.floor(at_y)) + 3):
        for column in range(int(np.floor(at_x)) - 1, int(np.floor(at_x)) + 3):
            weight = kernel(at_x - column) * kernel(at_y - row)  # type: ignore[operator]
            if edge:
                total += weight * PICTURE[min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)]
            elif 0 <= row < rows and 0 <= column < columns:
                total += weight * PICTURE[row, column]
    return total


@pytest.mark.parametrize("beyond", [EDGE, ZEROS])
@pytest.mark.parametrize(("mode", "kernel"), [(BILINEAR, linear), (BICUBIC, cubic)])
def test_points_between_pixels_and_beyond_the_edge(mode: str, kernel: object, beyond: str) -> None:
    x, y = RNG.uniform(-0.2, 1.2, (2, 5, 6)).astype(np.float32)
    found = Sampler(mode=mode, beyond=beyond)(PICTURE, x, y)
    wanted = [
        [naive(*point, kernel=kernel, edge=beyond == EDGE) for point in zip(*row, strict=True)]
        for row in zip(x.tolist(), y.tolist(), strict=True)
    ]
    assert np.allclose(found, wanted, atol=1e-2)


@pytest.mark.parametrize("mode", [BILINEAR, BICUBIC])
def test_pixel_centres_give_the_picture_itself(mode: str) -> None:
    found = Sampler(mode=mode, beyond=EDGE)(PICTURE, *pixel_centres((7, 9)))
    assert np.allclose(found, PICTURE, atol=1e-2)
