"""The overlay: a hot spot is drawn where it was measured, in a colour that only its distance decides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import Scorer
from spade_edge.runtime.errors import FrameError, UsageError
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.result import FrameResult, Region
from spade_edge.tools.drawing.overlay import (
    CLEAR,
    TILE,
    TOP,
    UNSEEN,
    VERDICT_COLOURS,
    colour,
    figure,
    legend,
    map_over,
    overlay,
)


def result_of(
    heatmap: np.ndarray,
    extent: tuple[float, float, float, float],
    *,
    looked_at: np.ndarray | None = None,
    regions: tuple[Region, ...] = (),
    verdict: str = "defect",
) -> FrameResult:
    return FrameResult(
        score=float(heatmap.max()) if heatmap.size else float("nan"),
        threshold=10.0,
        pixel_threshold=10.0,
        p=0.025,
        verdict=verdict,
        reason="",
        heatmap=heatmap,
        extent=extent,
        looked_at=looked_at,
        regions=regions,
        nearest=(),
        milliseconds={"total": 1.0},
        provider="CPUExecutionProvider",
    )


def whole(frame: np.ndarray) -> tuple[float, float, float, float]:
    """The extent of a map of all of a frame."""
    return 0, 0, frame.shape[1], frame.shape[0]


def lightness(bgr: np.ndarray) -> np.ndarray:
    """L* of CIE 1976, worked out here from the sRGB definition."""
    linear = np.asarray(bgr, dtype=np.float64) / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.0722, 0.7152, 0.2126])
    return np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)


def test_the_same_distance_has_the_same_colour_in_every_map() -> None:
    calm = np.full((4, 4), 3.0, dtype=np.float32)
    wild = np.array([[3.0, 900.0], [0.0, 3.0]], dtype=np.float32)
    assert (colour(calm, threshold=10) == colour(wild, threshold=10)[0, 0]).all()
    assert (colour(wild, threshold=10)[0, 0] == colour(wild, threshold=10)[1, 1]).all()
    # Twice the distance at twice the threshold means the same, too.
    assert (colour(2 * wild, threshold=20) == colour(wild, threshold=10)).all()


def test_the_scale_is_ordered_by_lightness_with_a_step_at_the_threshold() -> None:
    values = np.linspace(0, TOP, 801)[np.newaxis]
    light = lightness(colour(values, threshold=1.0)[0])
    assert (np.diff(light) >= -0.5).all()
    steps = np.diff(light)
    assert steps.argmax() == 200  # from 1.000 to 1.005
    assert steps[200] > 8  # plain to see
    assert steps[200] > 4 * np.delete(steps, 200).max()
    one = np.float32(1)
    just_over = np.array([[one, np.nextafter(one, np.float32(2))]], dtype=np.float32)
    below, above = lightness(colour(just_over, threshold=1.0)[0])
    assert above - below > 8


def test_the_scale_ends_at_its_top_and_survives_what_is_no_number() -> None:
    values = np.array([[TOP, 1e30, np.inf, np.nan, -1.0, 0.0]], dtype=np.float32)
    colours = colour(values, threshold=1.0)[0]
    assert (colours[0] == colours[1]).all()
    assert (colours[0] == colours[2]).all()
    assert (colours[3] == colours[5]).all()
    assert (colours[4] == colours[5]).all()


@pytest.mark.parametrize("frame_size", [(224, 224), (480, 640), (97, 131), (1080, 400)])
@pytest.mark.parametrize("view", [View(), View((256, 256), (224, 224)), View((300, 256), (64, 160))])
def test_a_hot_spot_lands_on_the_pixels_it_was_measured_on(frame_size: tuple[int, int], view: View) -> None:
    height, width = frame_size
    spot = (height * 0.55, width * 0.47)  # y, x in the frame
    # Where the view sees that place: independent of box_in_frame, by the definition of the view.
    top, left = (view.resize[0] - view.size[0]) // 2, (view.resize[1] - view.size[1]) // 2
    seen_y, seen_x = spot[0] / height * view.resize[0] - top, spot[1] / width * view.resize[1] - left
    rows, columns = np.mgrid[0 : view.size[0], 0 : view.size[1]] + 0.5
    heatmap = (40 * np.exp(-((rows - seen_y) ** 2 + (columns - seen_x) ** 2) / 200)).astype(np.float32)

    frame = np.full((*frame_size, 3), 60, dtype=np.uint8)
    down, across = height / view.resize[0], width / view.resize[1]  # frame pixels to a pixel of the view
    extent = (left * across, top * down, view.size[1] * across, view.size[0] * down)
    picture = overlay(frame, result_of(heatmap, extent), pixel_threshold=10.0).astype(float)
    heat = np.clip(picture[..., 2] - picture[..., 0] - 20, 0, None)  # red without blue: nothing else is
    bar = int(np.ceil(height * 0.3))
    heat[:bar] = 0  # the label
    assert heat.sum() > 0
    centre_y = (heat.sum(axis=1) * (np.arange(height) + 0.5)).sum() / heat.sum()
    centre_x = (heat.sum(axis=0) * (np.arange(width) + 0.5)).sum() / heat.sum()
    assert centre_y == pytest.approx(spot[0], abs=0.5 + 0.2 * height / view.resize[0])
    assert centre_x == pytest.approx(spot[1], abs=0.5 + 0.2 * width / view.resize[1])


def test_what_the_view_leaves_out_is_darkened_and_never_hot() -> None:
    frame = np.full((256, 512, 3), 100, dtype=np.uint8)
    hot = np.full((224, 224), 100.0, dtype=np.float32)
    picture = overlay(frame, result_of(hot, (32, 16, 448, 224)), pixel_threshold=10.0)
    assert (picture[128, :31] == 45).all()
    assert (picture[128, -31:] == 45).all()
    assert picture[128, 40, 2] > 150  # 32 of 512 columns are cut off on each side
    assert picture[128, -41, 2] > 150
    all_of_it = overlay(frame, result_of(hot, whole(frame)), pixel_threshold=10.0)
    assert all_of_it[128, 3, 2] > 150


def test_a_calm_frame_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, size=(320, 320, 3), dtype=np.uint8)
    before = frame.copy()
    calm = np.full((224, 224), 10 * CLEAR, dtype=np.float32)
    picture = overlay(frame, result_of(calm, whole(frame), verdict="good"), pixel_threshold=10.0)
    assert (picture[60:] == frame[60:]).all()
    assert (frame == before).all()
    warm = overlay(frame, result_of(calm * 1.9, whole(frame), verdict="good"), pixel_threshold=10.0)
    assert (warm[60:] != frame[60:]).any()


def test_a_white_contour_runs_along_the_threshold() -> None:
    heatmap = np.zeros((224, 224), dtype=np.float32)
    heatmap[100:140, 100:140] = 30
    frame = np.full((224, 224, 3), 60, dtype=np.uint8)
    picture = overlay(frame, result_of(heatmap, whole(frame)), pixel_threshold=10.0)
    rows, columns = np.nonzero((picture[60:] == 255).all(axis=2))
    assert (rows.min() + 60, rows.max() + 60, columns.min(), columns.max()) == (100, 139, 100, 139)
    calm = overlay(frame, result_of(heatmap * 0.3, whole(frame)), pixel_threshold=10.0)
    assert not (calm[60:] == 255).all(axis=2).any()


def test_a_region_is_boxed_without_being_covered() -> None:
    frame = np.full((320, 320, 3), 60, dtype=np.uint8)
    calm = np.zeros((224, 224), dtype=np.float32)
    region = Region(x=100, y=200, width=30, height=20, score=30.0, mean=20.0, area=600.0)
    picture = overlay(frame, result_of(calm, whole(frame), regions=(region,)), pixel_threshold=10.0)
    assert (picture[200:220, 100:130] == 60).all()
    assert (picture[199, 99:131] == 255).all()
    assert (picture[220, 99:131] == 255).all()
    assert (picture[199:221, 99] == 255).all()
    assert (picture[199:221, 130] == 255).all()
    assert (picture[198, 98:132] == 20).all()


@pytest.mark.parametrize("verdict", ["good", "defect", "cannot_judge"])
def test_the_label_says_the_verdict_and_moves_out_of_a_region_s_way(verdict: str) -> None:
    frame = np.full((320, 320, 3), 60, dtype=np.uint8)
    calm = np.zeros((224, 224), dtype=np.float32)
    picture = overlay(frame, result_of(calm, whole(frame), verdict=verdict), pixel_threshold=10.0)
    assert (picture[0, -5:] == VERDICT_COLOURS[verdict]).all()
    assert (picture[:30] > 200).all(axis=2).any()  # words
    assert (picture[40:] == 60).all()
    region = Region(x=100, y=4, width=30, height=20, score=30.0, mean=20.0, area=600.0)
    moved = overlay(frame, result_of(calm, whole(frame), verdict=verdict, regions=(region,)), pixel_threshold=10.0)
    assert (moved[4:24, 100:130] == 60).all()
    assert (moved[-1, -5:] == VERDICT_COLOURS[verdict]).all()


@pytest.mark.parametrize("shape", [(120, 160), (120, 160, 1)])
def test_grey_frames_become_the_picture_of_their_colour_twin(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 256, size=shape, dtype=np.uint8)
    twin = np.repeat(grey.reshape(120, 160, 1), 3, axis=2)
    heatmap = rng.uniform(0, 40, size=(224, 224)).astype(np.float32)
    pictures = [overlay(frame, result_of(heatmap, whole(frame)), pixel_threshold=10.0) for frame in (grey, twin)]
    assert pictures[0].shape == (120, 160, 3)
    assert pictures[0].dtype == np.uint8
    assert (pictures[0] == pictures[1]).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 500, 3), (9, 9), (40, 30, 3)])
def test_tiny_frames_and_frames_without_a_map_are_drawn_too(shape: tuple[int, ...]) -> None:
    frame = np.full(shape, 60, dtype=np.uint8)
    nothing = np.zeros((0, 0), dtype=np.float32)
    hot = np.full((224, 224), 100.0, dtype=np.float32)
    assert overlay(frame, result_of(hot, whole(frame)), pixel_threshold=10.0).shape == (*shape[:2], 3)
    unjudged = overlay(frame, result_of(nothing, whole(frame), verdict="cannot_judge"), pixel_threshold=10.0)
    assert unjudged.shape == (*shape[:2], 3)
    assert unjudged[-1, -1].tolist() == [60, 60, 60]


def test_wrong_maps_frames_and_thresholds_are_refused() -> None:
    frame = np.zeros((50, 50, 3), dtype=np.uint8)
    other = result_of(np.zeros((112, 224), dtype=np.float32), (0, 0, 224, 112))
    with pytest.raises(FrameError, match="found 50x50 pixels and a map up to 224x112; is this the frame that was"):
        overlay(frame, other, pixel_threshold=10.0)
    with pytest.raises(FrameError, match="uint8"):
        overlay(frame.astype(np.float32), other, pixel_threshold=10.0)  # type: ignore[arg-type]
    for threshold in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="threshold"):
            colour(np.zeros((2, 2), dtype=np.float32), threshold=threshold)


def test_the_legend_shows_the_scale_with_the_threshold_in_the_middle() -> None:
    bar = legend(width=401, height=3)
    assert bar.shape == (3, 401, 3)
    assert (bar[0] == bar[2]).all()
    for place, value in ((0, 0.0), (100, 0.5), (200, 1.0), (300, 2.0), (400, 4.0)):
        assert (bar[0, place] == colour(np.array([[value]]), threshold=1.0)[0, 0]).all()
    assert np.diff(lightness(bar[0])).argmax() == 200


@pytest.mark.parametrize(
    ("value", "text"),
    [(6389.54, "6,390"), (0.0, "0"), (12.345, "12.3"), (0.01234, "0.0123"), (2e12, "2e+12"), (float("nan"), "unknown")],
)
def test_figures_are_written_for_people(value: float, text: str) -> None:
    assert figure(value) == text


# Frame (height, width), extent of the map on it and the map's size: regions in a corner, tiles, a strip.
PARTS: dict[str, tuple[tuple[int, int], tuple[float, float, float, float], tuple[int, int]]] = {
    "a region": ((480, 640), (200, 130, 320, 240), (224, 224)),
    "a small region": ((480, 640), (400, 300, 60, 70), (224, 224)),
    "tiles that shrink": ((700, 900), (0, 0, 900, 700), (350, 450)),
    "tiles as they are": ((300, 400), (30, 100, 340, 190), (190, 340)),
    "a strip": ((120, 1500), (100, 20, 1390, 90), (45, 695)),
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("spot", [(0.3, 0.2), (0.62, 0.71), (0.9, 0.5)])
def test_a_hot_spot_of_a_part_lands_on_the_pixels_it_was_measured_on(name: str, spot: tuple[float, float]) -> None:
    (height, width), (x, y, wide, high), size = PARTS[name]
    middle = y + spot[0] * high, x + spot[1] * wide  # in the frame
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
    # In pixels of the frame, so that the spot is round there; narrow enough to lie inside.
    across, down = (columns / size[1] - spot[1]) * wide, (rows / size[0] - spot[0]) * high
    heatmap = (40 * np.exp(-(across**2 + down**2) / 32)).astype(np.float32)
    frame = np.full((height, width, 3), 60, dtype=np.uint8)
    picture = overlay(frame, result_of(heatmap, (x, y, wide, high)), pixel_threshold=10.0).astype(float)
    heat = np.clip(picture[..., 2] - picture[..., 0] - 20, 0, None)
    bar = int(0.25 * height)  # the label
    heat[:bar] = 0
    assert heat.sum() > 0
    assert (heat.sum(axis=1) * (np.arange(height) + 0.5)).sum() / heat.sum() == pytest.approx(middle[0], abs=1.5)
    assert (heat.sum(axis=0) * (np.arange(width) + 0.5)).sum() / heat.sum() == pytest.approx(middle[1], abs=1.5)
    # All else of the part is as it was, and what lies around it is darkened.
    inside = np.zeros((height, width), bool)
    inside[int(y) : int(y + high), int(x) : int(x + wide)] = True
    far = (np.mgrid[:height, :width][0] - middle[0]) ** 2 + (np.mgrid[:height, :width][1] - middle[1]) ** 2 > 30**2
    assert (picture[bar:][(inside & far)[bar:]] == 60).all()
    assert (picture[bar:][~inside[bar:]] == 27).all()  # 0.45 of it


def test_what_no_view_covers_and_what_a_mask_leaves_out_is_darkened_and_never_hot() -> None:
    frame = np.full((400, 400, 3), 100, dtype=np.uint8)
    hot = np.full((150, 150), 100.0, dtype=np.float32)
    looked_at = np.ones((150, 150), bool)
    looked_at[30:60, 90:] = False
    hot[~looked_at] = 0
    picture = overlay(frame, result_of(hot, (50, 60, 300, 300), looked_at=looked_at), pixel_threshold=10.0)
    expected = np.zeros((400, 400), bool)
    expected[60:360, 50:350] = True
    expected[60 + 60 : 60 + 120, 50 + 180 : 350] = False
    edge = np.zeros((400, 400), bool)  # a pixel or two, and the contour line
    edge[60 + 57 : 60 + 123, 50 + 177 : 353] = True
    edge[60 + 63 : 60 + 117, 50 + 183 : 347] = False
    below = np.s_[57:]
    assert (picture[below][(~expected & ~edge)[below]] == 45).all()
    inner = expected & ~edge
    inner[:64], inner[-44:], inner[:, :54], inner[:, -54:] = False, False, False, False
    assert (picture[below][inner[below]][:, 2] > 150).all()
    # A map that is hot under the mask, as no scorer makes one, is not shown to be.
    loud = overlay(
        frame, result_of(np.full_like(hot, 100.0), (50, 60, 300, 300), looked_at=looked_at), pixel_threshold=10.0
    )
    assert (loud[below][(~expected & ~edge)[below]] == 45).all()


def drawn_at_once(
    frame: NDArray[np.uint8],
    heatmap: NDArray[np.float32],
    extent: tuple[float, float, float, float],
    looked_at: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]:
    """What `map_over` draws at a threshold of 10, in arrays as large as the frame: colours, and pixels of contours."""
    height, width = frame.shape[:2]
    x, y, wide, high = extent
    columns, rows = (
        ((np.arange(size) + 0.5 - start) * (pixels / length) - 0.5).astype(np.float32)
        for size, start, length, pixels in ((width, x, wide, heatmap.shape[1]), (height, y, high, heatmap.shape[0]))
    )

    def on_frame(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        grid = np.meshgrid(columns, rows)
        return cv2.remap(values.astype(np.float32), *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    ratio = on_frame(np.clip(heatmap / 10, 0, TOP))
    seen = np.zeros((height, width), bool)
    seen[math.floor(y) : math.ceil(y + high), math.floor(x) : math.ceil(x + wide)] = True
    if looked_at is not None:
        seen &= on_frame(looked_at) >= 0.5
    mixed = frame.reshape(height, width, -1) * np.where(seen, 1, UNSEEN)[..., None]
    strength = np.interp(ratio, (CLEAR, 1, 1.0001, TOP), (0, 0.35, 0.55, 0.72)) * seen
    contours, _ = cv2.findContours(((ratio > 1) & seen).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    white = np.zeros((height, width), np.uint8)
    cv2.drawContours(white, contours, -1, 1, max(1, round(min(height, width) / 400)), cv2.LINE_8)
    return mixed + strength[..., None] * (colour(ratio, threshold=1.0) - mixed), white > 0


@pytest.mark.parametrize("extent", [(0, 0, 1311, 197), (100.5, 20.25, 1100, 150)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_tiles_make_the_picture_that_is_drawn_at_once(
    extent: tuple[float, float, float, float], masked: bool, grey: bool
) -> None:
    rng = np.random.default_rng(0)
    size = (197, 1311)
    assert size[0] > 2 * TILE[0] and size[1] > TILE[1]  # several tiles along both axes, and parts of tiles
    frame = rng.integers(0, 256, size if grey else (*size, 3), dtype=np.uint8)
    heatmap = cv2.GaussianBlur(rng.uniform(0, 100, (40, 224)).astype(np.float32), (0, 0), 4) - 30
    heatmap[:, :20] = 0  # tiles that need no tint
    looked_at = None
    if masked:
        looked_at = np.ones(heatmap.shape, bool)
        looked_at[10:20, 50:90] = False
    assert (heatmap > 10).any() and (heatmap < 5).any()
    picture = map_over(frame, heatmap, extent=extent, looked_at=looked_at, pixel_threshold=10.0)
    expected, white = drawn_at_once(frame, heatmap, extent, looked_at)
    difference = np.abs(picture - expected)[~white]
    assert white.any() and (picture[white] == 255).all()
    # A step of the palette is at most 5 of 255, and rarely falls on the other side of its boundary.
    assert difference.max() <= 5 and np.mean(difference > 0.6) < 0.01


@pytest.mark.parametrize("name", ["shared", "regions, per-view", "masked", "masked regions, no codes"])
def test_the_overlay_of_a_scored_frame(
    with_views: Callable[[str], Built],
    texture: Callable[..., NDArray[np.uint8]],
    looked_at: NDArray[np.bool_],
    name: str,
) -> None:
    scorer = Scorer.open(with_views(name).path)
    threshold = scorer.bundle.manifest.threshold.pixel
    frame = np.ascontiguousarray(texture(130, flaw=(26, 38)))
    result = scorer(frame)
    plain = replace(result, regions=(), nearest=())
    picture = overlay(frame, plain, pixel_threshold=threshold)
    seen = np.zeros(frame.shape[:2], bool)
    for x, y, width, height in scorer.canvas.boxes:
        seen[y : y + height, x : x + width] = True
    if "masked" in name:
        seen &= looked_at
    dark = np.rint(frame * np.float32(0.45)).astype(np.uint8)
    borders = np.zeros_like(seen)
    borders[1:-1, 1:-1] = sum(seen[r : r + 54, c : c + 70].astype(int) for r in range(3) for c in range(3)) % 9 > 0
    outside = ~seen & ~borders
    outside[:20] = False  # the label
    assert (np.abs(picture[outside].astype(int) - dark[outside]) <= 1).all()
    assert outside.any() == (name != "shared")
    # Where the map is over the threshold there is more red than there was.
    there = frame.shape[0] // 2 + 14, 30
    assert picture[there][2] > frame[there][2] * 0.5
    for wrong in (frame[:-8], frame[:, :-8], frame[:20, :20]):
        with pytest.raises(FrameError, match=f"found {wrong.shape[1]}x{wrong.shape[0]} pixels and a map up to"):
            overlay(np.ascontiguousarray(wrong), result, pixel_threshold=threshold)
