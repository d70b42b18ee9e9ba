"""`spade-edge threshold`: what it shows, what it changes, and that a change is one step with a reason."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run
from evidence import evidence
from numpy.typing import NDArray

from spade_edge.galleries import Built, build, generation_log, staging
from spade_edge.galleries.advice import RATES, deciding
from spade_edge.galleries.conformal import images_needed, limit, lowest_rate, rate_of
from spade_edge.galleries.staging import replace_manifest
from spade_edge.runtime import DataError, Scorer
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, Manifest
from spade_edge.tools.cli.arguments import fraction, not_negative

Frames = Callable[..., NDArray[np.uint8]]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def copy(edge: Built, tmp_path: Path) -> Path:
    """A bundle that may be changed."""
    return Path(shutil.copytree(edge.path, tmp_path / "copy.spade"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, texture: Frames) -> Path:
    """A bundle of 24 good images, of which two are one."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "good").mkdir()
    for seed in range(23):
        np.save(folder / "good" / f"{seed:02d}.npy", texture(seed))
    np.save(folder / "good" / "again.npy", texture(7))
    return build(folder / "good", model=tiny_model, output=folder / "part.spade").path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def payload(folder: Path) -> dict[str, bytes]:
    return {name: raw for name, raw in contents(folder).items() if "/" not in name and name not in (FILE, "log.jsonl")}


def test_it_shows_and_changes_nothing(capsys: Capture, copy: Path, edge: Built) -> None:
    before = contents(copy)
    code, out, err = run(capsys, "threshold", "--bundle", copy)
    assert code == 0 and err == "" and contents(copy) == before
    threshold = edge.manifest.threshold
    lines = out.splitlines()
    assert lines[0] == f"threshold {threshold.score:.6g}: {threshold.sentence()}"
    assert "largest of 8 leave-one-out scores" in lines[1] and threshold.set in lines[1]
    assert lines[2] == f"regions above {threshold.pixel:.6g}"
    rows = [line.split() for line in lines if "certified" in line or "extrapolated" in line][1:]
    assert [row[0] for row in rows] == ["11.11%"]  # eight parts certify 1 in 9, more than any rate that is listed
    assert lines[-2] == "8 parts certify 11.11% at best; 1.0% takes 99, 0.2% takes 499"
    assert lines[-1].endswith("--false-rejects 22.23% --reason TEXT")  # the next one that is certified
    decisive = deciding(edge.manifest)
    assert decisive is not None and decisive.without == sorted(edge.manifest.evidence.scores)[-2]
    assert decisive.image.score == threshold.score and f"the score of {decisive.image.name}; without" in out


def test_it_lists_what_other_rates_come_to(capsys: Capture, many: Path) -> None:
    code, out, _ = run(capsys, "threshold", "--bundle", many)
    manifest = Manifest.read(many)
    parts = manifest.evidence
    assert code == 0 and manifest.threshold.parts == 23 and parts.groups[7] == parts.groups[23]
    assert "24 images or frames show 23 different parts" in out and "23 parts certify 4.17% at best" in out
    rows = [line.split() for line in out.splitlines() if line.removesuffix(" (in force)").endswith(("fied", "lated"))]
    wanted = sorted({*RATES, lowest_rate(23)}, reverse=True)
    expected = [limit(parts, rate=rate) for rate in wanted]
    for row in rows:
        (found,) = {one for one in expected if f"{one.rate:.2%}" == row[0]}
        assert float(row[1]) == pytest.approx(found.value, rel=1e-5) and found.basis in row
        assert row[2:5] == [f"{found.interval[0]:.2%}", "to", f"{found.interval[1]:.2%}"]
    assert [float(row[1]) for row in rows] == sorted({float(f"{one.value:.6g}") for one in expected})
    assert f"1.0% takes {images_needed(0.01)}" in out


