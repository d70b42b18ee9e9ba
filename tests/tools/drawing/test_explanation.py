"""The picture that explains a verdict: frame, anomaly map, and for each region the good place it was matched with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, Views, build
from spade_edge.runtime import Match, Region, Scorer
from spade_edge.tools.drawing.explanation import GAP, LINE, LONGEST, PATCH, REGIONS, explanation
from spade_edge.tools.drawing.nearest import PARTS, nearest_patch

Frames = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="module")
def scorer(edge: Built) -> Scorer:
    return Scorer.open(edge.path)


@pytest.fixture(scope="module")
def tiled(model: Path, part: Frames, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """Good images of three flat greys from left to right, in tiles of 64x64: a place can be told by its grey."""
    folder = tmp_path_factory.mktemp("greys")
    for seed in range(4):
        noise = np.random.default_rng(seed).integers(0, 6, (64, 192))
        np.save(folder / f"{seed}.npy", (np.repeat([40, 120, 200], 64) + noise).astype(np.uint8))
    output = tmp_path_factory.mktemp("tiled") / "part.spade"
    return Scorer.open(
        build(folder, model=model, output=output, options=BuildOptions(views=Views(tile=(64, 64), overlap=0))).path
    )


def test_frame_and_map_lie_side_by_side_and_a_good_frame_needs_no_more(scorer: Scorer, part: Frames) -> None:
    frame = part(0, size=(96, 80))
    result = replace(scorer(frame), regions=(), nearest=())
    picture = explanation(scorer.bundle, frame, result)
    width = max(80, PATCH)  # a narrow picture has room for its caption
    assert picture.shape == (GAP + LINE + 96 + GAP, GAP + width + GAP + width + GAP, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[GAP + LINE :, GAP:][:96, :80], frame)


def test_a_region_is_shown_beside_the_good_place_it_was_matched_with(scorer: Scorer, part: Frames) -> None:
    frame = part(20, flaw=True)
    result = scorer(frame)
    assert result.regions
    picture = explanation(scorer.bundle, frame, result)
    rows = min(len(result.regions), REGIONS)
    plain = explanation(scorer.bundle, frame, replace(result, regions=(), nearest=()))
    assert picture.shape[0] >= plain.shape[0] + rows * PATCH // 2
    assert picture.shape[1] >= 2 * GAP + 3 * PATCH + 2 * GAP


def test_a_wide_frame_has_its_map_below_and_is_made_smaller(scorer: Scorer, part: Frames) -> None:
    frame = part(1, size=(100, 1600))
    picture = explanation(scorer.bundle, frame, replace(scorer(frame), regions=(), nearest=()))
    assert picture.shape[:2] == (GAP + 2 * (LINE + 40) + GAP + GAP, GAP + LONGEST + GAP)


def test_more_regions_than_are_shown_are_counted(scorer: Scorer, part: Frames) -> None:
    frame = part(1)
    match = Match(image=scorer.bundle.manifest.names[0], x=0.5, y=0.5, distance=1.0, item=0)
    few, many = (
        explanation(
            scorer.bundle,
            frame,
            replace(scorer(frame), regions=(Region(8, 8, 4, 4, 9.0, 8.0, 16.0),) * count, nearest=(match,) * count),
        )
        for count in (REGIONS, REGIONS + 3)
    )
    assert many.shape[0] == few.shape[0] + GAP + LINE + 1


@pytest.mark.parametrize(("x", "grey"), [(1 / 6, 40), (0.5, 120), (5 / 6, 200)])
def test_the_nearest_patch_is_cut_out_of_the_view_that_was_matched(tiled: Scorer, x: float, grey: int) -> None:
    view = int(x * 3)
    patch = nearest_patch(tiled.bundle, Match(image="2.npy", x=x, y=0.5, distance=0.0, view=view, item=4 * view + 2))
    assert patch.shape == (32 // PARTS, 32 // PARTS, 3)
    assert abs(float(patch.mean()) - grey - 2.5) < 2


@pytest.mark.parametrize("shape", [(64, 192), (64, 192, 1), (64, 192, 3)])
def test_tiles_grey_and_colour(tiled: Scorer, shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(9).integers(0, 6, (64, 192))
    grey = (np.repeat([40, 120, 200], 64) + noise).astype(np.uint8)
    frame = np.broadcast_to(grey.reshape(64, 192, 1), (64, 192, 3)) if shape[2:] == (3,) else grey.reshape(shape)
    frame = np.array(frame)
    frame[20:40, 90:110] = 255
    result = tiled(frame)
    assert result.verdict == "defect" and result.regions
    picture = explanation(tiled.bundle, frame, result)
    assert picture.ndim == 3 and picture.shape[2] == 3
    assert frame.max() == 255 and frame.shape == shape  # untouched


def test_a_frame_of_one_pixel(scorer: Scorer) -> None:
    frame = np.zeros((1, 1, 3), np.uint8)
    assert explanation(scorer.bundle, frame, scorer(frame)).size
