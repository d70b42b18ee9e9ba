"""The commands with images at addresses: as a user types them, and with images that were spoilt."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from object_stores import S3, refusing

from spade_edge.galleries import Built
from spade_edge.tools.cli.main import main
from spade_edge.tools.datasets import Entry, write_dataset


@pytest.fixture
def spade_edge(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line; gives exit code, stdout and stderr. No line may name a copy."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(each) for each in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        assert "rooms" not in out + err and "Traceback" not in err, (out, err)
        return code, out, err

    return run


Run = Callable[..., tuple[int, str, str]]


def write(folder: Path, images: dict[str, NDArray[np.uint8]]) -> Path:
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), image)
    return folder


# spade-edge dataset


def listed(file: Path, address: str, *, label: str) -> Path:
    """A dataset of one image."""
    write_dataset(file, [Entry("x.png", address, "0" * 64, 1, label=label)])
    return file


def test_scan_verify_and_diff(spade_edge: Run, parts: Path, bucket: str, s3: S3, tmp_path: Path) -> None:
    file = tmp_path / "bolts.jsonl"
    code, out, err = spade_edge(
        "dataset", "scan", bucket, file, "--groups", "folder", "--label", "good", "--camera", "a"
    )
    assert code == 0 and re.fullmatch(rf"{file}: 10 images, 0\.\d MB; 2 groups; labelled good \(10\)\n", out)
    assert "left out 1 .mp4 file" in err
    code, out, _ = spade_edge("dataset", "scan", bucket, file, "--json", "--label", "folder")
    assert code == 0 and json.loads(out) == {
        "file": str(file),
        "images": 10,
        "bytes": sum(path.stat().st_size for path in parts.glob("*/*.png")),
        "groups": 0,
        "labels": {"left": 6, "right ü": 4},
    }
    assert spade_edge("dataset", "verify", file)[:2] == (0, "10 of 10 images are as the dataset says\n")
    s3.delete(f"{bucket}/left/1.png")
    s3.put(f"{bucket}/left/2.png", (parts / "left" / "2.png").read_bytes()[:-7])
    code, out, _ = spade_edge("dataset", "verify", file)
    assert code == 3 and out.splitlines() == [
        f"{bucket}/left/1.png: expected a file, found none",
        f"{bucket}/left/2.png: expected {(parts / 'left' / '2.png').stat().st_size} bytes, "
        f"found {(parts / 'left' / '2.png').stat().st_size - 7}; it has been changed",
        "8 of 10 images are as the dataset says",
    ]
    code, out, _ = spade_edge("dataset", "verify", file, "--json")
    assert code == 3 and (found := json.loads(out))["same"] == 8
    assert [fault["name"] for fault in found["faults"]] == ["left/1.png", "left/2.png"]
    new = tmp_path / "new.jsonl"
    assert spade_edge("dataset", "scan", bucket, new, "--label", "good")[0] == 0
    code, out, _ = spade_edge("dataset", "diff", file, new)
    lines = out.splitlines()
    assert code == 0 and lines[:4] == ["removed: 1", "  left/1.png", "changed content: 1", "  left/2.png"]
    assert lines[4] == "said otherwise: 9" and lines[5] == "  left/2.png: label 'left' → 'good'"
    code, out, _ = spade_edge("dataset", "diff", file, new, "--json")
    assert code == 0 and json.loads(out)["removed"] == ["left/1.png"] and len(json.loads(out)["said"]) == 9
    assert spade_edge("dataset", "diff", new, new)[:2] == (0, "both datasets say the same\n")


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_differs_tells_no_password_and_moves_no_cursor(form: str, spade_edge: Run, tmp_path: Path) -> None:
    old, new = (
        listed(tmp_path / f"{name}.jsonl", f"https://joe:geheim@plant/{name}/x.png", label=label)
        for name, label in (("old", ""), ("new", "\x1b[2Jgood"))
    )
    code, out, err = spade_edge("dataset", "diff", old, new, *(["--json"] if form == "json" else []))
    assert code == 0 and "geheim" not in out + err and "\x1b" not in out
    assert "https://plant/old/x.png" in out and "https://plant/new/x.png" in out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["scan", "TMP/nothing", "TMP/x.jsonl"], 3, "expected a folder of images, found nothing"),
        (["scan", "PARTS", "TMP/x.txt"], 2, "expected a name that ends in .jsonl"),
        (["scan", "PARTS", "TMP/theirs.jsonl"], 2, "a file that spade-edge did not write"),
        (["scan", "PARTS", "TMP/x.jsonl", "--groups", "("], 2, "--groups ("),
        (["scan", "s4://plant/x", "TMP/x.jsonl"], 2, "expected an address such as s3://"),
        (["scan", "", "TMP/x.jsonl"], 2, "expected a path or an address"),
        (["scan", "s3://joe:geheim@plant/x", "TMP/x.jsonl"], 2, "expected an address without user and password"),
        (["verify", "TMP/none.jsonl"], 3, "expected a dataset file, found: No such file"),
        (["verify", "TMP/theirs.jsonl"], 3, "line 1"),
        (["diff", "TMP/theirs.jsonl", "TMP/none.jsonl"], 3, "line 1"),
        (["delete", "x"], 2, "invalid choice"),
        ([], 2, "VERB"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_get_one_line_and_their_exit_code(
    arguments: Sequence[str], code: int, says: str, spade_edge: Run, parts: Path, tmp_path: Path, s3: S3
) -> None:
    (tmp_path / "theirs.jsonl").write_text('{"x": 1}\n', encoding="utf-8")
    places = {"TMP": str(tmp_path), "PARTS": str(parts)}
    given = [re.sub("TMP|PARTS", lambda found: places[found[0]], each) for each in arguments]
    ended, out, err = spade_edge("dataset", *given)
    assert ended == code and out == "" and err.splitlines()[-1].startswith("spade-edge"), (ended, err)
    assert says in err.splitlines()[-1] and "geheim" not in err
    assert not (tmp_path / "x.jsonl").exists()


# The commands that take images


def test_build_takes_addresses_and_names_them(
    spade_edge: Run, parts: Path, bucket: str, s3: S3, model: Path, tmp_path: Path
) -> None:
    build = ("build", "--threads", 1, "--model", model, "--output", tmp_path / "part.spade", "--images")
    code, out, err = spade_edge(*build, bucket, "--review", tmp_path / "review")
    assert code == 0 and "10 good images" in out
    assert f"{bucket}: 10 images found" in err and "left out 1 .mp4 file" in err
    page = (tmp_path / "review" / "index.html").read_text(encoding="utf-8")
    assert "could not be found" not in page and "rooms" not in page
    assert (
        spade_edge("gallery", "review", "--bundle", tmp_path / "part.spade", tmp_path / "again", "--images", bucket)[0]
        == 0
    )
    assert "could not be found" not in (tmp_path / "again" / "index.html").read_text(encoding="utf-8")

    file = tmp_path / "bolts.jsonl"
    assert spade_edge("dataset", "scan", bucket, file, "--label", r"good")[0] == 0
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[0] = lines[0].replace('"good"', '"scratch"')
    lines[1:3] = [line.replace('"label"', '"group": "pair", "label"') for line in lines[1:3]]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, out, err = spade_edge(*build, file)
    assert code == 0 and "9 good images" in out
    manifest = json.loads((tmp_path / "part.spade" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["threshold"]["parts"] == 8
    assert f"{file}: left out 1 of 10 images, which are labelled scratch (1)\n" in err
    code, _, err = spade_edge(*build, file, "--exclude", "left/1.png")
    assert code == 2 and f"{file}: expected names of images to exclude, found 'left/1.png'" in err

    before = (tmp_path / "part.spade" / "manifest.json").read_bytes()
    s3.put(f"{bucket}/left/2.png", b"not what it was")
    for place, says in ((bucket, "left/2.png: expected an image"), (f"{bucket}/nothing", "expected files, found none")):
        code, out, err = spade_edge(*build, place)
        assert code == 3 and out == "" and err.splitlines()[-1].startswith(f"spade-edge: {bucket}/"), err
        assert says in err.splitlines()[-1]
    assert (tmp_path / "part.spade" / "manifest.json").read_bytes() == before


def test_a_server_that_is_down_is_one_line(
    spade_edge: Run, bucket: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        code, out, err = spade_edge("build", "--model", model, "--output", tmp_path / "part.spade", "--images", bucket)
    assert code == 3 and out == "" and err.count("\n") == 1
    assert f"spade-edge: {bucket}: cannot be listed: " in err and "tried 5 times" in err
    assert not (tmp_path / "part.spade").exists()


def test_calibrate_and_evaluate_take_addresses(
    spade_edge: Run, s3: S3, edge: Built, tmp_path: Path, part: Callable[..., NDArray[np.uint8]]
) -> None:
    bucket = s3.bucket()
    held = write(tmp_path / "held", {f"{seed}.png": part(seed) for seed in range(20, 24)})
    (held / "cut.png").write_bytes((held / "20.png").read_bytes()[:-50])
    s3.upload(f"{bucket}/held", held)
    code, out, _ = spade_edge("calibrate", "--threads", 1, "--bundle", edge.path, f"{bucket}/held", "--even-so")
    assert code == 0 and f"{bucket}/held/cut.png: expected a whole image" in out
    flawed = part(31, flaw=True)
    mask = np.zeros(flawed.shape[:2], np.uint8)
    mask[32:46, 20:34] = 255
    images = {f"test/good/{seed}.png": part(seed) for seed in (30, 32)}
    images |= {"test/spot/0.png": flawed, "ground_truth/spot/0_mask.png": mask}
    s3.upload(f"{bucket}/set", write(tmp_path / "set", images))
    s3.put(f"{bucket}/set/test/good/cut.png", b"x")
    evaluate = ("evaluate", "--threads", 1, "--bundle", edge.path, "--dataset", f"{bucket}/set", "--even-so")
    code, out, err = spade_edge(*evaluate, "--json", "--report", tmp_path / "report", "--resume", tmp_path / "kept")
    assert code == 0, err
    found = json.loads(out)
    local = json.loads(
        spade_edge("evaluate", "--bundle", edge.path, "--dataset", tmp_path / "set", "--even-so", "--json")[1]
    )
    assert found["header"]["dataset"] == f"{bucket}/set" and found["header"]["masks"] == 1
    assert found["pixel_auroc"] == local["pixel_auroc"]
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "could not be read" not in page and "rooms" not in page
    (cut,) = (image for image in found["images"] if image["name"] == "good/cut.png")
    assert cut["reason"].startswith(f"{bucket}/set/test/good/cut.png: expected a whole image")
    # Copied once more, the images are the same, so the results of the first time count.
    code, out, _ = spade_edge(*evaluate, "--json", "--resume", tmp_path / "kept")
    assert code == 0 and json.loads(out)["images"] == found["images"]


def test_teaching_in_takes_addresses(
    spade_edge: Run, s3: S3, parts: Path, model: Path, tmp_path: Path, part: Callable[..., NDArray[np.uint8]]
) -> None:
    bucket = s3.bucket()
    write(tmp_path / "rejects", {f"{seed}.png": part(seed) for seed in (40, 41)})
    s3.upload(f"{bucket}/rejects", tmp_path / "rejects")
    path = tmp_path / "part.spade"
    assert spade_edge("build", "--threads", 1, "--model", model, "--output", path, "--images", parts)[0] == 0
    add = ("gallery", "add", "--threads", 1, "--bundle", path, "--even-so", "--reason", "were good")
    assert spade_edge(*add, f"{bucket}/rejects/40.png", tmp_path / "rejects" / "41.png")[0] == 0
    assert spade_edge("dataset", "scan", f"{bucket}/rejects", tmp_path / "rejects.jsonl")[0] == 0
    lines = spade_edge("gallery", "list", "--bundle", path, "--json")[1].splitlines()
    names = [json.loads(line)["name"] for line in lines]
    assert {"40.png", "41.png"} <= set(names) and len(names) == 12
    code, _, err = spade_edge(*add, f"{bucket}/rejects/42.png")
    assert code == 3 and f"{bucket}/rejects/42.png: expected a file, found none" in err
