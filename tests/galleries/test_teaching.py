"""Teaching images in and taking them out, and what it changes of scores, threshold and promise."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import EDGE, TEXTURE, TILES
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, build, calibrate, set_threshold
from spade_edge.galleries.exclusion import exclude, include
from spade_edge.galleries.left_out import changed, leave_out, read_left_out
from spade_edge.galleries.teaching import ONE, compact, take_out, teach_in
from spade_edge.runtime import BundleError, DataError, Scorer, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import FILE, LEAVE_ONE_OUT, Manifest
from spade_edge.runtime.digest import sha256
from spade_edge.runtime.matching.coding import Coder
from spade_edge.runtime.matching.gallery import CodedGallery

Frames = Callable[..., NDArray[np.uint8]]

KINDS = ("placed", "free", "flat", "shared", "per-view", "no codes", "descriptors")


@pytest.fixture(scope="module")
def bundles(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, part: Frames, texture: Frames
) -> Callable[[str], Path]:
    """A bundle of each kind, built once."""
    home = tmp_path_factory.mktemp("bundles")
    for kind, make in (("parts", part), ("textures", texture)):
        (home / kind).mkdir()
        for seed in range(9):
            np.save(home / kind / f"{seed}.npy", make(seed, size=TEXTURE if kind == "textures" else (96, 80)))
    (home / "flat").mkdir()
    for seed in range(9):  # most cells of the images are the same
        image = np.full((64, 64, 3), 90, np.uint8)
        image[5 * seed : 5 * seed + 9, 10:40] = 60 + 10 * seed
        np.save(home / "flat" / f"{seed}.npy", image)
    options = {
        "placed": (BuildOptions(place=1, matching=EDGE), "parts"),
        "free": (BuildOptions(place="free", matching=EDGE), "parts"),
        "flat": (BuildOptions(place=1, matching=replace(EDGE, candidates=6), groups="(.)"), "flat"),
        "shared": (BuildOptions(views=TILES, matching=EDGE), "textures"),
        "per-view": (BuildOptions(views=TILES, matching=replace(EDGE, gallery="per-view")), "textures"),
        "no codes": (BuildOptions(matching=replace(EDGE, projection="none", search="exact")), "parts"),
        "descriptors": (BuildOptions(matching=replace(EDGE, image_score="descriptors")), "parts"),
    }

    def made(kind: str) -> Path:
        path = home / f"{kind}.spade"
        if not path.exists():
            build(home / options[kind][1], model=tiny_model, output=path, options=options[kind][0])
        return path

    return made


@pytest.fixture
def copied(tmp_path: Path, bundles: Callable[[str], Path]) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(bundles(kind), tmp_path / "copy.spade"))


@pytest.fixture
def new(tmp_path: Path, part: Frames, texture: Frames) -> Callable[..., Path]:
    """An image file of a good part that no bundle holds."""

    def made(kind: str, seed: int = 50, *, flaw: bool = False) -> Path:
        path = tmp_path / f"{kind}{seed}.npy"
        if kind in ("shared", "per-view"):
            image = texture(seed, flaw=(30, 20) if flaw else None)
        elif kind == "flat":
            image = np.full((64, 64, 3), 90, np.uint8)
            image[seed % 50 : seed % 50 + 8, 12:30] = 250 if flaw else 110
        else:
            image = part(seed, flaw=flaw)
        np.save(path, image)
        return path

    return made


def forget(bundle: Path) -> None:
    """Take the leave-one-out distances out of a bundle, as if an older version had written it."""
    value = json.loads((bundle / FILE).read_text())
    for role in LEAVE_ONE_OUT:
        value["files"].pop(role, None)
    (bundle / FILE).write_text(json.dumps(value))


def told(manifest: Manifest) -> object:
    """What a change decides, but for times and the order in which nodes joined a graph."""
    files = {role: file.sha256 for role, file in manifest.files.items()}
    images = [replace(image, taught=None, exclusion=None) for image in manifest.images]
    kept = {role: digest for role, digest in files.items() if role not in (*LEAVE_ONE_OUT, "index")}
    return images, kept, replace(manifest.threshold, set=""), manifest.limits, manifest.farthest, manifest.golden


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_decides_what_it_would_decide_if_nothing_was_known_before(
    kind: str, copied: Callable[[str], Path], new: Callable[..., Path], tmp_path: Path
) -> None:
    knowing = copied(kind)
    other = Path(shutil.copytree(knowing, tmp_path / "other.spade"))
    steps: list[Callable[[Path], object]] = [
        lambda bundle: teach_in(bundle, [new(kind, 50)], selected=False, even_so=True),
        lambda bundle: exclude(bundle, ["2.npy"], reason="x"),
        lambda bundle: teach_in(bundle, [new(kind, 51), new(kind, 52)], selected=False, part=ONE, even_so=True),
        lambda bundle: take_out(bundle, ["4.npy", f"{kind}50.npy"]),
        lambda bundle: include(bundle, ["2.npy"]),
    ]
    for step in steps:
        forget(other)
        step(knowing)
        step(other)
        assert told(Manifest.read(knowing)) == told(Manifest.read(other))
    Scorer.open(knowing, self_test=True)


@pytest.mark.parametrize("kind", KINDS[:5])
def test_distances_that_are_kept_are_those_of_matching_every_image_again(
    kind: str, copied: Callable[[str], Path], new: Callable[..., Path]
) -> None:
    bundle = copied(kind)
    exclude(bundle, ["7.npy"], reason="x")
    teach_in(bundle, [new(kind, 50)], selected=False, even_so=True)
    teach_in(bundle, [new(kind, 51, flaw=True)], even_so=True)
    take_out(bundle, ["1.npy"])
    opened = Bundle.open(bundle)
    manifest, kept = opened.manifest, read_left_out(opened)
    gallery, matcher = opened.gallery, Scorer.open(bundle).matcher
    assert kept is not None and isinstance(gallery, CodedGallery)
    coder = Coder(gallery.card, gallery.coding, threads=None)
    items = [tuple(level[np.newaxis] for level in gallery.codes(i)) for i in range(len(gallery.descriptors))]
    keys = np.concatenate([coder.with_keys(levels).keys for levels in items])
    groups = [image.group for image in manifest.images]
    again = leave_out(matcher, keys, groups=groups, included=manifest.counts, progress=lambda items, label: items)
    assert np.array_equal(kept.distances, again.distances) and np.array_equal(kept.reach, again.reach)
    assert manifest.counts.sum() == len(groups) - 2  # one is excluded, and one was selected
    # Some suspects set aside for a while, as when untypical images are looked for.
    fewer = manifest.counts & (np.arange(len(groups)) != 3)
    some = changed(kept, matcher, keys, groups=groups, included=fewer, progress=lambda items, label: items)
    every = leave_out(matcher, keys, groups=groups, included=fewer, progress=lambda items, label: items)
    assert np.array_equal(some.distances, every.distances) and np.array_equal(some.reach, every.reach)


@pytest.mark.parametrize(
    ("role", "spoil"),
    [
        ("left_out", lambda array: np.where(array == array.max(), np.float32(np.nan), array)),
        ("left_out", lambda array: array - 100),
        ("reach", lambda array: -array),
        ("left_out", lambda array: array[:-1]),
        ("reach", lambda array: array.astype(np.int64)),
    ],
)
def test_distances_that_are_none_are_refused(
    copied: Callable[[str], Path], role: str, spoil: Callable[[NDArray[np.generic]], NDArray[np.generic]]
) -> None:
    bundle = copied("placed")
    value = json.loads((bundle / FILE).read_text())
    np.save(bundle / "spoilt.npy", spoil(np.load(bundle / value["files"][role]["name"])))
    digest = sha256(bundle / "spoilt.npy")
    name = f"{role}-{digest[:16]}.npy"
    size = (bundle / "spoilt.npy").rename(bundle / name).stat().st_size
    value["files"][role] = {"name": name, "sha256": digest, "size": size}
    (bundle / FILE).write_text(json.dumps(value))
    with pytest.raises(BundleError):
        exclude(bundle, ["3.npy"], reason="x")


@pytest.mark.parametrize("kind", KINDS[:6])
def test_a_reject_that_is_taught_in_is_good_from_then_on_and_sets_nothing(
    kind: str, copied: Callable[[str], Path], new: Callable[..., Path]
) -> None:
    bundle, reject = copied(kind), new(kind, 60, flaw=True)
    before, former = Manifest.read(bundle), Scorer.open(bundle)
    frame = np.load(reject)
    assert former(frame).verdict == "defect"
    change = teach_in(bundle, [reject], reason="was good", who="Ann", even_so=True)
    after, scorer = Manifest.read(bundle), Scorer.open(bundle, self_test=True)
    assert after == change.manifest and change.before == before and change.names == (reject.name,)
    assert scorer(frame).verdict == "good"
    assert after.threshold == before.threshold and after.evidence == before.evidence
    assert after.images[:-1] == before.images and after.farthest == before.farthest
    assert [after.files.get(role) for role in ("baseline", "reference")] == [
        before.files.get(role) for role in ("baseline", "reference")
    ]
    taught = after.images[-1].taught
    assert taught is not None and taught.selected and taught.reason == "was good" and not after.images[-1].counts
    assert after.images[-1].score > after.threshold.score  # against the images that count
    for seed in range(70, 75):  # whatever was taught in, no distance is larger than before
        for flaw in (False, True):
            seen = np.load(new(kind, seed, flaw=flaw))
            first, second = former(seen), scorer(seen)
            assert (second.heatmap <= first.heatmap).all() and second.score <= first.score
    assert json.loads((bundle / "log.jsonl").read_text().splitlines()[-1])["who"] == "Ann"
    back = take_out(bundle, [reject.name]).manifest
    assert back.images == before.images and back.threshold == before.threshold
    assert back.limits == before.limits and back.format == before.format
    assert all(back.files[role] == before.files[role] for role in before.files if role not in (*LEAVE_ONE_OUT, "index"))
    assert Scorer.open(bundle)(frame).score == former(frame).score


def test_means_over_many_images_could_rise_so_no_reject_is_taught_in_there(
    copied: Callable[[str], Path], new: Callable[..., Path]
) -> None:
    with pytest.raises(UsageError):
        teach_in(copied("descriptors"), [new("descriptors")])


def test_frames_taken_whatever_their_verdict_are_evidence(
    copied: Callable[[str], Path], new: Callable[..., Path]
) -> None:
    bundle = copied("placed")
    before = Manifest.read(bundle)
    after = teach_in(bundle, [new("placed", seed) for seed in range(50, 56)], selected=False).manifest
    assert after.threshold.parts == before.threshold.parts + 6 == 15
    assert after.threshold.rate < before.threshold.rate
    assert all(image.counts and image.taught is not None for image in after.images[9:])
    assert len({image.group for image in after.images}) == 15
    more = teach_in(bundle, [new("placed", 80), new("placed", 81)], selected=False, part="3.npy").manifest
    assert {image.group for image in more.images[15:]} == {before.images[3].group} and more.threshold.parts == 15


def test_limits_include_what_a_person_has_called_good(
    copied: Callable[[str], Path], new: Callable[..., Path], part: Frames, tmp_path: Path
) -> None:
    bundle, dark = copied("placed"), tmp_path / "dark.npy"
    frame = (part(90) * 0.3).astype(np.uint8)
    np.save(dark, frame)
    assert Scorer.open(bundle)(frame).verdict == "cannot_judge"
    with pytest.raises(DataError):
        teach_in(bundle, [dark])
    assert len(Manifest.read(bundle).images) == 9
    after = teach_in(bundle, [dark], even_so=True).manifest
    assert Scorer.open(bundle)(frame).verdict == "good" and after.threshold == Manifest.read(bundle).threshold
    value = after.images[-1].condition.brightness
    assert after.limits.brightness[0] == value


def test_nothing_is_taught_by_mistake(copied: Callable[[str], Path], new: Callable[..., Path], tmp_path: Path) -> None:
    bundle = copied("free")
    before = (bundle / FILE).read_bytes()
    good, reject = new("free", 50), new("free", 60, flaw=True)
    held = np.load(bundle.parent / "free50.npy")
    np.save(tmp_path / "held.npy", held)
    (tmp_path / "text.npy").write_text("no image")
    (tmp_path / "empty").mkdir()
    for images, problem in (
        ([reject], DataError),  # far over the threshold
        ([tmp_path / "absent.npy"], DataError),
        ([tmp_path / "text.npy"], DataError),
        ([tmp_path / "empty"], DataError),
        ([], UsageError),
        ([good, reject], DataError),
        ([good, good], UsageError),
        ([good, tmp_path / "held.npy"], DataError),  # the same pixels
    ):
        with pytest.raises(problem):
            teach_in(bundle, images)
        assert (bundle / FILE).read_bytes() == before
    with pytest.raises(UsageError):
        teach_in(bundle, [good], part="absent.npy")
    teach_in(bundle, [good])
    with pytest.raises(DataError):  # the same image under another name
        teach_in(bundle, [tmp_path / "held.npy"])
    assert [path.name for path in bundle.iterdir() if path.name.startswith(".")] == []


def test_bytes_that_are_no_text_are_written_out(copied: Callable[[str], Path], part: Frames, tmp_path: Path) -> None:
    bundle, path = copied("placed"), tmp_path / os.fsdecode(b"caf\xe9.npy")
    np.save(path, part(50))
    change = teach_in(bundle, [path], reason=os.fsdecode(b"caf\xe9"))
    taught = Manifest.read(bundle).images[-1].taught
    assert change.names == (r"caf\xe9.npy",) and taught is not None and taught.reason == r"caf\xe9"
    exclude(bundle, ["3.npy"], reason=os.fsdecode(b"caf\xe9"))
    set_threshold(bundle, rate=0.3, reason=os.fsdecode(b"caf\xe9"))
    assert Manifest.read(bundle).threshold.reason == r"caf\xe9"


def test_frames_certify_nothing_any_more_when_an_image_they_were_matched_with_leaves(
    copied: Callable[[str], Path], new: Callable[..., Path], part: Frames, tmp_path: Path
) -> None:
    bundle = copied("placed")
    teach_in(bundle, [new("placed", 60, flaw=True)], even_so=True)
    (tmp_path / "frames").mkdir()
    for seed in range(70, 80):
        np.save(tmp_path / "frames" / f"{seed}.npy", part(seed))
    calibrate(bundle, tmp_path / "frames", certify="frames", reason="x", groups="(.*)")
    kept = teach_in(bundle, [new("placed", 61, flaw=True)], even_so=True).manifest
    assert kept.threshold.source == "frames" and len(kept.frames) == 10
    left = take_out(bundle, ["placed60.npy"]).manifest
    assert left.threshold.source == "images" and left.frames == () and left.threshold.parts == 9


def test_names_that_are_taken_get_the_name_of_their_folder(
    copied: Callable[[str], Path], part: Frames, tmp_path: Path
) -> None:
    bundle = copied("placed")
    for folder in ("monday", "tuesday"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "3.npy", part(100 + len(folder)))
    taught = teach_in(bundle, [tmp_path / "monday", tmp_path / "tuesday" / "3.npy"]).manifest
    assert taught.names[9:] == ("monday/3.npy", "tuesday/3.npy")
    np.save(tmp_path / "monday" / "3.npy", part(200))
    with pytest.raises(UsageError):
        teach_in(bundle, [tmp_path / "monday" / "3.npy"])


def test_a_change_can_be_looked_at_and_left(copied: Callable[[str], Path], new: Callable[..., Path]) -> None:
    bundle = copied("placed")
    before = {path.name: path.read_bytes() for path in bundle.iterdir() if path.is_file()}
    seen = []
    change = teach_in(bundle, [new("placed")], selected=False, settled=lambda found: bool(seen.append(found)))
    assert change.former is None and len(seen) == 1
    assert change.manifest.threshold.parts == 10
    assert {path.name: path.read_bytes() for path in bundle.iterdir() if path.is_file()} == before


def test_too_few_parts_are_left(copied: Callable[[str], Path], new: Callable[..., Path]) -> None:
    bundle = copied("placed")
    teach_in(bundle, [new("placed", 60, flaw=True)], even_so=True)
    with pytest.raises(DataError):  # the reject is no evidence
        take_out(bundle, [f"{seed}.npy" for seed in range(8)])
    take_out(bundle, [f"{seed}.npy" for seed in range(7)])
    for names in ([], ["0.npy"], ["7.npy", "absent"]):
        with pytest.raises(UsageError):
            take_out(bundle, names)


def test_an_index_is_built_anew(copied: Callable[[str], Path], new: Callable[..., Path], edge: Built) -> None:
    bundle = copied("free")
    teach_in(bundle, [new("free", 50)], selected=False)
    edited = Bundle.open(bundle).indexes[0]
    assert compact(bundle) is not None
    anew = Bundle.open(bundle).indexes[0]
    assert set(map(bytes, anew.keys)) == set(map(bytes, edited.keys))
    assert anew.labels.tolist() == sorted(anew.labels.tolist())  # in the order of the gallery
    Scorer.open(bundle, self_test=True)


def test_there_is_no_index_to_build(copied: Callable[[str], Path]) -> None:
    bundle = copied("placed")
    assert compact(bundle) is None and not (bundle / "history" / "0002").exists()
