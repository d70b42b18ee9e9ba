"""Golden frames: a machine that reproduces them passes, one that does not is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from altered import altered, replaced
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.galleries.golden_frames import score_golden
from spade_edge.galleries.staging import Staging
from spade_edge.runtime import BundleError, DeviceError, Scorer, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.golden import check
from spade_edge.runtime.bundle.observation import Difference, Observation, difference
from spade_edge.runtime.network.protocol import Network
from spade_edge.runtime.network.pyramid import Pyramid

SAME = Difference(levels={"level1": 0.0}, distances=0.0, heatmap=0.0, score=0.0, expected="good", found="good")


def test_the_machine_that_built_a_bundle_passes_its_self_test(edge: Built, paper: Built) -> None:
    for built in (edge, paper):
        scorer = Scorer.open(built.path, self_test=True)
        for found in scorer.golden_differences():
            assert found.largest == 0
            assert found.expected == found.found
    assert edge.manifest.golden[0].under == "good" and edge.manifest.golden[0].over == "defect"
    assert edge.manifest.golden[1].score > 2 * edge.manifest.golden[0].score


@pytest.mark.parametrize("name", ["shared", "per-view", "shared, no codes", "regions, vectors", "masked"])
def test_several_views(name: str, with_views: Callable[[str], Built]) -> None:
    built = with_views(name)
    scorer = Scorer.open(built.path, self_test=True)
    assert scorer.bundle.golden is not None
    assert scorer.bundle.golden.frames.shape[1:3] == built.manifest.layout.frame
    # Against the scorer's own way, naively: the middle view's features, and its distances to two good images.
    frame, expected = scorer.bundle.golden.frames[1], scorer.bundle.golden.observations[1]
    view = len(scorer.canvas.boxes) // 2
    pyramid = scorer.session(scorer.preprocessor(frame))[view]
    for level, kept in zip(pyramid.levels, expected.features, strict=True):
        height, width, _ = level.shape
        for row in range(8):
            for column in range(8):
                np.testing.assert_array_equal(kept[row, column], level[row * height // 8, column * width // 8])
    images = len(built.manifest.names)
    coder = scorer.matcher._coder
    query = (pyramid if coder is None else coder.rounded(pyramid)).embedding().reshape(64, -1).astype(np.float64)
    first = [scorer.matcher.gallery.pyramid(view * images + image).embedding() for image in range(2)]
    known = np.concatenate([each.reshape(64, -1) for each in first]).astype(np.float64)
    pairs = np.sort(((query[:, np.newaxis] - known) ** 2).sum(axis=2), axis=1)
    nearest = pairs[:, : scorer.matcher.matching.kappa].mean(axis=1)
    np.testing.assert_allclose(expected.distances.reshape(-1), nearest, rtol=1e-4, atol=1e-4 * nearest.max())


@pytest.mark.parametrize("role", ["golden_level2", "golden_distances", "golden_heatmaps"])
def test_a_machine_that_finds_something_else_is_refused(role: str, edge: Built, tmp_path: Path) -> None:
    recorded = np.load(edge.path / edge.manifest.files[role].name)
    for factor, refused in ((1.002, False), (1.03, True)):
        copy = replaced(edge.path, tmp_path / f"{factor}.spade", role, (recorded * factor).astype(np.float32))
        if not refused:
            Scorer.open(copy, self_test=True)
            continue
        part = role.removeprefix("golden_").removesuffix("s" if role == "golden_heatmaps" else "")
        with pytest.raises(
            DeviceError, match=rf"^golden frame 1: expected .* within 1%, found {part} 0\.029 off on CPU"
        ):
            Scorer.open(copy, self_test=True)
        Scorer.open(copy)  # nobody asked


class Saturated:
    """A network whose features are cut off at three times their mean."""

    def __init__(self, session: Network) -> None:
        self.card, self.provider = session.card, session.provider
        self.node_fractions, self.passed_over = session.node_fractions, session.passed_over
        self._session = session

    def __call__(self, views: NDArray[np.float32]) -> list[Pyramid]:
        return [
            replace(pyramid, levels=tuple(np.minimum(level, level.mean() * 3) for level in pyramid.levels))
            for pyramid in self._session(views)
        ]


def test_a_bundle_of_another_network_is_not_told_by_its_verdicts_alone(edge: Built) -> None:
    scorer = Scorer.open(edge.path)
    with pytest.raises(DeviceError, match="'spade-edge doctor', try --provider cpu"):
        Scorer(scorer.bundle, Saturated(scorer.session), scorer.matcher).self_test()


@pytest.mark.parametrize("above", [True, False])
def test_the_verdict_is_that_of_the_threshold_in_force(edge: Built, tmp_path: Path, above: bool) -> None:
    """The colours of the damaged frame are too far from those of the good images whatever it scores."""
    scores = [judged.score for judged in edge.manifest.golden]
    score = max(scores) + 1 if above else min(scores) - 1
    copy = altered(edge.path, tmp_path / "copy.spade", "threshold", score=score)
    scorer = Scorer.open(copy, self_test=True)
    found = [(difference.expected, difference.found) for difference in scorer.golden_differences()]
    assert found == [("good", "good") if above else ("defect", "defect"), ("cannot_judge", "cannot_judge")]


def test_a_frame_that_is_only_doubted_is_a_defect_where_its_score_says_so(edge: Built, tmp_path: Path) -> None:
    opened = Scorer.open(edge.path)
    bundle = replace(opened.bundle, manifest=replace(edge.manifest, farthest=1e-9))
    scorer = Scorer(bundle, opened.session, opened.matcher)
    assert bundle.golden is not None
    stage = Staging(tmp_path / "stage")
    stage.folder.mkdir()
    first, _ = score_golden(stage, scorer, bundle.golden.frames)
    assert (first.under, first.over) == ("cannot_judge", "defect")


def test_a_bundle_without_golden_frames(edge: Built, tmp_path: Path) -> None:
    copy = tmp_path / "copy.spade"
    manifest = edge.manifest
    files = {role: payload for role, payload in manifest.files.items() if not role.startswith("golden_")}
    altered(edge.path, copy, "threshold")
    (copy / "manifest.json").write_text(replace(manifest, golden=(), files=files).to_text())
    assert Bundle.open(copy).golden is None
    with pytest.raises(BundleError, match="golden frames.*found none"):
        Scorer.open(copy, self_test=True)


def test_another_search_than_the_bundles(edge: Built) -> None:
    with pytest.raises(UsageError, match="hnsw.*exact"):
        Scorer.open(edge.path, search="exact", self_test=True)


@pytest.mark.parametrize(
    ("role", "array", "message"),
    [
        ("golden_frames", np.zeros((1, 9, 9, 3), np.uint8), "expected 2xanyxanyx3 uint8, found 1x9x9x3 uint8"),
        ("golden_frames", np.zeros((2, 9, 9, 4), np.uint8), "expected 2xanyxanyx3 uint8, found 2x9x9x4 uint8"),
        ("golden_level1", np.zeros((2, 8, 8, 63), np.float32), "expected 2x8x8x64 float32, found 2x8x8x63 float32"),
        ("golden_heatmaps", np.full((2, 64, 64), np.nan, np.float32), "expected finite numbers, found NaN or infinity"),
        ("golden_distances", np.zeros((2, 16, 16), np.float64), "expected 2x16x16 float32, found 2x16x16 float64"),
    ],
)
def test_hostile_payload(role: str, array: NDArray[np.generic], message: str, edge: Built, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=message):
        Bundle.open(replaced(edge.path, tmp_path / "copy.spade", role, array))


@pytest.mark.parametrize(
    ("changes", "precision", "message"),
    [
        ({"levels": {"level1": 0.02}}, "fp32", "within 1%, found level1 0.02 off on here"),
        ({"score": -0.02}, "fp32", "within 1%, found score 0.02 off on here"),
        ({"heatmap": float("nan"), "score": 3.0}, "int8", "within 10%, found heatmap nan off on here"),
        ({"expected": "cannot_judge"}, "fp32", "expected the verdict cannot_judge of the machine that built"),
        ({"score": 0.02}, "fp16", None),
        ({"levels": {"level1": 0.04}}, "int8", None),
        ({"expected": "defect", "score": 0.001}, "fp32", None),  # a frame at the threshold
    ],
)
def test_what_is_allowed(changes: dict[str, object], precision: str, message: str | None) -> None:
    differences = [SAME, replace(SAME, **changes)]  # type: ignore[arg-type]
    if message is None:
        check(differences, precision=precision, where="here")
        return
    with pytest.raises(DeviceError, match="^golden frame 2: ") as raised:
        check(differences, precision=precision, where="here")
    assert message in str(raised.value)


def test_shares_by_hand() -> None:
    def seen(feature: float, distance: float, heat: float, score: float) -> Observation:
        return Observation(
            features=(np.array([[[3.0, feature]]], np.float32),),
            distances=np.array([[1, distance]], np.float32),
            heatmap=np.array([[2, heat]], np.float32),
            score=score,
            verdict="good",
        )

    found = difference(seen(4, 8, 2, 50), seen(4.5, 7, 3, 48), names=("level2",), threshold=40)
    assert found.levels["level2"] == pytest.approx(0.5 / 5)  # rms(0, 0.5) by rms(3, 4)
    assert (found.distances, found.heatmap) == (1 / 8, 0.5 / 2)
    assert found.score == -2 / 50
    assert (found.worst, found.largest) == ("heatmap", 0.25)
    assert difference(seen(4, 8, 2, 50), seen(4, 8, 2, 48), names=("a",), threshold=-100).score == -2 / 100
