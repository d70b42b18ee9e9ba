"""Held-back frames: what they say about the promise, and the threshold that they certify."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built, build
from spade_edge.galleries.conformal import limit
from spade_edge.galleries.held_back import calibrate
from spade_edge.galleries.promise import rank_test
from spade_edge.runtime import DataError, Scorer, UsageError
from spade_edge.runtime.bundle.manifest import FILE, Manifest

Frames = Callable[..., NDArray[np.uint8]]
GOOD, HELD_BACK = 24, 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: Path, part: Frames) -> Path:
    """A bundle of 24 parts and frames of 12 others."""
    place = tmp_path_factory.mktemp("held back")
    for name, seeds in (("good", range(GOOD)), ("frames", range(100, 100 + HELD_BACK))):
        (place / name).mkdir()
        for seed in seeds:
            np.save(place / name / f"{seed}.npy", part(seed, size=(64, 64)))
    build(place / "good", model=model, output=place / "part.spade")
    return place


@pytest.fixture
def bundle(folder: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(folder / "part.spade", tmp_path / "part.spade"))


def test_frames_are_scored_and_counted_and_nothing_is_changed(folder: Path, bundle: Path) -> None:
    text = (bundle / FILE).read_bytes()
    found = calibrate(bundle, folder / "frames")
    assert (bundle / FILE).read_bytes() == text and found.certified is None and found.former is None
    scorer, manifest = Scorer.open(bundle), Manifest.read(bundle)
    assert [frame.name for frame in found.frames] == sorted(path.name for path in (folder / "frames").iterdir())
    rejected = 0
    for frame in found.frames:
        result = scorer(np.load(folder / "frames" / frame.name))
        assert (frame.score, frame.map_maximum) == (result.score, float(result.heatmap.max()))
        rejected += result.verdict != "good"
    assert (found.promise.parts, found.promise.rejected) == (HELD_BACK, rejected)
    assert found.promise.rate == manifest.threshold.rate and found.refused == {}
    scores = [frame.score for frame in found.frames]
    assert (found.likeness, found.higher) == rank_test(scores, manifest.evidence.scores)
    assert found.alike and found.promise.kept


def test_frames_of_one_part_are_counted_once(folder: Path, bundle: Path, tmp_path: Path, part: Frames) -> None:
    """The first by name stands for its part."""
    names = sorted(path.name for path in (folder / "frames").iterdir())
    rows = [f"{name},{'one' if place < 5 else name}" for place, name in enumerate(names)]
    (tmp_path / "groups.csv").write_text("\n".join(rows))
    found = calibrate(bundle, folder / "frames", groups=str(tmp_path / "groups.csv"), certify="frames", reason="x")
    assert found.promise.parts == HELD_BACK - 4 and len(found.frames) == HELD_BACK
    assert found.certified is not None and found.certified.parts == HELD_BACK - 4


def test_a_rejected_part_is_one_reject_however_often_it_was_photographed(
    bundle: Path, tmp_path: Path, part: Frames
) -> None:
    (tmp_path / "frames").mkdir()
    for seed in range(200, 206):
        np.save(tmp_path / "frames" / f"{seed}.npy", part(seed, size=(64, 64), flaw=True))
    rows = [f"{seed}.npy,{max(seed, 203)}" for seed in range(200, 206)]  # the first four are one part
    (tmp_path / "groups.csv").write_text("\n".join(rows))
    found = calibrate(bundle, tmp_path / "frames", groups=str(tmp_path / "groups.csv"))
    assert (found.promise.parts, found.promise.rejected, len(found.frames)) == (3, 3, 6)


@pytest.mark.parametrize("certify", ["frames", "both"])
@pytest.mark.parametrize("rate", [None, 0.25])
def test_a_threshold_is_certified_by_them(folder: Path, bundle: Path, certify: str, rate: float | None) -> None:
    before = Manifest.read(bundle)
    found = calibrate(bundle, folder / "frames", certify=certify, rate=rate, reason=" new lamp ")
    after = Manifest.read(bundle)
    assert found.certified == after.threshold and after.frames == found.frames
    assert after.threshold.source == certify and after.threshold.reason == "new lamp"
    scores = [frame.score for frame in found.frames]
    scores += before.evidence.scores if certify == "both" else []
    assert sorted(after.evidence.scores) == sorted(scores)
    count = HELD_BACK + (GOOD if certify == "both" else 0)
    assert after.threshold.parts == after.evidence.parts == count
    expected = limit(after.evidence, rate=rate or 1 / (count + 1))
    assert (after.threshold.score, after.threshold.rate) == (expected.value, expected.rate)
    assert ("held-back frames" in after.threshold.sentence()) and found.former is not None
    result = Scorer.open(bundle)(np.load(folder / "good" / "0.npy"))
    assert result.p == after.evidence.p(result.score)


def test_frames_that_score_otherwise_are_not_counted_together(bundle: Path, tmp_path: Path, part: Frames) -> None:
    (tmp_path / "frames").mkdir()
    for seed in range(200, 212):
        np.save(tmp_path / "frames" / f"{seed}.npy", part(seed, size=(64, 64), flaw=True))
    text = (bundle / FILE).read_bytes()
    found = calibrate(bundle, tmp_path / "frames")
    assert found.promise.rejected == 12 and not found.promise.kept and not found.alike and found.higher > 0.9
    with pytest.raises(UsageError, match="score higher .*use --certify frames"):
        calibrate(bundle, tmp_path / "frames", certify="both", reason="x")
    assert (bundle / FILE).read_bytes() == text
    assert calibrate(bundle, tmp_path / "frames", certify="frames", reason="x").certified is not None


def test_a_frame_that_cannot_be_judged_is_a_reject_and_no_evidence(folder: Path, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "frames", tmp_path / "frames")
    np.save(tmp_path / "frames" / "black.npy", np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "frames" / "broken.npy").write_bytes(b"no array")
    found = calibrate(bundle, tmp_path / "frames", certify="frames", reason="x")
    plain = calibrate(folder / "part.spade", folder / "frames")
    assert list(found.refused) == ["black.npy", "broken.npy"] and "dark" in found.refused["black.npy"]
    assert found.promise.parts == HELD_BACK + 2 and found.promise.rejected == plain.promise.rejected + 2
    assert found.certified is not None and found.certified.parts == HELD_BACK


def test_an_image_of_the_gallery_is_no_held_back_frame(folder: Path, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "frames", tmp_path / "frames")
    shutil.copy(folder / "good" / "3.npy", tmp_path / "frames" / "from the gallery.npy")
    text = (bundle / FILE).read_bytes()
    with pytest.raises(DataError, match=r"from the gallery\.npy: .* found one of the gallery's images"):
        calibrate(bundle, tmp_path / "frames", certify="frames", reason="x")
    assert (bundle / FILE).read_bytes() == text


def test_frames_that_set_the_threshold_do_not_confirm_it(folder: Path, bundle: Path, tmp_path: Path) -> None:
    calibrate(bundle, folder / "frames", certify="frames", reason="x")
    with pytest.raises(DataError, match="would confirm themselves"):
        calibrate(bundle, folder / "frames")
    assert calibrate(bundle, folder / "frames", certify="both", reason="y").certified is not None
    (tmp_path / "others").mkdir()
    np.save(tmp_path / "others" / "100.npy", np.load(folder / "frames" / "100.npy")[::-1])  # the same name only
    assert calibrate(bundle, tmp_path / "others").promise.parts == 1


def test_one_frame_is_enough_to_ask(folder: Path, bundle: Path, tmp_path: Path, edge: Built) -> None:
    (tmp_path / "frames").mkdir()
    shutil.copy(folder / "frames" / "100.npy", tmp_path / "frames")
    found = calibrate(bundle, tmp_path / "frames", certify="frames", reason="x")
    assert found.certified is not None and found.certified.rate == 0.5 and found.certified.caution()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"certify": "images", "reason": "x"}, "expected certify to be frames or both"),
        ({"certify": "frames"}, "expected a reason"),
        ({"rate": 0.1}, "expected --certify with a rate"),
        ({"reason": "x"}, "expected --certify with a reason"),
        ({"certify": "frames", "rate": 1e-3, "reason": "x", "groups": "^(1)"}, "at least 2 parts"),
        ({"certify": "frames", "rate": 1.5, "reason": "x"}, "found 1.5"),
    ],
)
def test_mistakes_change_nothing(folder: Path, bundle: Path, options: dict[str, object], says: str) -> None:
    text = (bundle / FILE).read_bytes()
    with pytest.raises((UsageError, DataError), match=says):
        calibrate(bundle, folder / "frames", **options)  # type: ignore[arg-type]
    assert (bundle / FILE).read_bytes() == text


def test_frames_that_none_can_judge_or_that_are_not_there(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing"):
        calibrate(bundle, tmp_path / "absent")
    (tmp_path / "frames").mkdir()
    np.save(tmp_path / "frames" / "black.npy", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(DataError, match="can be judged, found none among 1"):
        calibrate(bundle, tmp_path / "frames")
