"""Good images scored without those of their part, and what becomes of that in a manifest."""

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
from evidence import evidence
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, build
from spade_edge.galleries.calibration import again, calibrated, manual
from spade_edge.galleries.conformal import limit, rate_of
from spade_edge.galleries.leave_one_out import FEW, LeaveOneOut, _over_baseline, leave_one_out
from spade_edge.runtime import BundleError, Scorer, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.bundle.threshold import Threshold
from spade_edge.runtime.matching.distances import Matches

Frames = Callable[..., NDArray[np.uint8]]
NOW = "2026-02-03T04:05:06+00:00"


def left_out(
    scorer: Scorer, groups: tuple[int, ...], folder: Path, included: NDArray[np.bool_] | None = None
) -> LeaveOneOut:
    """Leave-one-out scores of an open bundle's good images."""
    return leave_one_out(
        scorer.matcher,
        scorer.stitching,
        groups=groups,
        included=np.ones(len(groups), bool) if included is None else included,
        scratch=folder / "maps",
        progress=lambda items, label: items,
    )


GROUPS = (0, 1, 2, 0, 3, 4, 0, 2)  # 0, 3 and 6 show one part, 2 and 7 another
EXCLUDED = (3, 5)


def test_distances_are_those_to_included_images_of_other_parts(edge: Built, paper: Built, tmp_path: Path) -> None:
    """Every pair of embeddings, one image at a time, in float64."""
    included = ~np.isin(np.arange(8), EXCLUDED)
    for built in (edge, paper):
        scorer = Scorer.open(built.path, search="exact")
        gallery = scorer.matcher.gallery
        embeddings = [gallery.pyramid(i).embedding().astype(np.float64).reshape(256, -1) for i in range(8)]
        found = left_out(scorer, GROUPS, tmp_path, included)
        assert len(found.scores) == len(found.map_maxima) == 8
        maps = []
        for i in range(8):
            others = [j for j in range(8) if included[j] and GROUPS[j] != GROUPS[i]]
            nearest = np.full(256, np.inf)
            for j in others:
                for position, embedding in enumerate(embeddings[i]):
                    nearest[position] = min(nearest[position], ((embeddings[j] - embedding) ** 2).sum(axis=1).min())
            maps.append(scorer.stitching([nearest.reshape(16, 16).astype(np.float32)]).astype(np.float64))
            if built is edge or included[i]:
                assert found.map_maxima[i] == pytest.approx(maps[i].max(), rel=1e-3)
            if built is paper:
                vectors = gallery.descriptors.astype(np.float64)
                squares = [((vectors[j] - vectors[i]) ** 2).sum() for j in others]
                assert found.scores[i] == pytest.approx(np.mean(squares), rel=1e-4)
        if built is paper:
            assert found.baseline is None
            continue
        assert found.baseline is not None and found.baseline.dtype == np.float32
        kinds = [(0, 6), (2, 7), (1,), (4,)]
        means = [np.mean([maps[i] for i in kind], axis=0) for kind in kinds]
        share = len(kinds) / (len(kinds) + FEW)
        np.testing.assert_allclose(found.baseline, share * np.mean(means, axis=0), rtol=1e-3)
        for i in range(8):  # of the 4,096 values 12 are a mean
            others = [mean for mean, kind in zip(means, kinds, strict=True) if GROUPS[kind[0]] != GROUPS[i]]
            excess = maps[i] - share * np.mean(others, axis=0)
            assert found.scores[i] == pytest.approx(np.sort(excess.ravel())[-12:].mean(), rel=1e-3)


