"""What a view may be, and boxes carried back to the frame."""

from __future__ import annotations

import pytest

from spade_edge.runtime import UsageError
from spade_edge.runtime.geometry.layout import WHOLE, Canvas
from spade_edge.runtime.geometry.view import View

SQUARE = Canvas(WHOLE, View(resize=(64, 64), size=(64, 64)))


@pytest.mark.parametrize(
    ("resize", "size"), [((224, 224), (225, 224)), ((0, 0), (0, 0)), ((100, 100), (128, 128)), ((64, 64), (32, 16))]
)
def test_views_that_no_network_takes_are_refused(resize: tuple[int, int], size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="expected"):
        View(resize=resize, size=size)


def test_a_box_covers_the_same_things_in_the_frame() -> None:
    canvas = Canvas(WHOLE, View(resize=(256, 256), size=(224, 224)))
    # A frame of 512 x 1024: a view pixel is 2 frame pixels high and 4 wide, after the 16 that were cut off.
    assert canvas.box_in_frame((0, 0, 224, 224), (512, 1024)) == (64, 32, 896, 448)
    assert canvas.box_in_frame((10, 20, 3, 5), (512, 1024)) == (4 * 26, 2 * 36, 12, 10)


@pytest.mark.parametrize("frame_size", [(1, 1), (3, 1000), (50, 51), (4000, 63)])
def test_boxes_stay_inside_and_are_never_empty(frame_size: tuple[int, int]) -> None:
    for box in ((0, 0, 1, 1), (63, 63, 1, 1), (0, 0, 64, 64), (31, 5, 2, 30)):
        x, y, width, height = SQUARE.box_in_frame(box, frame_size)
        assert width >= 1 and height >= 1 and x >= 0 and y >= 0
        assert x + width <= frame_size[1] and y + height <= frame_size[0]
