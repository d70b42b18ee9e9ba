"""Good images scored without themselves and their duplicates, and what becomes of that in a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, build
from spade_edge.galleries.calibration import (
    calibrated,
    manual,
    recalibrated,
)
from spade_edge.galleries.conformal import limit, rate_of
from spade_edge.galleries.leave_one_out import FEW, LeaveOneOut, _over_baseline, leave_one_out
from spade_edge.runtime import BundleError, Scorer, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.bundle.threshold import Threshold
from spade_edge.runtime.matching.distances import Matches

Frames = Callable[..., NDArray[np.uint8]]
NOW = "2026-02-03T04:05:06+00:00"


def like(pairs: list[tuple[int, int]], count: int) -> NDArray[np.bool_]:
    """A matrix of duplicates, from pairs."""
    duplicates = np.eye(count, dtype=bool)
    for one, other in pairs:
        duplicates[one, other] = duplicates[other, one] = True
    return duplicates


def left_out(scorer: Scorer, duplicates: NDArray[np.bool_], folder: Path) -> LeaveOneOut:
    """Leave-one-out scores of an open bundle's good images."""
    return leave_one_out(
        scorer.matcher,
        scorer.stitching,
        duplicates=duplicates,
        scratch=folder / "maps",
        progress=lambda items, label: items,
    )


PAIRS = [(0, 3), (3, 6), (2, 7)]  # 0 and 6 are like 3, not like each other


def test_distances_are_those_to_images_that_are_no_duplicates(edge: Built, paper: Built, tmp_path: Path) -> None:
    """Every pair of embeddings, one image at a time, in float64."""
    duplicates = like(PAIRS, 8)
    for built in (edge, paper):
        scorer = Scorer.open(built.path, search="exact")
        gallery = scorer.matcher.gallery
        embeddings = [gallery.pyramid(i).embedding().astype(np.float64).reshape(256, -1) for i in range(8)]
        found = left_out(scorer, duplicates, tmp_path)
        assert len(found.scores) == len(found.map_maxima) == 8
        maps = []
        for i in range(8):
            others = [j for j in range(8) if not duplicates[i, j]]
            nearest = np.full(256, np.inf)
            for j in others:
                for position, embedding in enumerate(embeddings[i]):
                    nearest[position] = min(nearest[position], ((embeddings[j] - embedding) ** 2).sum(axis=1).min())
            maps.append(scorer.stitching([nearest.reshape(16, 16).astype(np.float32)]).astype(np.float64))
            assert found.map_maxima[i] == pytest.approx(maps[i].max(), rel=1e-3)
            if built is paper:
                vectors = gallery.descriptors.astype(np.float64)
                squares = [((vectors[j] - vectors[i]) ** 2).sum() for j in others]
                assert found.scores[i] == pytest.approx(np.mean(squares), rel=1e-4)
        if built is paper:
            assert found.baseline is None
            continue
        assert found.baseline is not None and found.baseline.dtype == np.float32
        kinds = [(0, 3), (2, 7), (1,), (4,), (5,), (6,)]  # 6 is not like the first of its group
        means = [np.mean([maps[i] for i in kind], axis=0) for kind in kinds]
        share = len(kinds) / (len(kinds) + FEW)
        np.testing.assert_allclose(found.baseline, share * np.mean(means, axis=0), rtol=1e-3)
        for i in range(8):  # of the 4,096 values 12 are a mean
            others = [mean for mean, kind in zip(means, kinds, strict=True) if i not in kind]
            excess = maps[i] - share * np.mean(others, axis=0)
            assert found.scores[i] == pytest.approx(np.sort(excess.ravel())[-12:].mean(), rel=1e-3)