@pytest.mark.parametrize("name", ["shared", "per-view", "shared, exact", "shared, 5 neighbours", "regions, vectors"])
def test_no_view_of_the_same_part_is_matched(with_views: Callable[[str], Built], tmp_path: Path, name: str) -> None:
    scorer = Scorer.open(with_views(name).path)
    matcher, gallery = scorer.matcher, scorer.matcher.gallery
    groups = (0, 1, 1, 2, 3, 0)
    seen: list[set[int]] = []

    def spied(item: int, **options: Any) -> Matches:
        found = matcher.match_item(item, **options)
        seen.append({found.nearest(row, column).item % 6 for row in range(8) for column in range(8)})
        return found

    spy: Any = SimpleNamespace(
        gallery=gallery, matching=matcher.matching, match_item=spied, descriptor_score=matcher.descriptor_score
    )
    leave_one_out(
        spy,
        scorer.stitching,
        groups=groups,
        included=np.ones(6, bool),
        scratch=tmp_path / "maps",
        progress=lambda items, label: items,
    )
    assert len(seen) == 6 * gallery.views
    for call, images in enumerate(seen):
        own = groups[call // gallery.views]
        assert not images & {image for image in range(6) if groups[image] == own}
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
    evidence = built.manifest.evidence
    assert evidence.groups == (*range(8), *range(8)) and threshold.parts == 8
    assert evidence.scores[:8] == pytest.approx(evidence.scores[8:], rel=0.03)
    assert len(evidence.scores) == 16 and threshold.rate == single.rate and threshold.interval == single.interval
    assert "of 8 parts" in threshold.method
    assert threshold.score == pytest.approx(single.score, rel=0.03)
    assert threshold.pixel == pytest.approx(single.pixel, rel=0.03)


def test_the_sentence_counts_parts_as_the_certificate_does() -> None:
    threshold = calibrated(evidence(range(1, 17), groups=[*range(8)] * 2), rate=None, area=0, now=NOW)
    assert threshold.rate == pytest.approx(1 / 9)
    assert "certified by 8 different parts" in threshold.sentence()
    assert "8 different parts" in threshold.caution()
    assert not calibrated(evidence(range(20)), rate=None, area=0, now=NOW).caution()


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
        found = _over_baseline(maps[:count], Highest(), np.arange(count), np.ones(count, bool))  # type: ignore[arg-type]
        threshold = calibrated(evidence(found.scores), rate=rate, area=0, now=NOW)
        assert found.baseline is not None and threshold.basis == "certified"
        scores = (maps[count:] - found.baseline).max(axis=1)
        rejected.append(float((scores > threshold.score).mean()))
        stated = threshold.rate
    assert np.mean(rejected) <= stated + 3 * np.std(rejected, ddof=1) / np.sqrt(repetitions)


def naive_limit(scores: list[float], groups: list[int], rate: float) -> float:
    """The smallest score that keeps a rate if each part weighs 1 and a frame to come weighs 1 too."""
    parts = len(set(groups))
    for value in sorted(scores):
        under = sum(
            sum(own <= value for own in members) / len(members)
            for part in set(groups)
            if (members := [score for score, group in zip(scores, groups, strict=True) if group == part])
        )
        if under >= np.ceil((parts + 1) * (1 - rate) - 1e-9) - 1e-9:
            return value
    raise AssertionError("no score keeps it")


def test_a_part_weighs_as_much_as_any_other_however_often_it_was_photographed() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        groups = rng.integers(0, 14, 40).tolist()
        scores = rng.gamma(2, 3, 40).tolist()
        parts = len(set(groups))
        for rate in (1 / (parts + 1), 0.1, 0.2, 0.5):
            found = calibrated(evidence(scores, groups=groups), rate=rate, area=3.5, now=NOW, reason="so")
            assert found.score == naive_limit(scores, groups, rate)
            assert found.pixel == pytest.approx(2 * found.score)
            assert found.rate == pytest.approx(np.floor((parts + 1) * rate + 1e-9) / (parts + 1))
            assert (found.area, found.set, found.reason, found.parts) == (3.5, NOW, "so", parts)


def test_good_parts_photographed_several_times_are_rejected_no_more_often_than_stated() -> None:
    """Parts differ much, photographs of one part a little; counted as images the rate would be far too low."""
    rng = np.random.default_rng(5)
    for rate in (None, 0.1):
        rejected, as_images = [], []
        for _ in range(2000):
            parts = rng.gamma(2, 3, 21)
            photographs = np.repeat(parts[:20], 4) + rng.normal(0, 0.3, 80)
            groups = np.repeat(np.arange(20), 4).tolist()
            found = calibrated(evidence(photographs.tolist(), groups=groups), rate=rate, area=0, now=NOW)
            wrong = calibrated(evidence(photographs.tolist()), rate=found.rate, area=0, now=NOW)
            frame = parts[20] + rng.normal(0, 0.3)
            rejected.append(frame > found.score)
            as_images.append(frame > wrong.score)
        assert np.mean(rejected) <= found.rate + 3 * np.sqrt(found.rate / 2000)
        assert np.mean(rejected) >= 0.6 * found.rate


@pytest.mark.parametrize(("count", "over"), [(1, 1), (5, 1), (19, 1), (38, 1), (39, 2), (59, 3), (99, 5), (499, 25)])
def test_a_threshold_that_nobody_asked_for_rejects_a_twentieth(count: int, over: int) -> None:
    found = calibrated(evidence(range(count)), rate=None, area=0, now=NOW)
    assert (found.score, found.pixel) == (count - over, 2 * (count - over))
    assert found.rate == pytest.approx(over / (count + 1)) and found.rate <= max(0.05, 1 / (count + 1)) + 1e-9
    assert found.wanted is None and found.basis == "certified"


def test_one_odd_score_does_not_decide() -> None:
    scores = np.random.default_rng(2).gamma(9, 3, 60).tolist()
    odd = calibrated(evidence([*scores, 10 * max(scores)]), rate=None, area=0, now=NOW)
    assert odd.score <= max(scores) and odd.method.startswith("3rd largest of 61")
    assert calibrated(evidence([*scores, 10 * max(scores)]), rate=1 / 62, area=0, now=NOW).score == 10 * max(scores)


def test_changed_evidence_gives_the_threshold_that_was_wanted() -> None:
    before, after = evidence(range(40)), evidence(range(0, 60, 2))
    for rate in (None, 0.1, 0.001):
        old = calibrated(before, rate=rate, area=2, now=NOW, reason="so")
        assert again(old, after, now="later") == calibrated(after, rate=rate, area=2, now="later", reason="so")
    hand = manual(calibrated(before, rate=None, area=2, now=NOW), before, score=17.5, now=NOW, reason="wish")
    kept = again(hand, after, now="later")
    assert (kept.score, kept.basis, kept.parts) == (17.5, "manual", 30)
    assert (kept.rate, kept.interval) == rate_of(after, 17.5)


def test_maps_of_some_images_give_what_they_can() -> None:
    some = replace(evidence(range(1, 51)), map_maxima=(*map(float, range(10, 170, 10)), *[None] * 34))
    for rate, pixel in ((None, 160.0), (0.001, 160.0), (0.02, 160.0), (2 / 17, 150.0), (0.5, 90.0)):
        found = calibrated(some, rate=rate, area=0, now=NOW)
        assert found.pixel == pixel
        assert found.score == limit(some, rate=rate or 0.05).value


def test_the_papers_profile_makes_maps_of_some_images_and_scores_of_all(
    model: Path, part: Frames, tmp_path: Path
) -> None:
    (tmp_path / "good").mkdir()
    for seed in range(20):
        np.save(tmp_path / "good" / f"{seed:02d}.npy", part(seed, size=(64, 64)))
    built = build(tmp_path / "good", model=model, output=tmp_path / "b.spade", options=BuildOptions(profile="paper"))
    threshold, maxima = built.manifest.threshold, built.manifest.evidence.map_maxima
    chosen = [image for image, peak in enumerate(maxima) if peak is not None]
    assert chosen == sorted({round(19 * i / 15) for i in range(16)})
    assert threshold.score == max(built.manifest.evidence.scores)
    assert threshold.pixel == max(peak for peak in maxima if peak is not None)
    scorer = Scorer.open(built.path)
    gallery = scorer.matcher.gallery
    for image in chosen[::5]:
        (matches,) = scorer.matcher.match([gallery.pyramid(image)], allowed=np.arange(20) != image)
        assert scorer.stitching([matches.distances]).max() == pytest.approx(maxima[image], rel=1e-4)


@pytest.mark.parametrize(
    ("rank", "words"),
    [(1, "largest"), (2, "2nd largest"), (3, "3rd largest"), (4, "4th largest"), (11, "11th largest")],
)
def test_how_it_was_found_is_told_in_english(rank: int, words: str) -> None:
    found = calibrated(evidence(range(1, 41)), rate=rank / 41, area=0, now=NOW)
    assert found.score == 41 - rank
    assert found.method == f"{words} of 40 leave-one-out scores of good images"


def test_a_manual_threshold_counts_the_rate_and_leaves_the_rest() -> None:
    parts = evidence(range(1, 21), groups=[0, *range(1, 19), 0])
    before = calibrated(parts, rate=None, area=2, now=NOW)
    changed = manual(before, parts, score=17.5, now="later", reason="wish")
    # 18 and 19 are over it, and one of the two photographs of the first part.
    assert changed.rate == pytest.approx((2.5 + 1) / 20)
    assert (changed.score, changed.interval, changed.basis) == (17.5, rate_of(parts, 17.5)[1], "manual")
    assert (changed.pixel, changed.area, changed.set, changed.reason) == (before.pixel, 2, "later", "wish")
    assert "set manually" in changed.sentence() and "EXTRAPOLATED" not in changed.sentence()
    pixel = manual(before, parts, pixel=3.0, now="later", reason="wish")
    assert pixel == replace(before, pixel=3.0, set="later", reason="wish")
    both = manual(before, parts, score=17.5, pixel=3.0, now="later", reason="wish")
    assert both == replace(changed, pixel=3.0)
    for value in (float("nan"), float("inf"), -float("inf")):
        for name in ("score", "pixel"):
            with pytest.raises(UsageError, match=f"found {value:g}"):
                manual(before, parts, now="later", reason="wish", **{name: value})
    for value in (0.0, -1.0):
        with pytest.raises(UsageError, match=f"found {value:g}"):
            manual(before, parts, now="later", reason="wish", pixel=value)
    assert manual(before, parts, now="later", reason="wish", score=-1.0).score == -1  # over what is expected


@pytest.fixture(scope="module")
def thresholds(edge: Built) -> dict[str, Threshold]:
    """One of each kind, from the evidence of a bundle."""
    parts = edge.manifest.evidence
    certified = calibrated(parts, rate=None, area=0.1, now=NOW)
    return {
        "certified": certified,
        "by a rate": calibrated(parts, rate=0.5, area=0, now=NOW, reason='a "wish", φ\n'),
        "extrapolated": replace(calibrated(evidence(range(30)), rate=0.001, area=0, now=NOW), parts=8),
        "manual": manual(certified, parts, score=1 / 3, pixel=1e-7, now=NOW, reason="x"),
    }


@pytest.mark.parametrize("kind", ["certified", "by a rate", "extrapolated", "manual"])
def test_it_survives_writing_and_reading(edge: Built, thresholds: dict[str, Threshold], kind: str) -> None:
    threshold = thresholds[kind]
    manifest = replace(edge.manifest, threshold=threshold)
    again = Manifest.from_text(manifest.to_text())
    assert again == manifest and again.threshold == threshold
    assert json.loads(manifest.to_text())["threshold"]["basis"] == threshold.basis


def test_the_sentence_says_what_the_rate_is(thresholds: dict[str, Threshold]) -> None:
    assert "at most" in thresholds["certified"].sentence() and "certified by" in thresholds["certified"].sentence()
    assert "about 0.10% of good frames rejected, EXTRAPOLATED from 8" in thresholds["extrapolated"].sentence()
    assert thresholds["manual"].sentence().startswith("set manually; ")
    for threshold in thresholds.values():
        low, high = threshold.interval
        assert f"95 % interval {low:.2%} to {high:.2%}" in threshold.sentence()


def changed(part: str, **values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda value: value[part].update(values)


def image(**values: Any) -> Callable[[dict[str, Any]], Any]:
    """Change the second image of a manifest."""
    return lambda value: value["images"][1].update(values)


FRAME = {"name": "held back.png", "group": 0, "score": 1.0, "map_maximum": 2.0}
EXCLUSION = {"reason": "scratched", "set": NOW}
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
    "a source that is unknown": changed("threshold", source="dreams"),
    "parts of text": changed("threshold", parts="8"),
    "no parts": changed("threshold", parts=0),
    "a wanted rate of text": changed("threshold", wanted="1 %"),
    "a score of NaN": image(score=float("nan")),
    "a group that is negative": image(group=-1),
    "a group that is not whole": image(group=1.5),
    "a group that is a flag": image(group=True),
    "an untypical value of text": image(untypical="very"),
    "no name": image(name=""),
    "an exclusion without a reason": image(excluded={"set": NOW}),
    "an exclusion that is a flag": image(excluded=True),
    "a condition with text": image(condition={"brightness": "dark"}),
    "an image that is a name": lambda value: value["images"].append("more.png"),
    "a frame that is a name": lambda value: value["frames"].append("more.png"),
    "a frame without a map": lambda value: value["frames"].append(FRAME | {"map_maximum": None}),
    "a field of schema 3's beginnings": changed("threshold", calibrated=False),
    "a field missing": lambda value: value["threshold"].pop("pixel"),
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
    "another number of parts": changed("threshold", parts=9),
    "two images of one name": lambda value: value["images"].append(value["images"][0]),
    "all images excluded": lambda value: [own.update(excluded=EXCLUSION) for own in value["images"]],
    "a threshold from frames without frames": changed("threshold", source="frames"),
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
    with pytest.raises(BundleError, match="expected schema 9, found 3"):
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
        threshold, evidence = built.manifest.threshold, built.manifest.evidence
        assert threshold.score == sorted(evidence.scores)[-3]
        assert threshold.pixel == sorted(evidence.of_maps.scores)[-3]
        assert threshold.rate == pytest.approx(0.3) and threshold.area == 7.0


def test_a_rate_that_repeats_make_impossible_is_refused_before_the_network_has_run(
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

    with pytest.raises(UsageError, match="7 parts certify"):
        build(
            tmp_path / "good",
            model=model,
            output=tmp_path / "b.spade",
            options=BuildOptions(rate=0.02),
            progress=progress,
        )
    assert not (tmp_path / "b.spade").exists()
    assert labels[0] == "reading images" and "extracting features" not in labels


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
