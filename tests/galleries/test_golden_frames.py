"""Golden frames: what they show, and the room they take."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.galleries.golden_frames import golden_bytes, golden_frames
from spade_edge.runtime.geometry.layout import WHOLE, Canvas, Layout
from spade_edge.runtime.geometry.view import View

VIEW = View(resize=(64, 64), size=(64, 64))


@pytest.mark.parametrize("shape", [(96, 80, 3), (64, 200), (1, 1), (7, 3, 3)])
def test_noise_and_a_square_of_other_grey_levels(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 200, np.uint8)
    noisy, damaged = golden_frames(image, Canvas(WHOLE, VIEW))
    assert noisy.shape == damaged.shape == shape
    assert (0 if image.size > 1 else -1) < np.abs(noisy.astype(int) - image).max() < 25
    changed = noisy != damaged
    assert (damaged[changed] == (noisy[changed].astype(int) + 128) % 256).all()
    rows, columns = np.nonzero(changed.reshape(*shape[:2], -1).any(axis=2))
    side = max(1, min(shape[:2]) // 6)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (side, side)
    assert abs((rows.min() + rows.max() + 1) / 2 - shape[0] / 2) <= 1
    assert abs((columns.min() + columns.max() + 1) / 2 - shape[1] / 2) <= 1


def test_the_square_lies_in_the_middle_view() -> None:
    layout = Layout(frame=(100, 300), boxes=((0, 0, 100, 100), (120, 40, 60, 60), (200, 0, 100, 100)))
    noisy, damaged = golden_frames(np.full((100, 300), 90, np.uint8), Canvas(layout, VIEW))
    rows, columns = np.nonzero(noisy != damaged)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (65, 74, 145, 154)


@pytest.mark.parametrize(
    ("shape", "kept"), [((640, 480), (214, 160)), ((255, 1000), (255, 1000)), ((256, 1000), (128, 500))]
)
def test_large_frames_of_any_size_are_thinned(shape: tuple[int, int], kept: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(40, 200, shape).astype(np.uint8)
    noisy, _ = golden_frames(image, Canvas(WHOLE, VIEW))
    assert noisy.shape == kept
    step = round(shape[0] / kept[0])
    assert np.abs(noisy.astype(int) - image[::step, ::step]).max() < 25


def test_the_same_every_time_and_from_any_memory(part: Callable[..., NDArray[np.uint8]]) -> None:
    image, canvas = part(0), Canvas(WHOLE, VIEW)
    again = golden_frames(np.asfortranarray(image), canvas)
    np.testing.assert_array_equal(golden_frames(image, canvas), again)


def test_the_room_is_known_beforehand(edge: Built, with_views: Callable[[str], Built]) -> None:
    for built, shape in ((edge, (100, 80, 3)), (with_views("shared"), (56, 72, 3))):
        files = [payload.size for role, payload in built.manifest.files.items() if role.startswith("golden_")]
        headers = 128 * len(files)
        expected = golden_bytes(built.manifest.model, built.manifest.canvas, shape)
        assert abs(sum(files) - headers - expected) <= 0.05 * expected  # good images of `edge` differ in height
