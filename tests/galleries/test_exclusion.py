"""Images excluded from a bundle and included again, against bundles that were built without them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, build, set_threshold
from spade_edge.galleries.exclusion import exclude, include
from spade_edge.galleries.held_back import calibrate
from spade_edge.galleries.view_selection import Views
from spade_edge.runtime import BundleError, DataError, Scorer, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, Manifest
from spade_edge.runtime.matching.coding import Coder
from spade_edge.runtime.matching.config import Matching
from spade_edge.runtime.matching.gallery import CodedGallery

Bundles = Callable[[str], Built]
Frames = Callable[..., NDArray[np.uint8]]
OUT = ("1.npy", "3.npy")


@pytest.fixture
def copy(edge: Built, tmp_path: Path) -> Path:
    """A bundle of eight images that may be changed."""
    return Path(shutil.copytree(edge.path, tmp_path / "copy.spade"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


NAMES = [
    "shared",
    "per-view",
    "shared, exact",
    "shared, 5 neighbours",
    "per-view, no codes",
    "regions, vectors",
    "masked",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_without_some_images_is_as_if_it_were_built_so(
    with_views: Bundles, textures: Path, texture: Frames, tiny_model: Path, tmp_path: Path, name: str
) -> None:
    """The features are coded alike, so only the images that are matched make a difference."""
    changed = Path(shutil.copytree(with_views(name).path, tmp_path / "changed.spade"))
    change = exclude(changed, OUT, reason="scratched")
    before, after = change.before, Manifest.read(changed)
    assert after == change.manifest and change.names == OUT and change.former.is_file()
    assert [image.name for image in after.images if not image.included] == list(OUT)
    assert {image.exclusion.reason for image in after.images if image.exclusion} == {"scratched"}
    kept = [image for image in after.images if image.included]
    scorer = Scorer.open(changed, self_test=True)
    allowed = after.included
    unchanged = Scorer.open(with_views(name).path)
    for image in after.images:  # each is scored against the included images of other parts
        number = after.names.index(image.name)
        others = allowed & (np.arange(6) != number)
        if before.matching.image_score == "map":
            maps = [
                unchanged.matcher.match(
                    [unchanged.matcher.gallery.pyramid(view * 6 + number)], views=[view], allowed=others
                )
                for view in range(unchanged.matcher.gallery.views)
            ]
            heatmap = unchanged.stitching([matches.distances for (matches,) in maps])
            assert image.map_maximum == pytest.approx(heatmap.max(), rel=0.02)
    assert after.threshold.parts == len(kept) == 4 and after.threshold.rate == pytest.approx(1 / 5)
    assert after.threshold.score == max(image.score for image in kept)
    seen = {match.image for seed in range(6) for match in scorer(texture(seed, flaw=(30, 20))).nearest}
    assert seen and not seen & set(OUT)
    removed = scorer(np.load(textures / OUT[0]))
    assert removed.heatmap.max() > 0.05 * after.threshold.pixel  # it no longer matches itself


def test_the_index_is_that_of_a_build_which_excludes(
    copy: Path, model: Path, good_images: Path, tmp_path: Path
) -> None:
    exclude(copy, ["7.npy"], reason="blurred")
    built = build(good_images, model=model, output=tmp_path / "b.spade", options=BuildOptions(exclude=("7.npy",)))
    changed = Manifest.read(copy)
    assert [image.name for image in built.manifest.images if not image.included] == ["7.npy"]
    assert built.manifest.included.tolist() == changed.included.tolist()
    # The code steps of a build are fitted to the included images, so scores differ in the last digits.
    for one, other in zip(built.manifest.images, changed.images, strict=True):
        assert one.score == pytest.approx(other.score, rel=0.1)
    assert built.manifest.limits == changed.limits and built.manifest.farthest == pytest.approx(changed.farthest)


@pytest.mark.parametrize("options", [{"exclude": ("nine.npy",)}, {"groups": "("}, {"groups": "absent.csv"}])
def test_a_build_says_a_mistake_before_it_reads_the_images(
    model: Path, good_images: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    labels: list[str] = []
    with pytest.raises((UsageError, DataError)):
        build(
            good_images,
            model=model,
            output=tmp_path / "c.spade",
            options=BuildOptions(**options),
            progress=lambda items, label: labels.append(label) or items,
        )
    assert labels == [] and not (tmp_path / "c.spade").exists()


def test_an_image_that_is_included_again_brings_everything_back(copy: Path) -> None:
    first = Manifest.read(copy)
    exclude(copy, ["2.npy", "nested/3.npy"], reason="x")
    include(copy, ["2.npy"])
    assert Manifest.read(copy).included.sum() == 7
    back = include(copy, ["nested/3.npy"]).manifest
    assert back.images == first.images and back.limits == first.limits and back.farthest == first.farthest
    assert set(back.files) == set(first.files)
    # Baseline, leave-one-out distances and golden results too, byte for byte; nodes join a graph behind the others.
    changed = {role for role in first.files if back.files[role] != first.files[role]}
    assert changed <= {"index", "reach"}
    assert (back.threshold.score, back.threshold.rate) == (first.threshold.score, first.threshold.rate)
    assert len(list((copy / HISTORY).iterdir())) == 4


def test_a_scorer_that_is_open_goes_on(copy: Path, part: Frames) -> None:
    running = Scorer.open(copy)
    frame = part(40, flaw=True)
    before = running(frame)
    exclude(copy, ["2.npy"], reason="x")
    after = running(frame)
    assert (after.score, after.threshold, after.p) == (before.score, before.threshold, before.p)
    assert Scorer.open(copy)(frame).p in [pytest.approx(k / 8) for k in range(1, 9)]


def test_the_threshold_stays_what_was_wanted(copy: Path) -> None:
    set_threshold(copy, rate=0.3, reason="few rejects")
    changed = exclude(copy, ["0.npy"], reason="x").manifest.threshold
    assert changed.wanted == 0.3 and changed.rate == pytest.approx(2 / 8) and changed.parts == 7
    set_threshold(copy, score=123.0, reason="a wish")
    manual = include(copy, ["0.npy"]).manifest.threshold
    assert (manual.score, manual.basis, manual.parts, manual.reason) == (123.0, "manual", 8, "a wish")


def test_frames_that_were_scored_with_other_images_are_no_evidence(copy: Path, part: Frames, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for seed in range(50, 56):
        np.save(tmp_path / "frames" / f"{seed}.npy", part(seed))
    calibrate(copy, tmp_path / "frames", certify="frames", reason="x")
    assert Manifest.read(copy).threshold.source == "frames"
    manifest = exclude(copy, ["0.npy"], reason="x").manifest
    assert manifest.frames == () and manifest.threshold.source == "images" and manifest.threshold.parts == 7
    assert manifest.threshold.reason == ""  # it was the reason for taking the frames


def test_a_dark_image_is_still_called_dark_when_it_is_excluded(
    edge: Built, good_images: Path, model: Path, part: Frames, tmp_path: Path
) -> None:
    shutil.copytree(good_images, tmp_path / "good")
    np.save(tmp_path / "good" / "dark.npy", (0.2 * part(90)).astype(np.uint8))
    built = build(tmp_path / "good", model=model, output=tmp_path / "b.spade")
    before = {image.name: image for image in built.manifest.images}["dark.npy"]
    assert before.untypical > 1 and "darker than the other good images" in before.remark
    assert built.manifest.farthest == pytest.approx(edge.manifest.farthest)  # it says nothing about other frames
    after = {image.name: image for image in exclude(built.path, ["dark.npy"], reason="dark").manifest.images}[
        "dark.npy"
    ]
    assert after.untypical > 1 and "darker than the other good images" in after.remark


def test_images_of_one_part_are_still_left_out_together(
    model: Path, good_images: Path, part: Frames, tmp_path: Path
) -> None:
    names = ["0.npy", "1.npy", "2.npy", "nested/3.npy", "4.npy", "5.npy", "6.npy", "7.npy"]
    rows = [f"{name},{'one' if place < 4 else name}" for place, name in enumerate(names)]
    (tmp_path / "groups.csv").write_text("\n".join(rows))
    options = BuildOptions(groups=str(tmp_path / "groups.csv"))
    built = build(good_images, model=model, output=tmp_path / "b.spade", options=options)
    groups = [image.group for image in built.manifest.images]
    assert len(set(groups)) == built.manifest.threshold.parts == 5
    with pytest.raises(DataError, match="at least 2 different parts"):
        exclude(built.path, [i.name for i in built.manifest.images if i.group != groups[0]], reason="x")


MISTAKES: dict[str, tuple[list[str], str, type[Exception], str]] = {
    "no reason": (["1.npy"], "  ", UsageError, "expected a reason"),
    "no name": ([], "x", UsageError, "found none"),
    "an unknown name": (["1.npy", "one.npy"], "x", UsageError, "found 'one.npy'"),
    "two unknown names": (["a", "b"], "x", UsageError, "and 1 more"),
    "all but one": ([f"{i}.npy" for i in (0, 1, 2, 4, 5, 6, 7)], "x", DataError, "at least 2 different parts"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_changes_nothing(copy: Path, mistake: str) -> None:
    names, reason, error, says = MISTAKES[mistake]
    before = contents(copy)
    with pytest.raises(error, match=says):
        exclude(copy, names, reason=reason)
    assert contents(copy) == before


def test_what_is_done_already_is_said(copy: Path) -> None:
    with pytest.raises(UsageError, match="which is included already"):
        include(copy, ["1.npy"])
    exclude(copy, ["1.npy"], reason="x")
    with pytest.raises(UsageError, match="which is excluded already"):
        exclude(copy, ["1.npy"], reason="x")


def test_an_index_over_other_images_than_the_manifest_says_is_refused(copy: Path) -> None:
    exclude(copy, ["1.npy"], reason="x")
    value = json.loads((copy / FILE).read_text())
    one, other = value["images"][1], value["images"][2]
    one["excluded"], other["excluded"] = other["excluded"], one["excluded"]
    (copy / FILE).write_text(json.dumps(value))
    with pytest.raises(BundleError, match="cell of the included images"):
        Scorer.open(copy)


def test_a_damaged_bundle_is_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected a bundle folder"):
        exclude(tmp_path, ["1.npy"], reason="x")
    index = next(copy.glob("index-*"))
    index.write_bytes(index.read_bytes()[:-1])
    text = (copy / FILE).read_bytes()
    with pytest.raises(BundleError, match="index-"):
        exclude(copy, ["1.npy"], reason="x")
    assert (copy / FILE).read_bytes() == text


@pytest.mark.parametrize("gallery", ["shared", "per-view"])
def test_images_with_a_common_background_share_its_entries(tiny_model: Path, tmp_path: Path, gallery: str) -> None:
    """The first image holds the entries of the background; without it the next one does, with the same keys."""
    for number in range(5):
        frame = np.full((64, 96, 3), 250, np.uint8)
        frame[20:36, 8 + number : 24 + number] = np.random.default_rng(number).integers(0, 200, (16, 16, 3))
        (tmp_path / "images").mkdir(exist_ok=True)
        np.save(tmp_path / "images" / f"{number}.npy", frame)
    options = BuildOptions(views=Views(tile=(32, 32), overlap=0), matching=Matching(gallery=gallery), place="free")
    path = build(tmp_path / "images", model=tiny_model, output=tmp_path / "b.spade", options=options).path

    def opened() -> tuple[Bundle, NDArray[np.uint8]]:
        """The bundle, and the keys of all cells, computed from the codes."""
        bundle = Bundle.open(path)
        assert isinstance(bundle.gallery, CodedGallery) and bundle.entries is not None
        coder = Coder(bundle.gallery.card, bundle.gallery.coding, threads=1)
        items = range(len(bundle.gallery.descriptors))
        return bundle, np.concatenate(
            [coder.with_keys(tuple(x[None] for x in bundle.gallery.codes(item))).keys for item in items]
        )

    def check(out: set[int]) -> int:
        """Every cell is known by its key, except those of images that are out; returns the number of entries."""
        bundle, keys = opened()
        assert bundle.entries is not None
        parts = len(bundle.indexes)
        for index, entries, own in zip(
            bundle.indexes, np.split(bundle.entries, parts), np.split(keys, parts), strict=True
        ):
            images = np.arange(len(own)) // bundle.gallery.cells_per_item % 5
            known = ~np.isin(images, list(out))
            assert (entries[~known] == -1).all()
            assert np.array_equal(own[entries[known]], own[known])
            assert np.array_equal(index.keys, own[index.labels]) and len(np.unique(index.keys, axis=0)) == len(index)
            assert set(index.labels.tolist()) == set(entries[known].tolist())
        return sum(map(len, bundle.indexes))

    before = Manifest.read(path)
    all_entries = check(set())
    assert all_entries < 0.7 * 5 * 6 * 4
    exclude(path, ["0.npy", "3.npy"], reason="dirty")
    assert check({0, 3}) < all_entries
    scorer = Scorer.open(path)
    assert scorer(np.load(tmp_path / "images" / "1.npy")).verdict == "good"
    include(path, ["0.npy", "3.npy"])
    assert check(set()) == all_entries
    after = Manifest.read(path)
    assert {role: x.sha256 for role, x in after.files.items() if "index" in role or role == "entries"} == {
        role: x.sha256 for role, x in before.files.items() if "index" in role or role == "entries"
    }
