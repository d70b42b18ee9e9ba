"""What the good images have in common, and in what a frame differs from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.preprocessing.colour import BANDS, ChannelOrder, Colour
from spade_edge.runtime.preprocessing.frame_format import BOTH, COLOUR, GREY, FrameFormat

RED = Colour(saturation=40.0, redness=(0.5,) * BANDS)
BLUE = Colour(saturation=40.0, redness=(-0.5,) * BANDS)
NONE = Colour(saturation=0.0, redness=(0.0,) * BANDS)
TRACE = Colour(saturation=0.3, redness=(0.0,) * BANDS)
VIEW = (224, 224)
FORMAT = FrameFormat(
    colour=COLOUR,
    order=ChannelOrder(weights=(2 / BANDS,) * BANDS),
    depth=16,
    bits=12,
    smallest=(480, 640),
    largest=(480, 640),
    aspect=(640 / 480, 640 / 480),
)


def learned(*colours: Colour) -> FrameFormat:
    return FrameFormat.of(
        sizes=[(100, 200), (120, 200)][: len(colours)] + [(110, 300)] * (len(colours) - 2),
        depths=[8] * len(colours),
        colours=colours,
        usual=colours,
        bits=None,
    )


def test_it_is_learned_from_sizes_depths_and_colours() -> None:
    found = learned(RED, RED, RED)
    assert (found.smallest, found.largest) == ((100, 200), (120, 300))
    assert found.aspect == (pytest.approx(200 / 120), pytest.approx(300 / 110))
    assert (found.colour, found.depth, found.bits) == (COLOUR, 8, None)
    assert learned(NONE, NONE).colour == GREY and learned(NONE, RED).colour == BOTH
    assert learned(NONE, NONE).order is None
    mixed = FrameFormat.of(sizes=[(9, 9)] * 2, depths=[8, 16], colours=[RED] * 2, usual=[RED] * 2, bits=10)
    assert mixed.depth is None and mixed.bits == 10


def test_other_colours() -> None:
    assert FORMAT.other_colour(RED) == "" and "swapped" in FORMAT.other_colour(BLUE)
    assert "it is grey, they are in colour" in FORMAT.other_colour(NONE)
    grey = replace(FORMAT, colour=GREY, order=None)
    assert "it is in colour, they are grey" in grey.other_colour(RED)
    assert grey.other_colour(NONE) == grey.other_colour(TRACE) == FORMAT.other_colour(TRACE) == ""
    both = replace(FORMAT, colour=BOTH, order=None)
    assert {both.other_colour(colour) for colour in (RED, BLUE, NONE, TRACE)} == {""}


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((480, 640), ""),
        ((240, 320), ""),  # still more pixels than the view
        ((960, 1280), ""),
        ((480, 660), ""),  # 3 % wider
        ((480, 720), "another shape"),
        ((640, 480), "another shape"),  # a camera on its side
        ((600, 600), "another shape"),
        ((90, 120), "much smaller"),
    ],
)
def test_other_sizes(size: tuple[int, int], says: str) -> None:
    found = FORMAT.other_size(size, VIEW)
    assert (says in found) if says else found == ""
    assert "\n" not in found and (not found or f"{size[1]}x{size[0]}" in found)


def test_a_frame_finer_than_small_good_images_has_other_detail() -> None:
    small = replace(FORMAT, smallest=(75, 100), largest=(75, 100))
    assert "much larger" in small.other_size((480, 640), VIEW)
    assert small.other_size((90, 120), VIEW) == "" and "much smaller" in small.other_size((45, 60), VIEW)
    assert small.other_size((480, 640), (64, 64)) == ""  # of both, the network sees 64 rows


def test_images_that_differ_by_nature_allow_as_much_again() -> None:
    varied = replace(FORMAT, smallest=(100, 100), largest=(600, 600), aspect=(0.5, 2.0))
    for size in ((100, 400), (500, 150), (600, 600), (300, 300)):
        assert varied.other_size(size, VIEW) == ""
    assert "another shape" in varied.other_size((30, 600), VIEW)


def test_a_size_that_can_be_judged_and_differs_is_worth_a_hint() -> None:
    assert FORMAT.hint((480, 640)) == ""
    assert "320x240" in FORMAT.hint((240, 320)) and "640x480" in FORMAT.hint((240, 320))


def test_it_survives_json_and_refuses_what_is_none() -> None:
    def read(value: object) -> FrameFormat:
        return FrameFormat.from_fields(Fields(value, where="format", error=BundleError), source="m")

    for one in (FORMAT, replace(FORMAT, order=None, depth=None, bits=None), learned(RED, NONE)):
        assert read(one.to_json()) == one
    for change in (
        {"colour": "pink"},
        {"order": [1.0]},
        {"order": [1.0] * (BANDS + 1)},
        {"depth": 9},
        {"bits": 7},
        {"bits": 17},
        {"smallest": [0, 1]},
        {"aspect": [2.0, 1.0]},
        {"aspect": [0.0, 1.0]},
        {"more": 1},
    ):
        with pytest.raises(BundleError):
            read(FORMAT.to_json() | change)
