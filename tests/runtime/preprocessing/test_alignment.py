"""What is done with a frame whose part lies elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from placed_part import placed_part

from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.geometry.motion import Motion
from spade_edge.runtime.preprocessing.aligner import Aligner, Located
from spade_edge.runtime.preprocessing.alignment import Alignment, complaint, summary
from spade_edge.runtime.result import Pose

ALIGNMENT = Alignment(
    right=(-0.02, 0.03),
    down=(-0.03, 0.02),
    angle=(-1.0, 2.0),
    most_shift=0.1,
    most_angle=10.0,
    turns=True,
    aspect=1.0,
    likeness=0.7,
    lead=0.05,
)
REFERENCE = placed_part(0, size=(48, 48)).astype(np.float32)
EXTENT = (0.0, 0.0, 400.0, 300.0)


def aligner(alignment: Alignment = ALIGNMENT) -> Aligner:
    return Aligner(alignment, REFERENCE, size=(96, 96))


@pytest.mark.parametrize("angle", [0, 1.5])
@pytest.mark.parametrize("right", [-1, 2])
def test_a_part_that_lies_where_good_parts_lie_passes_unchanged(right: float, angle: float) -> None:
    view = placed_part(1, right=right, angle=angle).astype(np.float32)
    seen, placed = aligner()(view)
    assert seen is view
    assert placed.motion is not None
    assert (placed.moved, placed.unreachable) == (None, False)


@pytest.mark.parametrize(("right", "down", "angle"), [(6, 0, 0), (0, -7, 0), (0, 0, 6), (-5, 5, -6)])
def test_a_part_that_lies_a_little_elsewhere_is_brought_back(right: float, down: float, angle: float) -> None:
    view = placed_part(1, right=right, down=down, angle=angle).astype(np.float32)
    seen, placed = aligner()(view)
    assert placed.moved is not None
    assert not placed.unreachable
    still = placed_part(2).astype(np.float32)
    inner = slice(16, -16)
    assert np.abs(seen - still)[inner, inner].mean() < 4 < np.abs(view - still)[inner, inner].mean()


def test_a_shift_is_undone_by_whole_pixels_and_a_turn_by_what_it_is() -> None:
    view = placed_part(1, right=6.4, down=-3, angle=1).astype(np.float32)
    seen, placed = aligner()(view)
    assert placed.motion is not None
    assert placed.moved is not None
    assert placed.moved.motion.angle == 0
    assert placed.motion.angle == pytest.approx(1, abs=0.6)
    right, down = round(96 * placed.moved.motion.right), round(96 * placed.moved.motion.down)
    assert (right, down) == (round(96 * placed.motion.right), round(96 * placed.motion.down))
    assert np.array_equal(seen[-down:, :-right], view[:down, right:])
    turned = aligner()(placed_part(1, angle=6).astype(np.float32))[1]
    assert turned.moved is not None
    assert turned.moved.motion == turned.motion


@pytest.mark.parametrize(("right", "down", "angle"), [(15, 0, 0), (0, -20, 0), (0, 0, 16), (-2, 5, -20)])
def test_a_part_that_lies_too_far_away_is_left_and_named(right: float, down: float, angle: float) -> None:
    view = placed_part(1, right=right, down=down, angle=angle).astype(np.float32)
    seen, placed = aligner()(view)
    assert seen is view
    assert placed.unreachable


def test_what_is_not_found_for_certain_passes_unchanged() -> None:
    noise = np.random.default_rng(0).uniform(0, 255, (96, 96, 3)).astype(np.float32)
    for view in (noise, np.full_like(noise, 128)):
        seen, placed = aligner()(view)
        assert seen is view
        assert placed == Located(None)
    part = placed_part(1, right=8).astype(np.float32)
    for demanding in (replace(ALIGNMENT, likeness=0.999), replace(ALIGNMENT, lead=0.9)):
        assert aligner(demanding)(part)[1] == Located(None)


def test_a_pose_is_in_pixels_of_the_frame() -> None:
    pose = Located(Motion(right=0.1, down=-0.05, angle=4)).pose(EXTENT)
    assert pose == Pose(right=40, down=-15, angle=4, aligned=False)
    assert Located(None).pose(EXTENT) is None


@pytest.mark.parametrize(
    ("pose", "words", "others"),
    [
        ((62, 0, 0), ["62 px to the right of where"], ["above", "below", "turned"]),
        ((-62, -45, 0), ["62 px to the left of", "45 px above where"], ["turned"]),
        ((0, 45, 12), ["45 px below where", "turned clockwise by 12 degrees"], ["left", "right"]),
        ((5, 5, -15), ["turned counterclockwise by 15 degrees"], ["px to", "where good parts lie"]),
    ],
)
def test_the_reason_says_where_the_part_lies(
    pose: tuple[float, float, float], words: list[str], others: list[str]
) -> None:
    reason = complaint(Pose(*pose, aligned=False), ALIGNMENT, EXTENT)
    assert all(word in reason for word in words)
    assert not any(word in reason for word in others)
    assert "40 px across and 30 px down and 10 degrees" in reason


def test_the_summary_is_in_pixels_of_the_frame() -> None:
    assert summary(ALIGNMENT, EXTENT).startswith("parts lie within 12 px and 2.0 degrees")
    assert "degrees" not in summary(replace(ALIGNMENT, turns=False), EXTENT)


def test_it_is_read_back_as_it_was_written() -> None:
    own = Fields(ALIGNMENT.to_json(), where="alignment", error=BundleError)
    assert Alignment.from_fields(own, source="manifest.json") == ALIGNMENT


@pytest.mark.parametrize(
    "change",
    [
        {"right": [0.1, -0.1]},
        {"down": [0.1]},
        {"angle": "none"},
        {"turns": 1},
        {"aspect": 0},
        {"aspect": 1e9},
        {"most_shift": -0.1},
        {"most_shift": 2},
        {"most_angle": -1},
        {"likeness": None},
        {"extra": 1},
    ],
)
def test_an_altered_alignment_is_refused(change: dict[str, object]) -> None:
    own = Fields(ALIGNMENT.to_json() | change, where="alignment", error=BundleError)
    with pytest.raises(BundleError):
        Alignment.from_fields(own, source="manifest.json")
