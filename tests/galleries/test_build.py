"""Building: what a bundle holds, and that a failed build changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, build
from spade_edge.galleries.generation_log import LOG
from spade_edge.galleries.golden_frames import golden_frames
from spade_edge.runtime import DataError, ModelError, Scorer, SpadeError, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, Manifest
from spade_edge.runtime.geometry.layout import WHOLE, Canvas
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.matching.config import PROFILES, Matching
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor
from spade_edge.tools.cli.main import main

Frames = Callable[..., NDArray[np.uint8]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said(bundle: Bundle, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """What the bundle's network says of a frame: its levels and the global descriptor."""
    session = onnxruntime.InferenceSession(bundle.model)
    viewer = Preprocessor(Canvas(WHOLE, View(resize=(64, 64), size=(64, 64))))
    outputs = session.run(["level1", "level2", "level3", "image"], {"frames": viewer(frame)})
    return [output[0] for output in outputs]


def test_the_gallery_holds_what_the_session_says_of_each_image(paper: Built, good_images: Path) -> None:
    bundle = Bundle.open(paper.path)
    assert bundle.manifest.names == ("0.npy", "1.npy", "2.npy", "4.npy", "5.npy", "6.npy", "7.npy", "nested/3.npy")
    for i, name in enumerate(bundle.manifest.names):
        frame = np.load(good_images / name)
        *levels, image = said(bundle, frame)
        for stored, level in zip(bundle.gallery.levels, levels, strict=True):
            assert np.array_equal(stored[i], level)
        assert np.array_equal(bundle.gallery.descriptors[i], image)
        assert np.abs(bundle.thumbnails[i].astype(float).mean() - frame.mean()) < 3


def test_the_coded_gallery_holds_it_in_a_byte_a_feature(edge: Built, paper: Built, good_images: Path) -> None:
    bundle = Bundle.open(edge.path)
    scales = bundle.manifest.scales
    assert scales is not None and bundle.manifest.names == Bundle.open(paper.path).manifest.names
    for i, name in enumerate(bundle.manifest.names):
        *levels, image = said(bundle, np.load(good_images / name))
        assert np.array_equal(bundle.gallery.descriptors[i], image)
        for number, level in enumerate(levels):
            roots = np.sqrt(level / level.sum(axis=2, keepdims=True))
            codes = np.rint((roots - np.float32(scales.lowest[number])) / np.float32(scales.steps[number]))
            assert codes.min() >= 0 and codes.max() <= 127
            if number == 0:  # 4 x 4 cells of 4 x 4 positions, cell by cell
                cells = [codes[y : y + 4, x : x + 4].reshape(16, -1) for y in range(0, 16, 4) for x in range(0, 16, 4)]
                codes = np.concatenate(cells)
            off = np.abs(bundle.gallery.levels[number][i] - codes.reshape(-1, codes.shape[-1]))
            assert off.max() <= 1 and (off > 0).mean() < 1e-3  # a hair of rounding is between the two
    for number, level in enumerate(bundle.gallery.levels):
        assert 90 <= level.max() <= 127  # a quarter of the range is margin
        assert scales.lowest[number] == 0  # these levels come from a ReLU


def test_the_threshold_is_the_largest_leave_one_out_score(
    edge: Built, paper: Built, model: Path, good_images: Path, tmp_path: Path
) -> None:
    """An image left out is an image that was never there: build without it, and score it as a frame."""
    for built in (edge, paper):
        threshold = built.manifest.threshold
        assert threshold.basis == "certified" and threshold.rate == pytest.approx(1 / 9)
        evidence = built.manifest.evidence
        assert evidence.groups == tuple(range(8)) and threshold.area == 0 and threshold.reason == ""
        assert threshold.set == built.manifest.created
        assert threshold.score == max(evidence.scores) and len(evidence.scores) == threshold.parts == 8
        assert threshold.pixel == max(evidence.of_maps.scores) and len(evidence.map_maxima) == 8
        out = built.manifest.names[2]
        others = tmp_path / f"others-{built.manifest.profile}"
        shutil.copytree(good_images, others)
        (others / out).unlink()
        without = build(
            others,
            model=model,
            output=tmp_path / f"{built.manifest.profile}.spade",
            options=BuildOptions(profile=built.manifest.profile),
        )
        # HNSW searches another graph, so "edge" is compared through exact search.
        result = Scorer.open(without.path, search="exact")(np.load(good_images / out))
        if built is paper:
            assert evidence.scores[2] == pytest.approx(result.score, rel=1e-4)
        assert evidence.map_maxima[2] == pytest.approx(result.heatmap.max(), rel=1e-4 if built is paper else 0.1)
    assert edge.manifest.threshold.pixel > edge.manifest.threshold.score  # a maximum and a mean of the same map
    assert paper.manifest.threshold.pixel != paper.manifest.threshold.score


