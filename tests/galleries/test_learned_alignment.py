"""Where parts lie in good images: rendered parts, whose places are known, against what is learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from placed_part import placed_part

from spade_edge.galleries.learned_alignment import AUTO, LEAST_IMAGES, OFF, LearnedAlignment, learn_alignment
from spade_edge.galleries.staging import staging
from spade_edge.runtime.geometry.layout import Canvas, Layout
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.matching.config import PROFILES, Matching

VIEW = View((96, 96), (96, 96))
CANVAS = Canvas(Layout(), VIEW)
RNG = np.random.default_rng(0)
PLACES = [tuple(RNG.uniform(-2, 2, 3)) for _ in range(12)]  # right, down, angle
PARTS = [placed_part(i, right=right, down=down, angle=angle) for i, (right, down, angle) in enumerate(PLACES)]


def learned(
    folder: Path,
    pictures: list[NDArray[np.uint8]],
    *,
    align: str = AUTO,
    matching: Matching = PROFILES["edge"],
    canvas: Canvas = CANVAS,
    included: list[bool] | None = None,
    groups: list[int] | None = None,
    sizes: list[tuple[int, int]] | None = None,
) -> LearnedAlignment:
    folder.mkdir(exist_ok=True)
    with staging(folder / "part.spade") as stage:
        placement = learn_alignment(
            stage,
            np.stack(pictures),
            align=align,
            matching=matching,
            canvas=canvas,
            included=np.array(included or [True] * len(pictures)),
            groups=groups or list(range(len(pictures))),
            sizes=sizes or [(96, 96)] * len(pictures),
        )
        assert ("reference" in stage.files) == (placement.reference is not None)
    assert (placement.alignment is None) == (placement.reference is None)
    return placement


def test_the_range_is_that_of_the_parts(tmp_path: Path) -> None:
    placement = learned(tmp_path, PARTS)
    alignment, reference = placement.alignment, placement.reference
    assert alignment is not None
    assert reference is not None
    right, down, angle = (np.array(values) for values in zip(*PLACES, strict=True))
    for found, values, margin in (
        (96 * np.array(alignment.right), right, 0.005 * 96),
        (96 * np.array(alignment.down), down, 0.005 * 96),
        (np.array(alignment.angle), angle, 0.5),
    ):
        middle = np.median(values)
        assert found == pytest.approx([values.min() - middle - margin, values.max() - middle + margin], abs=0.6)
    assert alignment.turns
    assert alignment.aspect == 1
    middle_part = placed_part(99, right=np.median(right), down=np.median(down), angle=np.median(angle))
    assert np.abs(reference - middle_part).mean() < 4
    assert placement.remark.startswith("parts lie within")


@pytest.mark.parametrize("odd", [{"right": 8}, {"down": -9}, {"angle": 12}])
def test_one_part_that_lies_elsewhere_does_not_widen_the_range(tmp_path: Path, odd: dict[str, float]) -> None:
    usual = learned(tmp_path, PARTS).alignment
    found = learned(tmp_path, [*PARTS, placed_part(50, **odd)]).alignment
    assert usual is not None
    assert found is not None
    for name in ("right", "down", "angle"):
        unit = 1 if name == "angle" else 1 / 96
        assert getattr(found, name) == pytest.approx(getattr(usual, name), abs=0.7 * unit)


def test_excluded_images_and_other_images_of_the_same_part_count_for_nothing(tmp_path: Path) -> None:
    elsewhere = [placed_part(50 + i, right=8) for i in range(6)]
    usual = learned(tmp_path, PARTS).alignment
    found = learned(tmp_path, [*elsewhere, *PARTS], included=[False] * 6 + [True] * len(PARTS)).alignment
    assert found == usual


def noise(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (96, 96, 3)).astype(np.uint8)


def grating(seed: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:96, :96] / 2
    shift = np.random.default_rng(seed).uniform(0, 0.5, 2)
    grey = 128 + 60 * np.sin(x + shift[0]) * np.sin(y + shift[1])
    return np.repeat(grey[..., np.newaxis], 3, axis=2).astype(np.uint8)


def stripes(seed: int) -> NDArray[np.uint8]:
    edge = 40 + np.random.default_rng(seed).integers(0, 3)
    return np.repeat(np.where(np.arange(96) < edge, 40, 200).astype(np.uint8)[np.newaxis, :, np.newaxis], 96, 0).repeat(
        3, 2
    )


@pytest.mark.parametrize("texture", [noise, grating, stripes])
def test_what_has_no_place_is_left_alone(tmp_path: Path, texture: object) -> None:
    placement = learned(tmp_path, [texture(seed) for seed in range(10)])  # type: ignore[operator]
    assert placement.alignment is None
    assert placement.remark.startswith("frames are not aligned: ")


def test_two_products_in_one_gallery_have_no_place(tmp_path: Path) -> None:
    other = [np.ascontiguousarray(part[::-1, ::-1].swapaxes(0, 1)) for part in PARTS[:6]]
    assert learned(tmp_path, [*PARTS[:6], *other]).alignment is None


def test_parts_that_lie_anywhere_are_left_alone(tmp_path: Path) -> None:
    places = RNG.uniform(-22, 22, (12, 2))
    anywhere = [placed_part(i, right=right, down=down) for i, (right, down) in enumerate(places)]
    assert learned(tmp_path, anywhere).alignment is None


def test_parts_at_any_angle_are_not_turned_back(tmp_path: Path) -> None:
    turned = [placed_part(i, angle=angle) for i, angle in enumerate(np.linspace(-24, 24, 12))]
    alignment = learned(tmp_path, turned).alignment
    assert alignment is None or (not alignment.turns and alignment.angle == (0, 0))


def test_few_parts_do_not_tell(tmp_path: Path) -> None:
    assert learned(tmp_path, PARTS[: LEAST_IMAGES - 1]).alignment is None
    same = [i % (LEAST_IMAGES - 1) for i in range(len(PARTS))]
    assert learned(tmp_path, PARTS, groups=same).alignment is None
    assert learned(tmp_path, PARTS[:LEAST_IMAGES]).alignment is not None


def test_a_part_seen_many_times_does_not_speak_for_itself(tmp_path: Path) -> None:
    # Five textures, one of them in 40 images, which all resemble their mean at one place.
    often = [*([noise(0)] * 40), *(noise(seed) for seed in range(1, 5))]
    assert learned(tmp_path, often, groups=[0] * 40 + [1, 2, 3, 4]).alignment is None


@pytest.mark.parametrize(
    "other",
    [
        {"canvas": Canvas(Layout((96, 96), ((0, 0, 60, 60),)), VIEW)},
        {"canvas": Canvas(Layout((96, 96), ((0, 0, 96, 96),), masked=True), VIEW)},
        {"canvas": Canvas(Layout(), View((128, 128), (96, 96)))},
        {"matching": PROFILES["paper"]},
        {"sizes": [(96, 96)] * 11 + [(96, 120)]},
    ],
)
def test_where_frames_are_not_aligned_a_reason_is_given(tmp_path: Path, other: dict[str, object]) -> None:
    placement = learned(tmp_path, PARTS, **other)  # type: ignore[arg-type]
    assert placement.alignment is None
    assert placement.remark.startswith("frames are not aligned: ")


def test_off_says_nothing(tmp_path: Path) -> None:
    assert learned(tmp_path, PARTS, align=OFF) == LearnedAlignment(None, None, "")


def test_wide_frames_are_learned_in_their_own_pixels(tmp_path: Path) -> None:
    from spade_edge.runtime.geometry.resample import resample, resampling_weights

    squeeze = [resampling_weights(side, 96) for side in (90, 160)]
    wide = []
    for seed, (right, down, angle) in enumerate(PLACES):
        frame = placed_part(seed, size=(90, 160), right=right, down=down, angle=2 * angle)
        wide.append(np.rint(resample(frame, rows=squeeze[0], columns=squeeze[1])).astype(np.uint8))
    alignment = learned(tmp_path, wide, sizes=[(90, 160)] * len(wide)).alignment
    assert alignment is not None
    assert alignment.aspect == pytest.approx(16 / 9)
    turned = 2 * np.array([angle for _, _, angle in PLACES])
    assert alignment.angle == pytest.approx(
        (turned.min() - np.median(turned) - 0.5, turned.max() - np.median(turned) + 0.5), abs=0.7
    )
