"""Frames to network inputs, and boxes back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from spade_edge.runtime import FrameError, UsageError
from spade_edge.runtime.view import View

RNG = np.random.default_rng(0)
SQUARE = View(resize=(64, 64), size=(64, 64))


def test_grey_frames_are_grey_in_every_channel() -> None:
    grey = RNG.integers(0, 256, (90, 70), dtype=np.uint8)
    expected = SQUARE(np.repeat(grey[:, :, None], 3, axis=2))
    assert np.allclose(SQUARE(grey), expected, atol=1e-3)
    assert np.array_equal(SQUARE(grey[:, :, None]), SQUARE(grey))


def test_strides_do_not_matter() -> None:
    frame = RNG.integers(0, 256, (180, 140, 3), dtype=np.uint8)
    for strided in (frame[::2, ::-1], frame[:, :, ::-1], np.asfortranarray(frame), frame.transpose(1, 0, 2)):
        assert np.array_equal(SQUARE(strided), SQUARE(np.ascontiguousarray(strided)))


def test_channels_keep_their_order() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:, :, 0] = 200  # blue
    view = SQUARE(frame)
    assert np.allclose(view[:, :, 0], 200)
    assert np.allclose(view[:, :, 1:], 0)


def test_one_pixel_is_a_frame() -> None:
    assert np.allclose(SQUARE(np.full((1, 1), 7, np.uint8)), 7)


def test_the_papers_crop_is_the_middle() -> None:
    frame = RNG.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    whole = cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32)
    view = View(resize=(256, 256), size=(224, 224))
    assert np.abs(view(frame) - whole[16:240, 16:240]).max() <= 0.5


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((0, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 2), np.uint8),
        np.zeros((2, 5, 5, 3), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((5, 5, 3), np.uint16),
        np.zeros((1, 32767), np.uint8),
        [[1, 2], [3, 4]],
        None,
    ],
)
def test_what_is_not_a_frame_is_refused_in_one_line(frame: object) -> None:
    with pytest.raises(FrameError, match=r"expected .*, found ") as caught:
        SQUARE(frame)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("resize", "size"), [((224, 224), (225, 224)), ((0, 0), (0, 0)), ((100, 100), (128, 128)), ((64, 64), (32, 16))]
)
def test_views_that_no_network_takes_are_refused(resize: tuple[int, int], size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="expected"):
        View(resize=resize, size=size)


def test_a_box_covers_the_same_things_in_the_frame() -> None:
    view = View(resize=(256, 256), size=(224, 224))
    # A frame of 512 x 1024: a view pixel is 2 frame pixels high and 4 wide, after the 16 that were cut off.
    assert view.box_in_frame((0, 0, 224, 224), (512, 1024)) == (64, 32, 896, 448)
    assert view.box_in_frame((10, 20, 3, 5), (512, 1024)) == (4 * 26, 2 * 36, 12, 10)


@pytest.mark.parametrize("frame_size", [(1, 1), (3, 1000), (50, 51), (4000, 63)])
def test_boxes_stay_inside_and_are_never_empty(frame_size: tuple[int, int]) -> None:
    for box in ((0, 0, 1, 1), (63, 63, 1, 1), (0, 0, 64, 64), (31, 5, 2, 30)):
        x, y, width, height = SQUARE.box_in_frame(box, frame_size)
        assert width >= 1 and height >= 1 and x >= 0 and y >= 0
        assert x + width <= frame_size[1] and y + height <= frame_size[0]