def test_leave_one_out_compares_every_embedding_with_those_of_the_others(edge: Built) -> None:
    """Naively: every pair of embeddings in float64, torch's enlarging, scipy's Gaussian."""
    torch = pytest.importorskip("torch")
    gallery = Bundle.open(edge.path).gallery
    embeddings = []
    for i in range(8):
        levels = [torch.from_numpy(level.transpose(2, 0, 1)[None].copy()) for level in gallery.pyramid(i).levels]
        fine = [torch.nn.functional.interpolate(x, size=(16, 16), mode="bilinear") for x in levels]
        embeddings.append(torch.cat(fine, dim=1)[0].flatten(1).T.double())
    maps = []
    for i in range(8):
        others = torch.cat([embedding for j, embedding in enumerate(embeddings) if j != i])
        distances = (torch.cdist(embeddings[i], others) ** 2).amin(dim=1).reshape(1, 1, 16, 16)
        full = torch.nn.functional.interpolate(distances, size=(64, 64), mode="bilinear", align_corners=False)
        maps.append(scipy.ndimage.gaussian_filter(full[0, 0].numpy(), 4))
    # The search looks into some cells, which may miss the nearest by a little, and never finds a nearer one.
    for heatmap, have in zip(maps, edge.manifest.evidence.of_maps.scores, strict=True):
        assert heatmap.max() * 0.999 <= have <= heatmap.max() * 1.02
    assert edge.manifest.threshold.pixel == pytest.approx(max(heatmap.max() for heatmap in maps), rel=0.02)
    # Of what is over the mean of the other seven, which count as 8 of 16, the highest 12 of 4,096 pixels are a mean.
    for i, have in enumerate(edge.manifest.evidence.scores):
        over = maps[i] - 0.5 * np.mean([heatmap for j, heatmap in enumerate(maps) if j != i], axis=0)
        assert have == pytest.approx(np.sort(over.ravel())[-12:].mean(), abs=0.02 * maps[i].max())
    expected = Bundle.open(edge.path).baseline
    assert expected is not None
    np.testing.assert_allclose(expected, 0.5 * np.mean(maps, axis=0), rtol=0.02)


@pytest.mark.parametrize("profile", ["edge", "paper"])
def test_an_image_that_is_left_out_is_matched_with_all_others_and_never_with_itself(
    edge: Built, paper: Built, profile: str
) -> None:
    scorer = Scorer.open({"edge": edge, "paper": paper}[profile].path)
    matcher = scorer.matcher
    assert isinstance(matcher, Matcher)
    seen = set()
    for i in range(8):
        others = np.arange(8) != i
        matches = matcher.match_item(i, view=0, allowed=others)
        images = {matches.nearest(row, column).item for row in range(16) for column in range(16)}
        assert i not in images
        seen |= images
        alone = matcher.match_item(i, view=0, allowed=~others)
        assert {alone.nearest(row, column).item for row in range(16) for column in range(16)} == {i}
        assert alone.distances.max() < 1e-2 * matches.distances.max()
    assert len(seen) > 4


def test_neighbours_in_profile_edge_raise_the_threshold(
    edge: Built, model: Path, good_images: Path, tmp_path: Path
) -> None:
    matching = Matching(neighbours=2)
    options = BuildOptions(matching=matching, place="free")
    built = build(good_images, model=model, output=tmp_path / "b.spade", options=options)
    assert built.manifest.matching == Manifest.read(built.path).matching == matching
    kept, every_file = dict(built.manifest.files), dict(edge.manifest.files)
    assert kept.pop("baseline") != every_file.pop("baseline")
    for files in (kept, every_file):  # the golden frames are made from the image with the median score
        for role in [role for role in files if role.startswith("golden") or role in ("left_out", "reach")]:
            del files[role]
    assert kept == every_file  # all images are kept; only fewer are looked at
    for few, every in zip(built.manifest.evidence.of_maps.scores, edge.manifest.evidence.of_maps.scores, strict=True):
        assert few >= every * 0.999
    assert sum(built.manifest.evidence.of_maps.scores) > 1.00001 * sum(edge.manifest.evidence.of_maps.scores)
    result = Scorer.open(built.path)(np.load(good_images / "2.npy"))
    assert result.verdict == "good" and result.heatmap.max() < 1e-3 * built.manifest.threshold.pixel


