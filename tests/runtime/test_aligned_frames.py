"""Frames whose part lies elsewhere than good parts, through the whole of build, scoring and exclusion."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from placed_part import placed_part

from spade_edge.galleries import BuildOptions, Built, build, exclude, include
from spade_edge.runtime import BundleError, Scorer
from spade_edge.runtime.anomaly_map.regions import Blob
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.geometry.motion import Motion
from spade_edge.runtime.location import nearest_match
from spade_edge.runtime.preprocessing.moved import Moved
from spade_edge.runtime.result import FrameResult, Match

COUNT = 12
ODD = "odd.npy"


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Built:
    """Parts that lie within 2 pixels and 2 degrees, and an odd one that is turned by 9 degrees."""
    folder = tmp_path_factory.mktemp("placed")
    rng = np.random.default_rng(0)
    for seed in range(COUNT):
        right, down, angle = rng.uniform(-2, 2, 3)
        np.save(folder / f"{seed:02}.npy", placed_part(seed, right=right, down=down, angle=angle))
    np.save(folder / ODD, placed_part(50, angle=9))
    return build(folder, model=model, output=tmp_path_factory.mktemp("bundle") / "part.spade")


@pytest.fixture(scope="module")
def scorer(placed: Built) -> Scorer:
    return Scorer.open(placed.path)


def unaligned(placed: Built) -> Scorer:
    """The same bundle as it would be without the alignment."""
    bundle = Bundle.open(placed.path)
    manifest = replace(bundle.manifest, alignment=None)
    scorer = Scorer.open(placed.path)
    return Scorer(replace(bundle, manifest=manifest, reference=None), scorer.session, scorer.matcher)


def same(one: FrameResult, other: FrameResult) -> bool:
    return (
        np.array_equal(one.heatmap, other.heatmap)
        and (one.score, one.verdict, one.reason) == (other.score, other.verdict, other.reason)
        and (one.regions, one.nearest) == (other.regions, other.nearest)
    )


def test_a_part_that_lies_where_good_parts_lie_is_judged_as_it_is(placed: Built, scorer: Scorer) -> None:
    plain = unaligned(placed)
    for flaw in (False, True):
        frame = placed_part(60, right=1, down=-1, angle=1, flaw=flaw)
        result, wanted = scorer(frame), plain(frame)
        assert same(result, wanted)
        assert result.pose is not None
        assert not result.pose.aligned
        assert wanted.pose is None


@pytest.mark.parametrize(("right", "down", "angle"), [(6, 0, 0), (0, -7, 0), (0, 0, 8), (-6, 4, 6)])
def test_a_good_part_is_good_where_it_lies(
    placed: Built, scorer: Scorer, right: float, down: float, angle: float
) -> None:
    frame = placed_part(61, right=right, down=down, angle=angle)
    result = scorer(frame)
    assert result.verdict == "good"
    assert result.pose is not None
    assert result.pose.aligned
    assert (result.pose.right, result.pose.down) == pytest.approx((right, down), abs=1.5)
    assert result.pose.angle == pytest.approx(angle, abs=1.5)
    assert result.score < unaligned(placed)(frame).score


@pytest.mark.parametrize(("right", "down", "angle"), [(6, 0, 0), (0, -7, 0), (0, 0, 9), (-6, 5, -7)])
def test_a_defect_is_found_where_the_camera_sees_it(scorer: Scorer, right: float, down: float, angle: float) -> None:
    frame = placed_part(62, right=right, down=down, angle=angle, flaw=True)
    rows, columns = np.nonzero((frame[..., 1] > 200) & (frame[..., 0] < 60) & (frame[..., 2] < 60))
    result = scorer(frame)
    assert result.verdict == "defect"
    assert result.pose is not None
    assert result.pose.aligned
    worst = result.regions[0]
    assert worst.x <= columns.mean() <= worst.x + worst.width
    assert worst.y <= rows.mean() <= worst.y + worst.height
    row, column = np.unravel_index(int(result.heatmap.argmax()), result.heatmap.shape)
    assert ((column + 0.5) * 1.5, (row + 0.5) * 1.5) == pytest.approx((columns.mean(), rows.mean()), abs=6)


def test_the_nearest_good_place_is_that_of_the_position_that_was_matched(scorer: Scorer) -> None:
    (pyramid,) = scorer.session(scorer.preprocessor(placed_part(62, flaw=True)))
    matches = scorer.matcher.match([pyramid], views=[0])
    gallery = scorer.matcher.gallery

    def nearest(row: int, column: int, moved: Moved | None) -> Match:
        blob = Blob(box=(column, row, 1, 1), peak=(row, column), score=1.0, mean=1.0, area=1)
        return nearest_match(blob, scorer.canvas, gallery, matches, moved=moved)

    shifted = Moved(Motion(right=8 / 64, down=-12 / 64), 1.0)
    for row, column in ((10, 20), (18, 40), (33, 12)):
        assert nearest(row, column, shifted) == nearest(row + 12, column - 8, None)
        assert nearest(row, column, shifted) != nearest(row, column, None)
    assert nearest(60, 2, shifted) == nearest(63, 0, None)  # beyond the edge: the position at the edge


def test_what_comes_into_view_beyond_a_good_part_is_not_looked_at(scorer: Scorer) -> None:
    result = scorer(placed_part(63, right=9))
    assert result.looked_at is not None
    assert not result.looked_at[:, :5].any()  # 9 of 96 pixels are 6 of 64
    assert result.looked_at[8:-8, 12:-8].all()
    assert not result.heatmap[~result.looked_at].any()


@pytest.mark.parametrize("flaw", [False, True])
@pytest.mark.parametrize(
    ("right", "down", "angle", "words"),
    [(16, 0, 0, "to the right of"), (0, -17, 0, "above where good parts lie"), (0, 0, -16, "turned counterclockwise")],
)
def test_a_part_too_far_away_cannot_be_judged(
    scorer: Scorer, right: float, down: float, angle: float, words: str, flaw: bool
) -> None:
    result = scorer(placed_part(64, right=right, down=down, angle=angle, flaw=flaw))
    assert result.verdict == "cannot_judge"
    assert words in result.reason
    assert result.pose is not None
    assert not result.pose.aligned


def test_an_empty_fixture_is_not_good(scorer: Scorer) -> None:
    empty = np.clip(np.random.default_rng(0).normal((150, 160, 170), 2, (96, 96, 3)), 0, 255).astype(np.uint8)
    result = scorer(empty)
    assert result.verdict != "good"
    assert result.pose is None


def test_a_batch_and_a_stream_give_the_same_as_single_frames(scorer: Scorer) -> None:
    frames = [placed_part(65, right=7), placed_part(66), placed_part(67, down=20), placed_part(68, angle=8, flaw=True)]
    single = [scorer(frame) for frame in frames]
    for results in (scorer.batch(frames), list(scorer.stream(frames))):
        for one, wanted in zip(results, single, strict=True):
            assert (one.verdict, one.pose) == (wanted.verdict, wanted.pose)
            assert one.score == pytest.approx(wanted.score, rel=1e-4)


def test_larger_frames_have_their_pose_in_their_own_pixels(scorer: Scorer) -> None:
    result = scorer(placed_part(69, size=(192, 192), right=12))
    assert result.pose is not None
    assert result.pose.right == pytest.approx(12, abs=3)


def test_the_bundle_reproduces_its_golden_frames(scorer: Scorer) -> None:
    assert scorer.self_test()


def test_the_odd_image_does_not_widen_the_range(placed: Built) -> None:
    alignment = placed.manifest.alignment
    assert alignment is not None
    assert max(map(abs, alignment.angle)) < 6


def test_exclusion_learns_anew_and_inclusion_restores(placed: Built, tmp_path: Path) -> None:
    import shutil

    bundle = tmp_path / "part.spade"
    shutil.copytree(placed.path, bundle)
    before = placed.manifest
    names = [name for name in before.names if name != ODD][:4]
    changed = exclude(bundle, names, reason="test").manifest
    assert changed.alignment is not None
    assert changed.alignment != before.alignment
    assert changed.files["reference"].sha256 != before.files["reference"].sha256
    assert Scorer.open(bundle).self_test()
    again = include(bundle, names).manifest
    assert again.alignment == before.alignment
    assert again.files["reference"] == before.files["reference"]


def test_with_too_few_parts_left_frames_are_not_aligned_any_more(placed: Built, tmp_path: Path) -> None:
    import shutil

    bundle = tmp_path / "part.spade"
    shutil.copytree(placed.path, bundle)
    changed = exclude(bundle, placed.manifest.names[:9], reason="test").manifest
    assert changed.alignment is None
    assert "reference" not in changed.files
    assert Scorer.open(bundle)(placed_part(70)).pose is None


def test_off_builds_the_same_bundle_without_it(placed: Built, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    for seed in range(6):
        np.save(folder / f"{seed}.npy", placed_part(seed))
    built = build(folder, model=model, output=tmp_path / "off.spade", options=BuildOptions(align="off"))
    assert built.manifest.alignment is None
    assert "reference" not in built.manifest.files
    assert not any("align" in remark for remark in built.remarks)
    assert any("frames are aligned up to" in remark for remark in placed.remarks)


@pytest.mark.parametrize("change", ["no reference", "boxes"])
def test_a_manifest_that_contradicts_itself_is_refused(placed: Built, change: str) -> None:
    value = json.loads((placed.path / "manifest.json").read_text(encoding="utf-8"))
    if change == "no reference":
        del value["files"]["reference"]
    else:
        value["layout"] = {"frame": [96, 96], "boxes": [[0, 0, 96, 96]], "masked": False}
    with pytest.raises(BundleError):
        Manifest.from_text(json.dumps(value))