@pytest.mark.parametrize("name", ["shared", "per-view", "shared, exact", "shared, 5 neighbours", "regions, vectors"])
def test_no_view_of_a_duplicate_is_matched(with_views: Callable[[str], Built], tmp_path: Path, name: str) -> None:
    scorer = Scorer.open(with_views(name).path)
    matcher, gallery = scorer.matcher, scorer.matcher.gallery
    duplicates = like([(0, 5), (1, 2)], 6)
    seen: list[set[int]] = []

    def spied(pyramids: Any, **options: Any) -> list[Matches]:
        found = matcher.match(pyramids, **options)
        seen.append({found[0].nearest(row, column).item % 6 for row in range(8) for column in range(8)})
        return found

    spy: Any = SimpleNamespace(
        gallery=gallery, matching=matcher.matching, match=spied, descriptor_score=matcher.descriptor_score
    )
    leave_one_out(
        spy, scorer.stitching, duplicates=duplicates, scratch=tmp_path / "maps", progress=lambda items, label: items
    )
    assert len(seen) == 6 * gallery.views
    for call, images in enumerate(seen):
        assert not images & set(np.flatnonzero(duplicates[call // gallery.views]).tolist())
    assert len(set().union(*seen)) >= 5  # and all that are none may be


@pytest.fixture(scope="module")
def doubled(tmp_path_factory: pytest.TempPathFactory, good_images: Path) -> Path:
    """The good images, each twice; the second time under another name and compressed a little."""
    folder = tmp_path_factory.mktemp("doubled")
    for number, path in enumerate(sorted(good_images.rglob("*.npy"))):
        image = np.load(path)
        np.save(folder / f"a{number}.npy", image)
        np.save(folder / f"b{number}.npy", image)
    return folder


@pytest.mark.parametrize("profile", ["edge", "paper"])
def test_images_that_stand_twice_change_nothing(
    doubled: Path, model: Path, tmp_path: Path, edge: Built, paper: Built, profile: str
) -> None:
    single = {"edge": edge, "paper": paper}[profile].manifest.threshold
    built = build(doubled, model=model, output=tmp_path / "b.spade", options=BuildOptions(profile=profile))
    threshold = built.manifest.threshold
    assert threshold.duplicates == tuple((i, i + 8) for i in range(8))
    assert threshold.scores[:8] == pytest.approx(threshold.scores[8:], rel=0.03)
    assert len(threshold.scores) == 16 and threshold.rate == single.rate and threshold.interval == single.interval
    assert "8 leave-one-out scores" in threshold.method
    assert threshold.score == pytest.approx(single.score, rel=0.03)
    assert threshold.pixel == pytest.approx(single.pixel, rel=0.03)


def test_the_sentence_counts_duplicates_once_as_the_certificate_does() -> None:
    images = LeaveOneOut(tuple(map(float, range(1, 17))), tuple(map(float, range(1, 17))))
    pairs = [(i, i + 8) for i in range(8)]
    threshold = calibrated(images, rate=None, area=0, duplicates=pairs, now=NOW)
    assert threshold.rate == pytest.approx(1 / 9)
    assert "certified by 8 good images" in threshold.sentence()


def test_two_kinds_of_part_keep_a_threshold_that_means_something(model: Path, part: Frames, tmp_path: Path) -> None:
    """A dark and a bright version together: each image has its like among the others, and a flaw is a flaw."""
    (tmp_path / "good").mkdir()
    for seed in range(16):
        image = part(seed)
        np.save(tmp_path / "good" / f"{seed}.npy", image if seed % 2 else (0.15 * image).astype(np.uint8))
    built = build(tmp_path / "good", model=model, output=tmp_path / "b.spade")
    scorer = Scorer.open(built.path)
    assert scorer(part(101)).verdict == "good"
    result = scorer(part(100, flaw=True))
    assert result.score > built.manifest.threshold.score


class Highest:
    """Scores a map by its highest value."""

    def score(self, heatmap: NDArray[np.float32]) -> float:
        return float(heatmap.max())


@pytest.mark.parametrize(("count", "rate"), [(3, None), (9, None), (19, 0.2), (39, 0.05)])
@pytest.mark.parametrize("alike", [True, False])
def test_good_frames_are_rejected_no_more_often_than_stated(count: int, rate: float | None, alike: bool) -> None:
    """With what is expected taken off: lines of 12 positions, each with embeddings of 3 numbers."""
    rng = np.random.default_rng(11)
    repetitions, fresh, rejected, stated = 400, 30, [], 1.0
    for _ in range(repetitions):
        spread = rng.gamma(1, 1, (1, 12, 1))  # some positions vary more than others
        images = spread * rng.normal(size=(count + fresh, 12, 3))
        if not alike:  # now and then one is unlike all others everywhere
            images *= np.where(rng.random(count + fresh) < 0.1, 4, 1)[:, None, None]
        gallery = images[:count]
        squares = ((images[:, None] - gallery[None]) ** 2).sum(axis=-1)  # (frame, good image, position)
        squares[range(count), range(count)] = np.inf
        maps = squares.min(axis=1).astype(np.float32)
        found = _over_baseline(maps[:count], Highest(), ())  # type: ignore[arg-type]
        threshold = calibrated(found, rate=rate, area=0, duplicates=(), now=NOW)
        assert found.baseline is not None and threshold.basis == "certified"
        scores = (maps[count:] - found.baseline).max(axis=1)
        rejected.append(float((scores > threshold.score).mean()))
        stated = threshold.rate
    assert np.mean(rejected) <= stated + 3 * np.std(rejected, ddof=1) / np.sqrt(repetitions)


def test_thresholds_are_those_of_the_evidence() -> None:
    rng = np.random.default_rng(0)
    scores, peaks = rng.gamma(2, 3, 30), rng.gamma(2, 9, 30)
    duplicates = ((0, 4, 5), (2, 9))
    images = LeaveOneOut(tuple(scores.tolist()), tuple(peaks.tolist()))
    first = [i for i in range(30) if i not in (4, 5, 9)]
    for array in (scores, peaks):
        array[0], array[2] = array[[0, 4, 5]].max(), array[[2, 9]].max()
    for rate in (None, 0.2, 0.05, 0.001):
        found = calibrated(images, rate=rate, area=3.5, duplicates=duplicates, now=NOW, reason="so")
        expected = limit(scores[first].tolist(), rate=rate)
        assert (found.score, found.rate, found.interval, found.basis) == (
            expected.value, expected.rate, expected.interval, expected.basis,
        )  # fmt: skip
        assert found.pixel == limit(peaks[first].tolist(), rate=rate).value
        assert (found.area, found.set, found.reason) == (3.5, NOW, "so")
        assert (found.scores, found.map_maxima, found.duplicates) == (images.scores, images.map_maxima, duplicates)
        assert recalibrated(found, rate=found.rate, now=NOW, reason="so") == found


def test_maps_of_some_images_give_what_they_can() -> None:
    scores, peaks = tuple(map(float, range(1, 51))), tuple(map(float, range(10, 170, 10)))
    some = LeaveOneOut(scores, peaks)
    for rate, pixel in ((None, 160.0), (0.001, 160.0), (0.02, 160.0), (2 / 17, 150.0), (0.5, 90.0)):
        found = calibrated(some, rate=rate, area=0, duplicates=(), now=NOW)
        assert found.pixel == pixel
        assert found.score == limit(scores, rate=rate).value


def test_the_papers_profile_makes_maps_of_some_images_and_scores_of_all(
    model: Path, part: Frames, tmp_path: Path
) -> None:
    (tmp_path / "good").mkdir()
    for seed in range(20):
        np.save(tmp_path / "good" / f"{seed:02d}.npy", part(seed, size=(64, 64)))
    built = build(tmp_path / "good", model=model, output=tmp_path / "b.spade", options=BuildOptions(profile="paper"))
    threshold = built.manifest.threshold
    assert len(threshold.scores) == 20 and len(threshold.map_maxima) == 16
    assert threshold.score == max(threshold.scores) and threshold.pixel == max(threshold.map_maxima)
    scorer = Scorer.open(built.path)
    chosen = sorted({round(19 * i / 15) for i in range(16)})
    gallery = scorer.matcher.gallery
    for image, peak in list(zip(chosen, threshold.map_maxima, strict=True))[::5]:
        (matches,) = scorer.matcher.match([gallery.pyramid(image)], allowed=np.arange(20) != image)
        assert scorer.stitching([matches.distances]).max() == pytest.approx(peak, rel=1e-4)


@pytest.mark.parametrize(
    ("rank", "words"),
    [(1, "largest"), (2, "2nd largest"), (3, "3rd largest"), (4, "4th largest"), (11, "11th largest")],
)
def test_how_it_was_found_is_told_in_english(rank: int, words: str) -> None:
    images = LeaveOneOut(tuple(map(float, range(1, 41))), tuple(map(float, range(1, 41))))
    found = calibrated(images, rate=rank / 41, area=0, duplicates=(), now=NOW)
    assert found.score == 41 - rank
    assert found.method == f"{words} of 40 leave-one-out scores of good images"


def test_a_manual_threshold_counts_the_rate_and_leaves_the_rest() -> None:
    scores = tuple(map(float, range(1, 21)))
    before = calibrated(LeaveOneOut(scores, scores), rate=None, area=2, duplicates=((0, 19),), now=NOW)
    changed = manual(before, score=17.5, now="later", reason="wish")
    rate, interval = rate_of(range(2, 21), 17.5)  # the pair counts as its larger
    assert (changed.score, changed.rate, changed.interval, changed.basis) == (17.5, rate, interval, "by hand")
    assert (changed.pixel, changed.area, changed.set, changed.reason) == (before.pixel, 2, "later", "wish")
    assert "set manually" in changed.sentence() and "EXTRAPOLATED" not in changed.sentence()
    pixel = manual(before, pixel=3.0, now="later", reason="wish")
    assert pixel == replace(before, pixel=3.0, set="later", reason="wish")
    both = manual(before, score=17.5, pixel=3.0, now="later", reason="wish")
    assert both == replace(changed, pixel=3.0)
    for value in (float("nan"), float("inf"), -float("inf")):
        for name in ("score", "pixel"):
            with pytest.raises(UsageError, match=f"found {value:g}"):
                manual(before, now="later", reason="wish", **{name: value})
    for value in (0.0, -1.0):
        with pytest.raises(UsageError, match=f"found {value:g}"):
            manual(before, now="later", reason="wish", pixel=value)
    assert manual(before, now="later", reason="wish", score=-1.0).score == -1  # scores are over what is expected


@pytest.fixture(scope="module")
def thresholds() -> dict[str, Threshold]:
    """One of each kind."""
    rng = np.random.default_rng(1)
    images = LeaveOneOut(tuple(rng.gamma(2, 3, 8).tolist()), tuple(rng.gamma(2, 9, 8).tolist()))
    certified = calibrated(images, rate=None, area=0.1, duplicates=((0, 3), (2, 5, 6)), now=NOW)
    many = LeaveOneOut(tuple(rng.gamma(2, 3, 30).tolist()), tuple(rng.gamma(2, 9, 30).tolist()))
    return {
        "certified": certified,
        "by a rate": recalibrated(certified, rate=0.5, now=NOW, reason='a "wish", φ\n'),
        "extrapolated": calibrated(many, rate=0.001, area=0, duplicates=(), now=NOW),
        "by hand": manual(certified, score=1 / 3, pixel=1e-7, now=NOW, reason="x"),
    }


@pytest.mark.parametrize("kind", ["certified", "by a rate", "extrapolated", "by hand"])
def test_it_survives_writing_and_reading(edge: Built, thresholds: dict[str, Threshold], kind: str) -> None:
    threshold = thresholds[kind]
    names = edge.manifest.names if len(threshold.scores) == 8 else tuple(f"{i}.png" for i in range(30))
    manifest = replace(edge.manifest, threshold=threshold, names=names)
    again = Manifest.from_text(manifest.to_text())
    assert again == manifest and again.threshold == threshold
    assert json.loads(manifest.to_text())["threshold"]["basis"] == threshold.basis


def test_the_sentence_says_what_the_rate_is(thresholds: dict[str, Threshold]) -> None:
    assert "at most" in thresholds["certified"].sentence() and "certified by" in thresholds["certified"].sentence()
    assert "about 0.10% of good frames rejected, EXTRAPOLATED from 30" in thresholds["extrapolated"].sentence()
    assert thresholds["by hand"].sentence().startswith("set manually; ")
    for threshold in thresholds.values():
        low, high = threshold.interval
        assert f"95 % interval {low:.2%} to {high:.2%}" in threshold.sentence()


def changed(part: str, **values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda value: value[part].update(values)


LIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an interval of three": changed("threshold", interval=[0.1, 0.2, 0.3]),
    "an interval of one": changed("threshold", interval=[0.1]),
    "an interval of text": changed("threshold", interval=["a", "b"]),
    "an interval null": changed("threshold", interval=None),
    "a basis that is unknown": changed("threshold", basis="guessed"),
    "a basis of another kind": changed("threshold", basis=["certified"]),
    "a score that is NaN": changed("threshold", score=float("nan")),
    "an infinite pixel": changed("threshold", pixel=float("inf")),
    "a rate of text": changed("threshold", rate="1 %"),
    "an area that is none": changed("threshold", area=None),
    "a reason that is none": changed("threshold", reason=None),
    "scores with NaN": changed("threshold", scores=[1.0, float("nan")]),
    "duplicates with negatives": changed("threshold", duplicates=[[0, -1]]),
    "duplicates that are not whole": changed("threshold", duplicates=[[0, 1.5]]),
    "duplicates with flags": changed("threshold", duplicates=[[False, True]]),
    "duplicates without groups": changed("threshold", duplicates=[0, 1]),
    "duplicates of text": changed("threshold", duplicates="01"),
    "duplicates beyond all": changed("threshold", duplicates=[[0, 10**9]]),
    "a field of schema 3's beginnings": changed("threshold", calibrated=False),
    "a field missing": lambda value: value["threshold"].pop("peaks"),
    "no limits": lambda value: value.pop("limits"),
    "limits null": lambda value: value.update(limits=None),
    "limits reversed": changed("limits", focus=[2.0, 1.0]),
    "limits of three": changed("limits", white=[0, 1, 2]),
    "limits of one": changed("limits", white=[0]),
    "limits with NaN": changed("limits", black=[float("nan"), 1]),
    "limits of text": changed("limits", brightness=["0", "1"]),
    "limits of one number": changed("limits", contrast=3.0),
    "a limit missing": lambda value: value["limits"].pop("contrast"),
    "a limit too many": changed("limits", colour=[0, 1]),
}
# Each a number of its kind, but nothing that a build ever writes; a later command would stumble over it.
NONSENSE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "duplicates that are no image": changed("threshold", duplicates=[[0, 8]]),
    "an image in two groups": changed("threshold", duplicates=[[0, 1], [1, 2]]),
    "a group of none": changed("threshold", duplicates=[[]]),
    "scores of other images": lambda value: value["threshold"]["scores"].pop(),
    "no scores": changed("threshold", scores=[], peaks=[]),
    "no peaks": changed("threshold", peaks=[]),
    "more peaks than scores": lambda value: value["threshold"]["peaks"].append(1.0),
    "an interval reversed": changed("threshold", interval=[0.5, 0.1]),
    "a rate over 1": changed("threshold", rate=1.5),
    "a negative area": changed("threshold", area=-1),
}


@pytest.mark.parametrize("lie", [*LIES, *NONSENSE])
def test_a_manifest_that_lies_is_refused_in_one_line(edge: Built, lie: str) -> None:
    value = json.loads(edge.manifest.to_text())
    Manifest.from_text(json.dumps(value))
    (LIES | NONSENSE)[lie](value)
    with pytest.raises(BundleError, match=r"manifest\.json.*(expected|unknown field)") as caught:
        Manifest.from_text(json.dumps(value))
    assert "\n" not in str(caught.value)


def test_a_bundle_of_the_format_before_is_to_be_built_again(edge: Built) -> None:
    """As it was before a rate stood in it."""
    value = json.loads(edge.manifest.to_text())
    value["threshold"] = {"score": 6.5, "pixel": 6.5, "method": "", "calibrated": False, "scores": [6.5], "maps": 1}
    del value["limits"]
    value["schema"] = 3
    with pytest.raises(BundleError, match="expected schema 5, found 3"):
        Manifest.from_text(json.dumps(value))


def test_a_build_takes_a_rate_that_rejects_its_first_image(model: Path, part: Frames, tmp_path: Path) -> None:
    """The new bundle is tried with a good image; one that the chosen rate gives up is no reason to refuse it."""
    (tmp_path / "good").mkdir()
    for seed in range(9):
        frame = part(seed, flaw=seed == 0)
        np.save(tmp_path / "good" / f"{seed}.npy", frame)
    for profile in ("edge", "paper"):
        built = build(
            tmp_path / "good",
            model=model,
            output=tmp_path / f"{profile}.spade",
            options=BuildOptions(profile=profile, rate=0.3, area=7.0),
        )
        threshold = built.manifest.threshold
        assert threshold.score == sorted(threshold.scores)[-3] and threshold.pixel == sorted(threshold.map_maxima)[-3]
        assert threshold.rate == pytest.approx(0.3) and threshold.area == 7.0


def test_a_rate_that_duplicates_make_impossible_is_refused_before_the_network_has_run(
    model: Path, part: Frames, tmp_path: Path
) -> None:
    (tmp_path / "good").mkdir()
    for seed in range(7):
        cv2.imwrite(str(tmp_path / "good" / f"{seed}.png"), part(seed))
        if seed < 4:
            cv2.imwrite(str(tmp_path / "good" / f"{seed}-again.png"), part(seed))
    labels = []

    def progress(items: Any, label: str) -> Any:
        labels.append(label)
        return items

    with pytest.raises(UsageError, match="7 good images certify"):
        build(
            tmp_path / "good",
            model=model,
            output=tmp_path / "b.spade",
            options=BuildOptions(rate=0.02),
            progress=progress,
        )
    assert not (tmp_path / "b.spade").exists()
    assert labels == ["reading images"]


def test_images_too_few_for_a_rate_are_refused_before_anything_is_read(
    model: Path, good_images: Path, tmp_path: Path
) -> None:
    def work(*_: object, **__: object) -> Any:
        raise AssertionError("nothing is to be done")

    with pytest.raises(UsageError, match="0.111, .* found 0.05"):
        build(
            good_images,
            model=model,
            output=tmp_path / "b.spade",
            options=BuildOptions(rate=0.05),
            progress=work,
            announce=work,
        )
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_is_what_the_bundle_was_judged_by(edge: Built) -> None:
    assert Bundle.open(edge.path).manifest.threshold == edge.manifest.threshold
    result = Scorer.open(edge.path)(np.full((64, 64, 3), 90, np.uint8))
    assert result.threshold == edge.manifest.threshold.score