COMMAND_LINES: dict[str, tuple[list[str], Matching]] = {
    "edge": ([], replace(PROFILES["edge"], search="place", place=1, candidates=6)),
    "any place": (["--place", "free"], PROFILES["edge"]),
    "length": (
        ["--normalisation", "length", "--place", "2"],
        Matching(normalisation="length", search="place", place=2),
    ),
    "no codes": (["--projection", "none"], Matching(projection="none", search="exact")),
    "no codes, exact": (["--projection", "none", "--search", "exact"], Matching(projection="none", search="exact")),
    "codes, exact": (["--search", "exact"], Matching(search="exact")),
    "neighbours": (
        ["--neighbours", "3", "--candidates", "4", "--ef", "9", "--search", "hnsw"],
        Matching(neighbours=3, candidates=4, ef=9),
    ),
    "all of the paper's": (
        ["--profile", "paper", "--neighbours", "all"],
        Matching(projection="none", search="exact", image_score="descriptors"),
    ),
    "the paper in codes": (
        ["--profile", "paper", "--projection", "codes", "--search", "hnsw"],
        Matching(neighbours=50, normalisation="none", image_score="descriptors"),
    ),
}


@pytest.mark.parametrize("case", COMMAND_LINES)
def test_what_a_command_line_builds_and_that_it_scores(
    model: Path, good_images: Path, tmp_path: Path, case: str, part: Frames
) -> None:
    arguments, matching = COMMAND_LINES[case]
    output = tmp_path / "b.spade"
    assert main(["build", f"--model={model}", f"--images={good_images}", f"--output={output}", *arguments]) == 0
    manifest = Manifest.read(output)
    assert manifest.matching == matching
    assert ("key_weights" in manifest.files) == (matching.projection == "codes")
    assert ("index" in manifest.files) == (matching.projection == "codes" and matching.place is None)
    assert ("keys" in manifest.files) == (matching.place is not None)
    scorer = Scorer.open(output)
    assert scorer(np.load(good_images / "1.npy")).verdict == "good"
    # The global descriptor of a random network hardly changes with a small flaw.
    noise = np.random.default_rng(0).integers(30, 150, (96, 80, 3), np.uint8)
    bad = part(33, flaw=True) if matching.image_score == "map" else noise
    assert scorer(bad).verdict == ("defect" if matching.image_score == "map" else "cannot_judge")


