"""The overlay: a hot spot is drawn where it was measured, in a colour that only its distance decides."""

from __future__ import annotations

import numpy as np
import pytest

from spade_edge.runtime.errors import FrameError, UsageError
from spade_edge.runtime.result import FrameResult, Region
from spade_edge.runtime.view import View
from spade_edge.tools.overlay import CLEAR, TOP, VERDICT_COLOURS, colour, figure, legend, overlay


def result_of(heatmap: np.ndarray, *, regions: tuple[Region, ...] = (), verdict: str = "defect") -> FrameResult:
    score = float(heatmap.max()) if heatmap.size else float("nan")
    return FrameResult(score, 10.0, verdict, "", heatmap, regions, (), {"total": 1.0}, "CPUExecutionProvider")


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
    picture = overlay(frame, result_of(heatmap), view=view, pixel_threshold=10.0).astype(float)
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
    picture = overlay(frame, result_of(hot), view=View((256, 256), (224, 224)), pixel_threshold=10.0)
    assert (picture[128, :31] == 45).all()
    assert (picture[128, -31:] == 45).all()
    assert picture[128, 40, 2] > 150  # 32 of 512 columns are cut off on each side
    assert picture[128, -41, 2] > 150
    whole = overlay(frame, result_of(hot), view=View(), pixel_threshold=10.0)
    assert whole[128, 3, 2] > 150


def test_a_calm_frame_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, size=(320, 320, 3), dtype=np.uint8)
    before = frame.copy()
    calm = np.full((224, 224), 10 * CLEAR, dtype=np.float32)
    picture = overlay(frame, result_of(calm, verdict="good"), view=View(), pixel_threshold=10.0)
    assert (picture[60:] == frame[60:]).all()
    assert (frame == before).all()
    warm = overlay(frame, result_of(calm * 1.9, verdict="good"), view=View(), pixel_threshold=10.0)
    assert (warm[60:] != frame[60:]).any()


def test_a_white_contour_runs_along_the_threshold() -> None:
    heatmap = np.zeros((224, 224), dtype=np.float32)
    heatmap[100:140, 100:140] = 30
    frame = np.full((224, 224, 3), 60, dtype=np.uint8)
    picture = overlay(frame, result_of(heatmap), view=View(), pixel_threshold=10.0)
    rows, columns = np.nonzero((picture[60:] == 255).all(axis=2))
    assert (rows.min() + 60, rows.max() + 60, columns.min(), columns.max()) == (100, 139, 100, 139)
    calm = overlay(frame, result_of(heatmap * 0.3), view=View(), pixel_threshold=10.0)
    assert not (calm[60:] == 255).all(axis=2).any()


def test_a_region_is_boxed_without_being_covered() -> None:
    frame = np.full((320, 320, 3), 60, dtype=np.uint8)
    calm = np.zeros((224, 224), dtype=np.float32)
    region = Region(x=100, y=200, width=30, height=20, score=30.0)
    picture = overlay(frame, result_of(calm, regions=(region,)), view=View(), pixel_threshold=10.0)
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
    picture = overlay(frame, result_of(calm, verdict=verdict), view=View(), pixel_threshold=10.0)
    assert (picture[0, -5:] == VERDICT_COLOURS[verdict]).all()
    assert (picture[:30] == 255).all(axis=2).any()  # words
    assert (picture[40:] == 60).all()
    region = Region(x=100, y=4, width=30, height=20, score=30.0)
    moved = overlay(frame, result_of(calm, verdict=verdict, regions=(region,)), view=View(), pixel_threshold=10.0)
    assert (moved[4:24, 100:130] == 60).all()
    assert (moved[-1, -5:] == VERDICT_COLOURS[verdict]).all()


@pytest.mark.parametrize("shape", [(120, 160), (120, 160, 1)])
def test_grey_frames_become_the_picture_of_their_colour_twin(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 256, size=shape, dtype=np.uint8)
    twin = np.repeat(grey.reshape(120, 160, 1), 3, axis=2)
    heatmap = rng.uniform(0, 40, size=(224, 224)).astype(np.float32)
    pictures = [overlay(frame, result_of(heatmap), view=View(), pixel_threshold=10.0) for frame in (grey, twin)]
    assert pictures[0].shape == (120, 160, 3)
    assert pictures[0].dtype == np.uint8
    assert (pictures[0] == pictures[1]).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 500, 3), (9, 9), (40, 30, 3)])
def test_tiny_frames_and_frames_without_a_map_are_drawn_too(shape: tuple[int, ...]) -> None:
    frame = np.full(shape, 60, dtype=np.uint8)
    nothing = np.zeros((0, 0), dtype=np.float32)
    hot = np.full((224, 224), 100.0, dtype=np.float32)
    assert overlay(frame, result_of(hot), view=View(), pixel_threshold=10.0).shape == (*shape[:2], 3)
    unjudged = overlay(frame, result_of(nothing, verdict="cannot_judge"), view=View(), pixel_threshold=10.0)
    assert unjudged.shape == (*shape[:2], 3)
    assert unjudged[-1, -1].tolist() == [60, 60, 60]


def test_wrong_maps_frames_and_thresholds_are_refused() -> None:
    frame = np.zeros((50, 50, 3), dtype=np.uint8)
    small = result_of(np.zeros((112, 224), dtype=np.float32))
    with pytest.raises(FrameError, match="112x224"):
        overlay(frame, small, view=View(), pixel_threshold=10.0)
    with pytest.raises(FrameError, match="uint8"):
        overlay(frame.astype(np.float32), small, view=View(), pixel_threshold=10.0)  # type: ignore[arg-type]
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