def test_json_has_all_of_it(capsys: Capture, many: Path) -> None:
    code, out, err = run(capsys, "threshold", "--bundle", many, "--json")
    value, manifest = json.loads(out), Manifest.read(many)
    assert code == 0 and err == "" and out.count("\n") == 1
    options, decisive = value.pop("options"), value.pop("deciding")
    assert tuple(value.pop("scores")) == manifest.evidence.scores
    assert tuple(value.pop("groups")) == manifest.evidence.groups
    assert value == json.loads(json.dumps(manifest.threshold.to_json()))
    assert set(decisive) == {"image", "without"} and decisive["without"] < value["score"]
    for option in options:
        assert set(option) == {"rate", "score", "basis", "interval"} and len(option["interval"]) == 2
    scores = [option["score"] for option in options]
    assert scores == sorted(set(scores))


Change = tuple[list[object], Callable[[dict[str, Any], dict[str, Any]], None]]


def by_rate(before: dict[str, Any], after: dict[str, Any]) -> None:
    expected = limit(evidence(before["scores"]), rate=0.25)
    assert (after["score"], after["rate"], after["basis"]) == (expected.value, expected.rate, "certified")
    assert after["interval"] == list(expected.interval)
    assert after["pixel"] == limit(evidence(before["peaks"]), rate=0.25).value and after["area"] == before["area"]
    assert after["method"].endswith(" largest of 8 leave-one-out scores of good images")


def by_score(before: dict[str, Any], after: dict[str, Any]) -> None:
    rate, interval = rate_of(evidence(before["scores"]), 4.5)
    assert (after["score"], after["basis"], after["rate"]) == (4.5, "manual", rate)
    assert after["interval"] == list(interval) and after["pixel"] == before["pixel"]