@pytest.mark.parametrize("arguments", [["--projection", "none"], ["--profile", "paper"]])
def test_an_index_is_not_searched_without_codes(
    model: Path, good_images: Path, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "b.spade"
    line = ["build", f"--model={model}", f"--images={good_images}", f"--output={output}", *arguments]
    assert main([*line, "--search", "hnsw"]) == 2
    assert "expected --search exact with --projection none, found hnsw" in capsys.readouterr().err
    with pytest.raises(UsageError, match="--search exact with --projection none"):
        Matching(projection="none")
    assert list(tmp_path.iterdir()) == []


def test_features_that_are_not_coded_are_not_normalised(
    model: Path, good_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["build", f"--model={model}", f"--images={good_images}", f"--output={tmp_path / 'b.spade'}"]
    for profile in (["--projection", "none"], ["--profile", "paper"]):
        assert main([*line, *profile, "--normalisation", "root"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert Matching(projection="none", search="exact").normalisation == "none"


@pytest.mark.parametrize("profile", ["edge", "paper"])
def test_the_size_is_known_beforehand(model: Path, good_images: Path, tmp_path: Path, profile: str) -> None:
    plans = []
    built = build(
        good_images,
        model=model,
        output=tmp_path / "b.spade",
        options=BuildOptions(profile=profile, place="free"),
        announce=plans.append,
    )
    assert plans[0].size == pytest.approx(built.manifest.size, rel=0.01)
    network = built.manifest.files["model"].size
    assert plans[0].size - network == pytest.approx(built.manifest.size - network, rel=0.02)
    payload = [path for path in built.path.iterdir() if path.suffix in (".npy", ".onnx", ".hnsw")]
    assert built.manifest.size == sum(path.stat().st_size for path in payload)
    others = {path.name for path in built.path.iterdir()} - {path.name for path in payload}
    assert others == {FILE, HISTORY, "log.jsonl"}


def test_deviations_from_the_paper_are_recorded(paper: Built, edge: Built) -> None:
    assert paper.manifest.deviations == (
        "backbone three_convolutions (paper: wide_resnet50_2)",
        "view 64x64, the whole frame (paper: 224x224, the middle of 256x256)",
        "global descriptor from level 3 (paper: level 4)",
    )
    assert edge.manifest.deviations[2:] == (
        "image score from the map (paper: from global descriptors)",
        "features as 7-bit codes (paper: float32)",
        "features of each level as square roots of length 1 (paper: as they are)",
        "HNSW search over cells (paper: exact)",
        "neighbours all (paper: 50)",
    )
    assert json.loads((edge.path / FILE).read_text())["deviations"] == list(edge.manifest.deviations)


def test_a_rebuild_switches_over_in_one_step_and_keeps_the_former(
    model: Path, good_images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "b.spade"
    first = build(good_images, model=model, output=output)
    frame = np.load(good_images / "1.npy")
    running = Scorer.open(output)
    before = running(frame).heatmap
    fewer = tmp_path / "fewer"
    shutil.copytree(good_images, fewer)
    (fewer / "0.npy").unlink()
    second = build(fewer, model=model, output=output)
    assert second.former is not None and second.former.parent == output / HISTORY
    assert len(Manifest.read(output).names) == 7
    assert np.array_equal(running(frame).heatmap, before)  # a scorer that is running keeps what it opened
    shutil.copyfile(second.former, output / FILE)  # back again, as the documents say
    assert Manifest.read(output) == first.manifest
    assert np.array_equal(Scorer.open(output)(frame).heatmap, before)


def test_building_twice_gives_the_same_files(
    model: Path, good_images: Path, tmp_path: Path, edge: Built, paper: Built
) -> None:
    for built in (edge, paper):
        profile = built.manifest.profile
        again = build(
            good_images,
            model=model,
            output=tmp_path / f"{profile}.spade",
            options=BuildOptions(profile=profile, threads=1, place="free"),
        )
        assert again.manifest.files == built.manifest.files
        assert replace(again.manifest.threshold, set="") == replace(built.manifest.threshold, set="")
        assert again.manifest.limits == built.manifest.limits
        before, after = contents(built.path), contents(again.path)
        for files in (before, after):  # the time of the build stands there
            for name in [name for name in files if name in (FILE, LOG) or name.startswith(HISTORY)]:
                del files[name]
        assert before == after


LOOPS = [
    "reading images",
    "fitting the coding",
    "extracting features",
    "where parts lie",
    "indexing cells",
    "leave-one-out",
]


@pytest.mark.parametrize("fails", [*LOOPS, "accepted", "add_golden", "publish"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_build_that_dies_leaves_what_was_there(
    tiny_model: Path,
    textures: Path,
    tmp_path: Path,
    with_views: Callable[[str], Built],
    monkeypatch: pytest.MonkeyPatch,
    fails: str,
    existing: bool,
) -> None:
    output = tmp_path / "b.spade"
    if existing:
        shutil.copytree(with_views("shared").path, output)
    before = contents(tmp_path)

    def die(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    def progress(items: Iterable[Any], label: str) -> Iterable[Any]:
        for number, item in enumerate(items):
            if (number and label == fails) or label == fails == "indexing cells":  # not the first: something is there
                die()
            yield item

    if fails not in LOOPS:
        monkeypatch.setattr(sys.modules["spade_edge.galleries.builder"], fails, die)
    with pytest.raises(DataError, match=r"b\.spade: .* No space left on device"):
        options = BuildOptions(place="auto" if fails == "where parts lie" else "free")
        build(textures, model=tiny_model, output=output, options=options, progress=progress)
    assert contents(tmp_path) == before
    assert output.exists() == existing


def test_a_killed_build_leaves_no_bundle_and_the_next_one_cleans_up(
    model: Path, good_images: Path, tmp_path: Path
) -> None:
    script = (
        "import sys, time, pathlib; from spade_edge.galleries import BuildOptions, build\n"
        "def stall(items, label):\n"
        "    for item in items:\n"
        "        if label == 'leave-one-out': print('there', flush=True); time.sleep(60)\n"
        "        yield item\n"
        "images, model, output = map(pathlib.Path, sys.argv[1:])\n"
        "build(images, model=model, output=output, progress=stall)"
    )
    output = tmp_path / "b.spade"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(good_images), str(model), str(output)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline().strip() == b"there"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not output.exists()
    assert any(tmp_path.iterdir())  # the killed build's own folder
    build(good_images, model=model, output=output)
    assert [path.name for path in tmp_path.iterdir()] == ["b.spade"]


def test_bad_images_stop_the_build_or_are_skipped_by_name(model: Path, good_images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(good_images, folder)
    (folder / "zero.png").touch()
    (folder / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png: .*and 1 more of 10.*--skip-bad"):
        build(folder, model=model, output=tmp_path / "b.spade")
    assert not (tmp_path / "b.spade").exists()
    built = build(folder, model=model, output=tmp_path / "b.spade", options=BuildOptions(skip_bad=True))
    assert len(built.manifest.names) == 8
    assert [name for name in ("text.png", "zero.png") if any(name in line for line in built.skipped)] == [
        "text.png",
        "zero.png",
    ]


@pytest.mark.parametrize("change", ["deleted", "another picture"])
def test_images_that_vanish_or_change_after_they_were_read_cost_no_work(
    model: Path, good_images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(good_images, folder)
    np.save(folder / "early.npy", np.load(folder / "0.npy"))

    def progress(items: Sequence[Any], label: str) -> Iterable[Any]:
        if label == "reading images":
            (folder / "early.npy").unlink()
        else:
            for path in folder.rglob("*.npy"):
                if change == "deleted":
                    path.unlink()
                else:
                    np.save(path, np.zeros((96, 80, 3), np.uint8))
        return items

    built = build(
        folder, model=model, output=tmp_path / "b.spade", options=BuildOptions(exclude=("0.npy",)), progress=progress
    )
    names = sorted(path.relative_to(good_images).as_posix() for path in good_images.rglob("*.npy"))
    assert sorted(built.manifest.names) == names and len(built.skipped) == 1 and "early.npy" in built.skipped[0]
    assert "changed or disappeared after it was read" in caplog.text
    golden = Bundle.open(built.path).golden
    assert golden is not None
    canvas = built.manifest.canvas
    assert np.array_equal(golden.frames, golden_frames(np.load(good_images / "1.npy"), canvas))


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_images_are_found_through_links_and_under_names_of_any_bytes(
    model: Path, good_images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(good_images, folder)
    (folder / "1.npy").rename(folder / os.fsdecode(b"Pr\xfcfling.npy"))
    (folder / "nested").rename(tmp_path / "elsewhere")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    built = build(folder, model=model, output=tmp_path / "b.spade")
    assert built.manifest.names == ("0.npy", "2.npy", *(f"{n}.npy" for n in range(4, 8)), "Pr\\xfcfling.npy")
    followed = build(folder, model=model, output=tmp_path / "c.spade", options=BuildOptions(follow_links=True))
    assert sorted({*followed.manifest.names} - {*built.manifest.names}) == ["link/3.npy"]
    assert "changed or disappeared" not in caplog.text


def test_too_few_images_are_refused(model: Path, good_images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    with pytest.raises(DataError, match="expected images"):
        build(folder, model=model, output=tmp_path / "b.spade")
    shutil.copy(good_images / "0.npy", folder)
    with pytest.raises(DataError, match="at least 2 .* found 1"):
        build(folder, model=model, output=tmp_path / "b.spade")
    shutil.copy(good_images / "1.npy", folder)
    assert len(build(folder, model=model, output=tmp_path / "b.spade").manifest.names) == 2


@pytest.mark.parametrize("profile", ["paper", "edge"])
@pytest.mark.parametrize("flat", [True, False])
def test_identical_images_are_refused(model: Path, tmp_path: Path, part: Frames, profile: str, flat: bool) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.npy", "b.npy", "c.npy"):
        np.save(folder / name, np.full((40, 40, 3), 90, np.uint8) if flat else part(0))  # flat: every key is the same
    with pytest.raises(DataError, match="found 3"):
        build(folder, model=model, output=tmp_path / "b.spade", options=BuildOptions(profile=profile))
    assert not (tmp_path / "b.spade").exists()


def test_outputs_that_are_something_else_are_refused(model: Path, good_images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "link to nothing").symlink_to(tmp_path / "nothing")
    before = contents(tmp_path)
    for name in ("file", "folder", "link", "link to nothing"):
        with pytest.raises(UsageError, match="choose another place"):
            build(good_images, model=model, output=tmp_path / name)
    assert contents(tmp_path) == before
    (tmp_path / "empty").mkdir()
    assert build(good_images, model=model, output=tmp_path / "empty").manifest.names


def test_a_model_that_is_none_stops_the_build(good_images: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nonsense")
    for name in ("m.onnx", "absent.onnx"):
        with pytest.raises(ModelError, match="expected"):
            build(good_images, model=tmp_path / name, output=tmp_path / "b.spade")
    assert not (tmp_path / "b.spade").exists()


def test_a_full_disk_is_noticed_before_the_work(
    model: Path, good_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(SpadeError, match="MB of free disk"):
        build(good_images, model=model, output=tmp_path / "b.spade")
