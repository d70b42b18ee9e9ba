"""`spade-edge gallery` and `spade-edge calibrate`: what they print, and what they refuse in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime.bundle.manifest import Manifest

Capture = pytest.CaptureFixture[str]
Frames = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def copy(edge: Built, tmp_path: Path) -> Path:
    """A bundle that may be changed."""
    return Path(shutil.copytree(edge.path, tmp_path / "copy.spade"))


def test_the_list_has_one_object_a_line_in_the_gallerys_order(capsys: Capture, copy: Path) -> None:
    code, out, err = run(capsys, "gallery", "list", "--bundle", copy, "--json")
    assert code == 0 and err == ""
    listed = [json.loads(line) for line in out.splitlines()]
    manifest = Manifest.read(copy)
    assert [item["name"] for item in listed] == list(manifest.names)
    for item, image in zip(listed, manifest.images, strict=True):
        assert list(item) == ["name", "group", "included", "untypical", "score", "reason", "taught"]
        assert (item["score"], item["group"], item["included"]) == (image.score, image.group, True)
        assert (item["untypical"], item["reason"]) == (image.untypical, image.remark)


def test_the_list_for_people_begins_with_the_least_typical(capsys: Capture, copy: Path) -> None:
    run(capsys, "gallery", "exclude", "--bundle", copy, "2.npy", "--reason", "scratched")
    code, out, _ = run(capsys, "gallery", "list", "--bundle", copy)
    lines = out.splitlines()
    assert (
        code == 0
        and len(lines) == 10
        and lines[-1].startswith("7 of 8 images are included and show 7 different parts;")
    )
    assert not any(line.split()[0] == "-0.00" for line in lines)
    values = [float(line.split()[0]) for line in lines[1:-1]]
    assert values == sorted(values, reverse=True)
    (excluded,) = [line for line in lines if "EXCLUDED" in line]
    assert "2.npy" in excluded and excluded.endswith("EXCLUDED: scratched")


def test_excluding_and_including_say_what_became_of_the_threshold(capsys: Capture, copy: Path) -> None:
    before = Manifest.read(copy)
    line = ["--bundle", copy, "2.npy", "4.npy"]
    code, out, err = run(capsys, "gallery", "exclude", *line, "--reason", "scratched", "--json")
    told, after = json.loads(out), Manifest.read(copy)
    assert code == 0 and told["changed"] == ["2.npy", "4.npy"] and (told["included"], told["excluded"]) == (6, 2)
    assert told["former_threshold"] == before.threshold.score
    assert told["threshold"] == json.loads(json.dumps(after.threshold.to_json()))
    assert "the former bundle is kept" in err
    code, out, _ = run(capsys, "gallery", "include", *line)
    assert code == 0 and out.startswith("included 2.npy, 4.npy; 8 of 8 images are included; threshold ")
    assert f"→ {before.threshold.score:.6g}: at most 11.11%" in out


def test_the_place_is_changed_there_and_back(capsys: Capture, copy: Path) -> None:
    before = Manifest.read(copy)
    code, out, err = run(capsys, "gallery", "place", "--bundle", copy, "1", "--json")
    told, after = json.loads(out), Manifest.read(copy)
    assert code == 0 and after.matching == before.matching.placed(1) and told["changed"] == []
    assert told["former_threshold"] == before.threshold.score
    assert told["threshold"] == json.loads(json.dumps(after.threshold.to_json()))
    assert after.place.reason in err.splitlines()
    code, out, _ = run(capsys, "gallery", "place", "--bundle", copy, "free")
    assert code == 0 and f" {before.threshold.score:.6g}: " in out
    assert Manifest.read(copy).files == before.files


def test_a_page_is_not_written_over_a_file(capsys: Capture, copy: Path) -> None:
    file = copy / "manifest.json"
    before = file.read_bytes()
    code, out, err = run(capsys, "gallery", "review", "--bundle", copy, file)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "found a file; choose another" in err
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["exclude", "2.npy"], 2, "expected a reason"),
        (["exclude", "none.npy", "--reason", "x"], 2, "found 'none.npy'"),
        (["include", "2.npy"], 2, "which is included already"),
        (["exclude"], 2, "NAME"),
        (["place", "near"], 2, "expected a place of auto, free or 0 to 64 cells"),
        (["place"], 2, "auto|free|N"),
        (["wipe"], 2, "invalid choice"),
        ([], 2, "VERB"),
    ],
)
def test_mistakes_are_one_line(capsys: Capture, copy: Path, arguments: list[str], code: int, says: str) -> None:
    text = (copy / "manifest.json").read_bytes()
    verb, rest = arguments[:1], arguments[1:]
    found, out, err = run(capsys, "gallery", *verb, *(["--bundle", copy] if verb else []), *rest)
    assert (found, out) == (code, "") and says in err and err.count("\n") == 1
    assert (copy / "manifest.json").read_bytes() == text


def test_build_takes_groups_exclusions_and_writes_a_review(
    capsys: Capture, model: Path, good_images: Path, tmp_path: Path
) -> None:
    (tmp_path / "out.txt").write_text("2.npy\n\n  4.npy\n")
    output = tmp_path / "b.spade"
    code, out, err = run(
        capsys, "build", "--model", model, "--images", good_images, "--output", output, "--groups", "folder",
        "--exclude", tmp_path / "out.txt", "6.npy", "--review", tmp_path / "review", "--json",
    )  # fmt: skip
    told, manifest = json.loads(out), Manifest.read(output)
    assert code == 0 and told["images"] == 8 and told["parts"] == manifest.threshold.parts == 5
    assert [image.name for image in manifest.images if not image.included] == ["2.npy", "4.npy", "6.npy"]
    assert (tmp_path / "review" / "index.html").is_file() and "index.html: open it" in err
    assert run(
        capsys,
        "build",
        "--model",
        model,
        "--images",
        good_images,
        "--output",
        tmp_path / "d.spade",
        "--exclude",
        "2.npy",
    )[1].startswith(f"{tmp_path / 'd.spade'}: 7 good images and 1 excluded, ")
    line = ["build", "--model", model, "--images", good_images, "--output", tmp_path / "c.spade"]
    for arguments, code, says in (
        (["--exclude", "nine.npy"], 2, "found 'nine.npy', which is none"),
        (["--exclude", tmp_path / "absent.txt"], 3, "found: No such file or directory"),
        (["--groups", "("], 2, "--groups ("),
        (["--place", "65"], 2, "0 to 64 cells"),
        (["--search", "hnsw", "--place", "1"], 2, "--place free"),
        (["--review", tmp_path / "out.txt"], 2, "expected a folder for --review, found a file"),
        (["--review", tmp_path / "out.txt" / "page"], 3, "expected a folder that can be written"),
        (["--groups", "no such name"], 2, "expected an expression that matches"),
        (["--groups", tmp_path / "absent.csv"], 3, "absent.csv"),
        (["--exclude", "0.npy", "1.npy", "2.npy", "4.npy", "5.npy", "6.npy", "7.npy"], 3, "at least 2 different parts"),
    ):
        found, out, err = run(capsys, *line, *arguments)
        assert (found, out) == (code, "") and says in err.splitlines()[-1], err
        assert not (tmp_path / "c.spade").exists()


def test_calibrate_says_whether_the_promise_holds(capsys: Capture, copy: Path, part: Frames, tmp_path: Path) -> None:
    for name, flaw in (("good", False), ("bad", True)):
        (tmp_path / name).mkdir()
        for seed in range(60, 72):
            np.save(tmp_path / name / f"{seed}.npy", part(seed, flaw=flaw))
    code, out, _ = run(capsys, "calibrate", "--bundle", copy, tmp_path / "good", "--json")
    told = json.loads(out)
    assert code == 0 and told["parts"] == 12 and len(told["frames"]) == 12 and told["threshold"] is None
    assert told["promised"] == pytest.approx(1 / 9) and told["kept"] == (told["p"] >= 0.05)
    code, out, _ = run(capsys, "calibrate", "--bundle", copy, tmp_path / "bad")
    assert code == 0 and "found: 12 of 12 rejected" in out and "the promise is NOT kept" in out and "HIGHER" in out
    code, out, err = run(
        capsys, "calibrate", "--bundle", copy, tmp_path / "good", "--certify", "frames", "--false-rejects", "20%",
        "--reason", "new lamp",
    )  # fmt: skip
    threshold = Manifest.read(copy).threshold
    assert code == 0 and "the former threshold is kept in" in err and f"→ {threshold.score:.6g}: " in out
    assert threshold.rate == pytest.approx(2 / 13) and threshold.source == "frames"
    for arguments, code in (
        (["--certify", "frames"], 2),
        (["--certify", "all"], 2),
        (["--false-rejects", "1%"], 2),
        (["--reason", "x"], 2),
    ):
        found, out, err = run(capsys, "calibrate", "--bundle", copy, tmp_path / "good", *arguments)
        assert (found, out) == (code, "") and err.splitlines()[-1].startswith("spade-edge"), err