def by_pixel(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert after["pixel"] == 3.25
    for name in ("score", "rate", "basis", "interval", "method", "area"):
        assert after[name] == before[name]


def by_area(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert after["area"] == 12.5
    same = {"area": 0, "set": "", "reason": "", "scores": (), "peaks": ()}
    assert {**after, **same} == {**before, **same}


def by_all(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert (after["score"], after["pixel"], after["area"], after["basis"]) == (7.0, 8.0, 3.0, "manual")


def by_rate_and_area(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert after["score"] == limit(evidence(before["scores"]), rate=0.25).value and after["area"] == 4


CHANGES: dict[str, Change] = {
    "a rate": (["--false-rejects", "0.25"], by_rate),
    "a rate in percent": (["--false-rejects", "25%"], by_rate),
    "a score": (["--score", 4.5], by_score),
    "a pixel": (["--pixel", "3.25"], by_pixel),
    "an area": (["--min-area", "12.5"], by_area),
    "score, pixel and area": (["--score", 7, "--pixel", 8, "--min-area", 3], by_all),
    "a rate and an area": (["--false-rejects", "25 %", "--min-area", 4], by_rate_and_area),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_one_step_and_keeps_the_former(capsys: Capture, copy: Path, part: Frames, change: str) -> None:
    arguments, check = CHANGES[change]
    former_text, files = (copy / FILE).read_bytes(), payload(copy)
    running = Scorer.open(copy)
    frame = part(30, flaw=True)
    before = running(frame)
    code, out, err = run(
        capsys, "threshold", "--bundle", copy, *arguments, "--reason", "  the foreman's ‘wish’  ", "--json"
    )
    assert code == 0
    old, new = json.loads(former_text)["threshold"], json.loads((copy / FILE).read_bytes())["threshold"]
    parts = running.bundle.manifest.evidence
    check(old | {"scores": parts.scores, "peaks": parts.of_maps.scores}, new)
    assert new["reason"] == "the foreman's ‘wish’" and new["set"] >= old["set"] and new["set"].endswith("+00:00")
    told = json.loads(out)
    assert {name: told[name] for name in new} == new
    # Only the threshold has changed; the payload is as it was; the former manifest is kept; nothing else lies about.
    manifest, former = json.loads((copy / FILE).read_bytes()), json.loads(former_text)
    assert {**manifest, "threshold": None} == {**former, "threshold": None}
    assert payload(copy) == files
    kept, own = sorted((copy / HISTORY).iterdir())
    assert own.read_bytes() == (copy / FILE).read_bytes()
    assert kept.read_bytes() == former_text and str(kept) in err and err.count("\n") == 1
    assert not list(copy.glob(".building*"))
    # What was open goes on as before; what is opened now goes by the new one.
    again, now = running(frame), Scorer.open(copy)(frame)
    assert (again.threshold, again.score, again.regions) == (before.threshold, before.score, before.regions)
    assert now.threshold == new["score"] and now.score == before.score
    assert now.verdict == ("defect" if now.score > new["score"] else "good")
    assert all(region.area >= new["area"] for region in now.regions) or now.verdict == "defect"


def test_changes_follow_each_other_and_can_be_taken_back(capsys: Capture, copy: Path) -> None:
    first = (copy / FILE).read_bytes()
    for number in range(3):
        assert run(capsys, "threshold", "--bundle", copy, "--score", 10 + number, "--reason", f"step {number}")[0] == 0
    history = sorted((copy / HISTORY).iterdir())
    assert [path.name[:5] for path in history] == ["0001-", "0002-", "0003-", "0004-"]
    reasons = [json.loads(path.read_bytes())["threshold"]["reason"] for path in history]
    assert reasons == ["", "step 0", "step 1", "step 2"] and history[0].read_bytes() == first
    shutil.copyfile(history[0], copy / FILE)
    assert Bundle.open(copy).manifest.threshold.reason == ""
    # And a rate undoes what was set manually: the scores of the good images are still there.
    run(capsys, "threshold", "--bundle", copy, "--score", 99, "--reason", "x")
    assert run(capsys, "threshold", "--bundle", copy, "--false-rejects", "12%", "--reason", "as it was")[0] == 0
    one, other = json.loads(first)["threshold"], json.loads((copy / FILE).read_bytes())["threshold"]
    same = {"set": "", "reason": "", "wanted": None}
    assert {**one, **same} == {**other, **same}


def test_what_is_printed_after_a_change(capsys: Capture, copy: Path) -> None:
    code, out, _ = run(capsys, "threshold", "--bundle", copy, "--score", 7, "--min-area", 5, "--reason", "small dust")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("threshold 7: set manually; ") and lines[1].endswith(": small dust")
    assert lines[2].endswith(", of 5 pixels or more")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("reason", [[], ["--reason", ""], ["--reason", "  "]])
def test_a_change_needs_a_reason(capsys: Capture, copy: Path, change: str, reason: list[str]) -> None:
    before = contents(copy)
    code, out, err = run(capsys, "threshold", "--bundle", copy, *CHANGES[change][0], *reason)
    assert code == 2 and out == "" and err.count("\n") == 1 and "expected a reason" in err
    assert contents(copy) == before


REFUSED: dict[str, tuple[list[object], int, str]] = {
    "a rate and a score": (
        ["--false-rejects", "20%", "--score", 5],
        2,
        "expected a rate or manual values, found both",
    ),
    "a rate and a pixel": (
        ["--false-rejects", "20%", "--pixel", 5],
        2,
        "expected a rate or manual values, found both",
    ),
    "a rate too low": (["--false-rejects", "1%"], 2, "at least 0.111, which 8 parts certify, found 0.01"),
    "a rate of 0": (["--false-rejects", "0"], 2, "expected a fraction such as 0.01 or 1%, found '0'"),
    "a rate of 1": (["--false-rejects", "100%"], 2, "expected a fraction"),
    "a rate of letters": (["--false-rejects", "few"], 2, "expected a fraction"),
    "a rate of nothing": (["--false-rejects", "%"], 2, "expected a fraction"),
    "a rate that is NaN": (["--false-rejects", "nan"], 2, "expected a fraction"),
    "a score of letters": (["--score", "x"], 2, "--score"),
    "a score that is NaN": (["--score", "nan"], 2, "expected a finite number as the threshold, found nan"),
    "a score without end": (["--score", "inf"], 2, "expected a finite number as the threshold, found inf"),
    "a pixel of 0": (["--pixel", "0"], 2, "expected a pixel threshold over 0, found 0"),
    "a negative pixel": (["--pixel", "-3"], 2, "expected a pixel threshold over 0, found -3"),
    "a negative area": (["--min-area", "-1"], 2, "expected a number of 0 or more, found '-1'"),
    "an area without end": (["--min-area", "inf"], 2, "expected a number of 0 or more"),
    "an area that is NaN": (["--min-area", "nan"], 2, "expected a number of 0 or more"),
    "no change": ([], 2, "found none; give --false-rejects, --score, --pixel or --min-area"),
    "no bundle given": ([], 2, "--bundle"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(capsys: Capture, copy: Path, mistake: str) -> None:
    arguments, code, says = REFUSED[mistake]
    before = contents(copy)
    bundle = [] if mistake == "no bundle given" else ["--bundle", copy]
    found, out, err = run(capsys, "threshold", *bundle, *arguments, "--reason", "x")
    assert (found, out) == (code, "") and err.count("\n") == 1 and says in err
    assert contents(copy) == before


def test_damaged_bundles(capsys: Capture, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "absent", tmp_path / "empty", copy / FILE):
        for change in ([], ["--score", 5, "--reason", "x"]):
            code, out, err = run(capsys, "threshold", "--bundle", path, *change)
            assert code == 3 and out == "" and err.count("\n") == 1 and "expected a bundle folder" in err
    assert list((tmp_path / "empty").iterdir()) == [] and not (tmp_path / "absent").exists()
    whole = (copy / FILE).read_text()
    for text in ("", "{", whole[:-100], whole.replace('"certified"', '"guessed"')):
        (copy / FILE).write_text(text)
        code, out, err = run(capsys, "threshold", "--bundle", copy, "--score", 5, "--reason", "x")
        assert code == 3 and out == "" and err.count("\n") == 1 and "manifest.json" in err
        assert (copy / FILE).read_text() == text


def test_a_link_to_a_bundle_is_followed(capsys: Capture, copy: Path, tmp_path: Path) -> None:
    """The live bundle is often a link that is switched from one version to the next."""
    (tmp_path / "current").symlink_to(copy, target_is_directory=True)
    assert run(capsys, "threshold", "--bundle", tmp_path / "current")[0] == 0
    code, _, err = run(capsys, "threshold", "--bundle", tmp_path / "current", "--score", 5, "--reason", "x")
    assert code == 0, err
    assert Manifest.read(copy).threshold.score == 5 and (tmp_path / "current").is_symlink()


def test_a_bundle_in_the_current_folder(capsys: Capture, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy)
    assert run(capsys, "threshold", "--bundle", ".", "--score", 5, "--reason", "x")[0] == 0
    assert Manifest.read(copy).threshold.score == 5 and not list(copy.parent.glob(".building*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_bundle_that_cannot_be_written(capsys: Capture, copy: Path) -> None:
    copy.chmod(0o555)
    try:
        assert run(capsys, "threshold", "--bundle", copy)[0] == 0
        code, _, err = run(capsys, "threshold", "--bundle", copy, "--score", 5, "--reason", "x")
    finally:
        copy.chmod(0o755)
    assert code == 3 and err.count("\n") == 1 and "expected a place that can be written" in err


@pytest.mark.parametrize("fails", ["switch", "flush", "own_folder", "keep", "Path.replace"])
def test_a_change_that_dies_leaves_what_was_there(copy: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    manifest = Manifest.read(copy)
    before = contents(copy)

    def die(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"{staging.__name__}.{fails}", die)
    with pytest.raises(DataError, match="No space left on device"):
        replace_manifest(copy, manifest, generation_log.Change("threshold", "x"), before=manifest)
    monkeypatch.undo()
    left = {name: raw for name, raw in contents(copy).items() if not name.startswith((HISTORY, "log.jsonl"))}
    before = {name: raw for name, raw in before.items() if not name.startswith((HISTORY, "log.jsonl"))}
    assert left == before and not list(copy.glob(".building*"))
    assert Manifest.read(copy) == manifest


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, texture: Frames) -> Path:
    """Two good images, and the bundle built from them."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "good").mkdir()
    for seed in range(2):
        np.save(folder / "good" / f"{seed}.npy", texture(seed))
    build(folder / "good", model=tiny_model, output=folder / "part.spade")
    return folder


def test_two_images_certify_a_third_and_no_less(capsys: Capture, two: Path) -> None:
    code, out, _ = run(capsys, "threshold", "--bundle", two / "part.spade")
    assert code == 0 and "at most 33.33%" in out and "2 parts certify 33.33% at best" in out
    code, _, err = run(capsys, "threshold", "--bundle", two / "part.spade", "--false-rejects", "30%", "--reason", "x")
    assert code == 2
    assert "at least 0.333, which 2 parts certify, found 0.3; take images of 3 parts for that, or of 10" in err
    shutil.copytree(two / "part.spade", two / "copy.spade")
    line = ["threshold", "--bundle", two / "copy.spade", "--false-rejects", "50%", "--reason", "x"]
    assert run(capsys, *line)[0] == 0
    assert Manifest.read(two / "copy.spade").threshold.rate == pytest.approx(1 / 3)


def test_build_takes_a_rate_and_an_area(
    capsys: Capture, tiny_model: Path, textures: Path, tmp_path: Path, two: Path
) -> None:
    line = ["build", "--model", tiny_model, "--images", textures, "--output", tmp_path / "b.spade"]
    code, out, _ = run(capsys, *line, "--false-rejects", "30%", "--min-area", "6.5", "--json")
    told, manifest = json.loads(out), Manifest.read(tmp_path / "b.spade")
    threshold, parts = manifest.threshold, manifest.evidence
    assert code == 0 and threshold.area == 6.5
    assert threshold.score == sorted(parts.scores)[4] == told["threshold"] and threshold.rate == pytest.approx(2 / 7)
    assert told["false_rejects"] == threshold.rate and told["basis"] == "certified"
    assert told["pixel_threshold"] == sorted(parts.of_maps.scores)[4] and told["interval"] == list(threshold.interval)
    for arguments, code, says in (
        (["--false-rejects", "1%"], 2, "6 parts certify, found 0.01; take images of 99 parts"),
        (["--false-rejects", "0"], 2, "expected a fraction"),
        (["--min-area", "-1"], 2, "expected a number of 0 or more"),
        (["--false-rejects", "1%", "--images", two / "good"], 2, "2 parts certify"),
    ):
        found, out, err = run(capsys, *line[:-1], tmp_path / "new.spade", *arguments)
        assert (found, out) == (code, "") and says in err and err.count("\n") == 1  # nothing was begun
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.spade"]


def test_build_names_what_it_counts_once(capsys: Capture, tiny_model: Path, textures: Path, tmp_path: Path) -> None:
    shutil.copytree(textures, tmp_path / "good")
    shutil.copy(textures / "2.npy", tmp_path / "good" / "zwei.npy")
    line = ["build", "--model", tiny_model, "--images", tmp_path / "good", "--output", tmp_path / "b.spade"]
    code, out, err = run(capsys, *line, "--json")
    assert code == 0
    assert "these images show the same part and count as one in the false-reject rate: 2.npy, zwei.npy" in err
    assert json.loads(out)["repeats"] == [["2.npy", "zwei.npy"]] and json.loads(out)["images"] == 7
    assert json.loads(out)["false_rejects"] == pytest.approx(1 / 7)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.01", 0.01), ("1%", 0.01), ("0.5%", 0.005), ("0.5 %", 0.005), ("99.9%", 0.999), ("1e-3", 0.001), (".5", 0.5)],
)
def test_shares_are_numbers_or_percent(text: str, value: float) -> None:
    assert fraction(text) == pytest.approx(value)


def test_areas_are_numbers_from_0() -> None:
    assert [not_negative(text) for text in ("0", "0.0", "12", "2.5", "1e3")] == [0, 0, 12, 2.5, 1000]
