"""Where views and their map lie on a frame, against loops over single pixels in fractions."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from spade_edge.runtime import BundleError, FrameError, UsageError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.geometry.layout import MOST_VIEWS, WHOLE, Box, Canvas, Layout
from spade_edge.runtime.geometry.view import LARGEST_SIDE, View

SMALL, WIDE, CROPPED = View((64, 64), (64, 64)), View((32, 96), (32, 96)), View((80, 100), (64, 64))


def grid_of(tile: tuple[int, int], steps: tuple[int, int], counts: tuple[int, int]) -> tuple[Box, ...]:
    """Tiles of (height, width), a step apart along each axis."""
    return tuple(
        (column * steps[1], row * steps[0], tile[1], tile[0]) for row in range(counts[0]) for column in range(counts[1])
    )


CANVASES = {
    "whole": Canvas(WHOLE, SMALL),
    "whole, not square": Canvas(WHOLE, WIDE),
    "cropped": Canvas(WHOLE, CROPPED),
    "a region": Canvas(Layout((50, 70), ((3, 7, 41, 30),)), SMALL),
    "a large region": Canvas(Layout((300, 400), ((11, 20, 333, 250),)), WIDE),
    "a pixel": Canvas(Layout((9, 9), ((4, 5, 1, 1),)), SMALL),
    "tiles of the view's size": Canvas(Layout((160, 160), grid_of((64, 64), (48, 48), (3, 3))), SMALL),
    "tiles that shrink": Canvas(Layout((240, 330), grid_of((90, 150), (75, 90), (3, 3))), SMALL),
    "tiles that grow": Canvas(Layout((40, 52), grid_of((20, 20), (16, 16), (2, 3))), SMALL),
    "regions of different sizes": Canvas(
        Layout((200, 300), ((5, 9, 100, 60), (250, 100, 40, 90), (60, 30, 97, 97))), WIDE
    ),
    "tall and flat": Canvas(Layout((100, 100), ((0, 0, 100, 10), (45, 0, 10, 100))), WIDE),
}
each_canvas = pytest.mark.parametrize("name", CANVASES)


def frame_sizes(canvas: Canvas) -> list[tuple[int, int]]:
    return [canvas.layout.frame] if canvas.layout.frame else [(64, 64), (50, 93), (1, 7), (201, 128)]


@each_canvas
def test_the_map_covers_all_views_as_finely_as_the_finest(name: str) -> None:
    canvas = CANVASES[name]
    view, boxes = canvas.view, canvas.layout.boxes
    if not boxes:
        assert canvas.size == view.size
        return
    for axis in (0, 1):
        covered = {pixel for box in boxes for pixel in range(box[1 - axis], box[1 - axis] + box[3 - axis])}
        begin, end = min(covered), max(covered) + 1
        assert (canvas.field[1 - axis], canvas.field[3 - axis]) == (begin, end - begin)
        pixels = max(Fraction(view.size[axis], box[3 - axis]) for box in boxes)
        if len(boxes) > 1 and pixels > 1:
            pixels = Fraction(1)
        assert canvas.size[axis] == round((end - begin) * pixels)
        if len(boxes) == 1:
            assert canvas.size[axis] == view.size[axis]
        else:
            assert canvas.size[axis] <= end - begin


@each_canvas
def test_what_the_map_covers_of_a_frame(name: str) -> None:
    canvas = CANVASES[name]
    for height, width in frame_sizes(canvas):
        x, y, wide, high = canvas.extent((height, width))
        if canvas.layout.boxes:
            assert (x, y, wide, high) == canvas.field
        else:
            resize, size = canvas.view.resize, canvas.view.size
            cut = [(whole - middle) // 2 for whole, middle in zip(resize, size, strict=True)]
            expected = (
                *(width * Fraction(cut[1], resize[1]), height * Fraction(cut[0], resize[0])),
                *(width * Fraction(size[1], resize[1]), height * Fraction(size[0], resize[0])),
            )
            assert (x, y, wide, high) == pytest.approx(tuple(map(float, expected)), abs=1e-9)
        assert x >= 0 and y >= 0 and x + wide <= width + 1e-9 and y + high <= height + 1e-9


def touched(canvas: Canvas, start: int, length: int, *, axis: int, source: int) -> tuple[int, int]:
    """First frame pixel and number of frame pixels that share a length with some map pixels, one by one."""
    if canvas.layout.frame:
        begin, cover = Fraction(canvas.field[1 - axis]), Fraction(canvas.field[3 - axis])
    else:
        whole, seen = canvas.view.resize[axis], canvas.view.size[axis]
        begin, cover = Fraction((whole - seen) // 2 * source, whole), Fraction(seen * source, whole)
    pixel = cover / canvas.size[axis]
    first, last = begin + start * pixel, begin + (start + length) * pixel
    found = [i for i in range(source) if i < last and i + 1 > first]
    return found[0], len(found)


@each_canvas
def test_a_box_of_the_map_covers_every_frame_pixel_that_it_touches(name: str) -> None:
    canvas = CANVASES[name]
    height, width = canvas.size
    rng = np.random.default_rng(0)
    boxes: list[Box] = [(0, 0, width, height), (0, 0, 1, 1), (width - 1, height - 1, 1, 1)]
    for _ in range(12):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        boxes.append((x, y, int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1))))
    for size in frame_sizes(canvas):
        for x, y, wide, high in boxes:
            top, tall = touched(canvas, y, high, axis=0, source=size[0])
            left, broad = touched(canvas, x, wide, axis=1, source=size[1])
            assert canvas.box_in_frame((x, y, wide, high), size) == (left, top, broad, tall)


@each_canvas
def test_places_go_from_views_to_the_frame_and_back(name: str) -> None:
    canvas = CANVASES[name]
    for number, (x, y, wide, high) in enumerate(canvas.boxes):
        height, width = canvas.reference
        assert canvas.in_frame(number, 0, 0) == pytest.approx((y / height, x / width))
        assert canvas.in_frame(number, 1, 1) == pytest.approx(((y + high) / height, (x + wide) / width))
        for place in ((0.0, 1.0), (0.25, 0.7), (0.5, 0.5), (0.9, 0.1)):
            there = canvas.in_frame(number, *place)
            assert canvas.in_view(number, *there) == pytest.approx(place, abs=1e-9)
            assert 0 <= there[0] <= 1 and 0 <= there[1] <= 1


@each_canvas
def test_the_middle_of_a_map_pixel_lies_in_the_box_that_the_pixel_covers(name: str) -> None:
    canvas = CANVASES[name]
    size = canvas.layout.frame or (64, 100)
    rng = np.random.default_rng(1)
    for _ in range(20):
        at = int(rng.integers(canvas.size[0])), int(rng.integers(canvas.size[1]))
        row, column = canvas.centre_of(at)
        x, y, wide, high = canvas.box_in_frame((at[1], at[0], 1, 1), size)
        assert x <= column * size[1] <= x + wide and y <= row * size[0] <= y + high
        # The middle by itself: half way between the edges of the pixel.
        for axis, part in ((0, row), (1, column)):
            pixel = Fraction(canvas.field[3 - axis], canvas.size[axis])
            middle = (canvas.field[1 - axis] + (at[axis] + Fraction(1, 2)) * pixel) / canvas.reference[axis]
            assert part == pytest.approx(float(middle), abs=1e-12)
            assert canvas.centres(axis)[at[axis]] == pytest.approx(float(middle * canvas.reference[axis]), abs=1e-9)


@each_canvas
def test_the_view_of_a_place_is_the_one_furthest_from_its_edge_there(name: str) -> None:
    canvas = CANVASES[name]
    height, width = canvas.reference
    rng = np.random.default_rng(2)
    for row, column in rng.uniform(0, 1, (60, 2)).tolist():
        margins = []  # to the nearest edge, as a fraction of the view's side; below 0 outside
        for x, y, wide, high in canvas.boxes:
            across, down = (column * width - x) / wide, (row * height - y) / high
            margins.append(min(across, 1 - across, down, 1 - down))
        chosen = canvas.view_of(row, column)
        assert margins[chosen] == pytest.approx(max(margins), abs=1e-9)
        if max(margins) > 1e-9:  # some view sees it
            x, y, wide, high = canvas.boxes[chosen]
            assert x < column * width < x + wide and y < row * height < y + high


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((None, ((0, 0, 1, 1),)), "expected no boxes and no mask where a frame may have any size"),
        ((None, (), True), "expected no boxes and no mask where a frame may have any size"),
        (((10, 20), ()), "expected 1 to 1024 views of a frame, found 0"),
        (((0, 20), ((0, 0, 1, 1),)), f"expected frames of 1 to {LARGEST_SIDE} pixels a side, found 20x0"),
        (((10, LARGEST_SIDE + 1), ((0, 0, 1, 1),)), "expected frames of 1 to"),
        (((10, 20), ((0, 0, 21, 5),)), "expected regions inside the frame of 20x10 pixels, found 21x5 at \\(0, 0\\)"),
        (((10, 20), ((0, 0, 5, 11),)), "found 5x11 at"),
        (((10, 20), ((-1, 0, 5, 5),)), "found 5x5 at \\(-1, 0\\)"),
        (((10, 20), ((0, -1, 5, 5),)), "inside the frame"),
        (((10, 20), ((16, 0, 5, 5),)), "inside the frame"),
        (((10, 20), ((0, 6, 5, 5),)), "inside the frame"),
        (((10, 20), ((0, 0, 0, 5),)), "inside the frame"),
        (((10, 20), ((0, 0, 5, 0),)), "inside the frame"),
        (((10, 20), ((0, 0, 5, 5), (2, 2, 5, 5), (0, 0, 5, 5))), "expected every region once, found one twice"),
        (((1, MOST_VIEWS + 1), tuple((x, 0, 1, 1) for x in range(MOST_VIEWS + 1))), "found 1025; choose larger tiles"),
    ],
)
def test_layouts_that_cannot_be_are_refused(arguments: tuple[Any, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Layout(*arguments)
    assert "\n" not in str(caught.value)


def test_as_many_views_as_are_allowed() -> None:
    layout = Layout((1, MOST_VIEWS), tuple((x, 0, 1, 1) for x in range(MOST_VIEWS)))
    assert len(layout) == MOST_VIEWS and len(WHOLE) == 1
    assert Canvas(layout, SMALL).size == (1, MOST_VIEWS)  # never finer than the frame


def test_boxes_and_a_model_that_crops_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="--input"):
        Canvas(Layout((100, 100), ((0, 0, 50, 50),)), CROPPED)


def test_maps_that_no_memory_holds_are_refused() -> None:
    corners = Layout((30_000, 30_000), ((0, 0, 64, 64), (29_936, 29_936, 64, 64)))
    with pytest.raises(UsageError, match="at most 64 million pixels, found 30000x30000"):
        Canvas(corners, SMALL)
    Canvas(Layout((30_000, 30_000), ((0, 0, 30_000, 30_000),)), SMALL)


def test_only_frames_of_the_size_that_boxes_were_chosen_for() -> None:
    layout = Layout((10, 20), ((0, 0, 5, 5),))
    layout.check((10, 20))
    layout.check((10, 20, 3))
    for shape in ((20, 10), (20, 10, 3), (10, 21, 1)):
        with pytest.raises(FrameError, match=f"20x10 pixels.*found {shape[1]}x{shape[0]}; ") as caught:
            layout.check(shape)
        assert "\n" not in str(caught.value)
        WHOLE.check(shape)


LAYOUTS = (
    WHOLE,
    Layout((10, 20), ((0, 0, 5, 5), (3, 3, 17, 7))),
    Layout((LARGEST_SIDE, 1), ((0, 0, 1, LARGEST_SIDE),), masked=True),
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_survives_json(layout: Layout) -> None:
    value = json.loads(json.dumps(layout.to_json()))
    assert Layout.from_fields(Fields(value, where="there", error=BundleError)) == layout


GOOD = {"frame": [10, 20], "boxes": [[1, 2, 3, 4]], "masked": False}


@pytest.mark.parametrize(
    "change",
    [
        {"frame": [10]},
        {"frame": [10, 20, 3]},
        {"frame": [10.0, 20]},
        {"frame": ["10", 20]},
        {"frame": [True, 20]},
        {"frame": [-10, 20]},
        {"frame": [10, 2**70]},
        {"frame": 10},
        {"frame": {}},
        {"boxes": None},
        {"boxes": {}},
        {"boxes": [1, 2, 3, 4]},
        {"boxes": [[1, 2, 3]]},
        {"boxes": [[1, 2, 3, 4, 5]]},
        {"boxes": [[1, 2, 3.0, 4]]},
        {"boxes": [[1, 2, True, 4]]},
        {"boxes": [[-1, 2, 3, 4]]},
        {"boxes": [[1, 2, 3, 10**30]]},
        {"boxes": [[1, 2, "3", 4]]},
        {"boxes": [[[1, 2, 3, 4]]]},
        {"masked": 1},
        {"masked": None},
        {"more": 1},
    ],
)
def test_json_of_another_kind_is_refused(change: dict[str, Any]) -> None:
    Layout.from_fields(Fields(GOOD, where="there", error=BundleError))
    with pytest.raises(BundleError, match="there: (expected|found the unknown)") as caught:
        Layout.from_fields(Fields(GOOD | change, where="there", error=BundleError))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["frame", "boxes", "masked"])
def test_json_without_a_field_is_refused(name: str) -> None:
    value = {key: field for key, field in GOOD.items() if key != name}
    with pytest.raises(BundleError, match=f"expected the field '{name}'"):
        Layout.from_fields(Fields(value, where="there", error=BundleError))
