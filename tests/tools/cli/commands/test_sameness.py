"""--bits, --even-so and --channels: files of another depth, other sizes and orders of channels, on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command_line import run
from numpy.typing import NDArray

from spade_edge.galleries import Built, build
from spade_edge.galleries.images.like_good import Reading
from spade_edge.runtime import DataError, Scorer, UsageError
from spade_edge.tools.evaluation.evaluator import evaluate
from spade_edge.tools.sources import SourceOptions, open_source

Frames = Callable[..., NDArray[np.uint8]]


def twelve(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """As a camera of 12 bits stores it in 16, with a highlight."""
    stored = image.astype(np.uint16) << 4
    stored[0, 0] = 4095
    return np.asarray(stored)


def eight(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same from a camera of 8 bits."""
    return np.asarray((twelve(image) >> 4).astype(np.uint8))


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory, model: Path, part: Frames) -> Built:
    """A bundle of a camera with 12 bits."""
    folder = tmp_path_factory.mktemp("deep")
    for seed in range(8):
        cv2.imwrite(str(folder / f"{seed}.png"), twelve(part(seed)))
    return build(folder, model=model, output=tmp_path_factory.mktemp("bundle") / "deep.spade")


def score(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    code, out, err = run(capsys, "score", *arguments)
    return code, [json.loads(line) for line in out.splitlines()], err


def test_frames_are_read_with_the_bits_of_the_good_images(
    deep: Built, part: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), twelve(part(40)))
    cv2.imwrite(str(tmp_path / "b.png"), twelve(part(41)) * 4)  # 14 bits
    np.save(tmp_path / "c.npy", twelve(part(42)))
    cv2.imwrite(str(tmp_path / "d.png"), eight(part(43)))
    code, lines, _ = score(capsys, "--bundle", deep.path, tmp_path)
    assert code == 1 and [line["verdict"] for line in lines] == ["good", "cannot_judge", "good", "cannot_judge"]
    scorer = Scorer.open(deep.path)
    assert [lines[0]["score"], lines[2]["score"]] == [scorer(eight(part(seed))).score for seed in (40, 42)]
    assert "expected numbers of 12 bits, up to 4,095, found 16,380; give --bits 14" in lines[1]["reason"]
    assert "expected 16 bits per channel as in the good images, found 8" in lines[3]["reason"]
    code, lines, _ = score(capsys, "--bundle", deep.path, tmp_path / "d.png", "--even-so")
    assert code == 0 and lines[0]["score"] == scorer(eight(part(43))).score
    code, lines, _ = score(capsys, "--bundle", deep.path, tmp_path / "b.png", "--bits", 14)
    assert code == 0 and lines[0]["score"] == scorer(eight(part(41))).score


def test_stacks_and_watched_folders_have_the_same_bits(deep: Built, part: Frames, tmp_path: Path) -> None:
    np.save(tmp_path / "stack.npy", np.stack([twelve(part(40)), twelve(part(41)) * 4, twelve(part(42))]))
    good = deep.manifest.format
    reading = Reading.like(good)
    options = SourceOptions(bits=reading.bits, depth=reading.depth)
    shots = list(open_source(tmp_path / "stack.npy", options=options))
    assert np.array_equal(shots[0].frame, eight(part(40))) and np.array_equal(shots[2].frame, eight(part(42)))
    assert shots[1].frame is None and "12 bits" in shots[1].fault
    watch = open_source(f"watch:{tmp_path}", options=options)
    cv2.imwrite(str(tmp_path / "new.png"), twelve(part(43)))
    shot = next(iter(watch))
    watch.ended.set()
    assert np.array_equal(shot.frame, eight(part(43)))
    usual = SourceOptions(depth=8)
    assert [shot.frame for shot in open_source(tmp_path / "stack.npy", options=usual)] == [None] * 3
    for wrong in ({"bits": 7}, {"bits": 17}, {"depth": 12}, {"channels": "gbr"}):
        with pytest.raises(UsageError):
            SourceOptions(**wrong)  # type: ignore[arg-type]
    assert Reading.like(good, bits=10) == Reading(bits=10) and Reading.like(good, even_so=True) == Reading(bits=12)
    with pytest.raises(DataError):
        Reading(depth=8).image(tmp_path / "new.png")


def test_evaluate_and_calibrate_read_the_same_bits(
    deep: Built, part: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, seeds in (("good", (50, 51)), ("flaw", (60, 61))):
        (tmp_path / "test" / kind).mkdir(parents=True)
        for seed in seeds:
            cv2.imwrite(str(tmp_path / "test" / kind / f"{seed}.png"), twelve(part(seed, flaw=kind == "flaw")))
    found = evaluate(deep.path, tmp_path)
    assert (found.false_rejects.count, found.missed.count) == (0, 0) and found.false_rejects.of == 2
    assert all(image.score is not None for image in found.images)
    refused = evaluate(deep.path, tmp_path, bits=10)
    assert all("expected numbers of 10 bits" in image.reason for image in refused.images)
    code, out, err = run(capsys, "calibrate", "--bundle", deep.path, tmp_path / "test" / "good", "--json")
    assert code == 0 and json.loads(out)["cannot_judge"] == {}, err
    code, out, _ = run(capsys, "evaluate", "--bundle", deep.path, "--dataset", tmp_path, "--json")
    assert code == 0 and json.loads(out)["missed"]["count"] == 0


def test_build_stops_at_a_mixture_and_says_what_it_found(
    model: Path, part: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    for seed in range(8):
        cv2.imwrite(str(folder / f"{seed}.png"), eight(part(seed)) if seed == 5 else twelve(part(seed)))
    command = ("build", "--model", model, "--images", folder, "--output", tmp_path / "b.spade")
    code, out, err = run(capsys, *command)
    assert (code, out) == (3, "") and "1 of 8 is stored in 8 bits per channel, the others in 16: 5.png" in err
    code, out, err = run(capsys, *command, "--even-so", "--json")
    found = json.loads(out)
    assert code == 0 and found["format"]["bits"] == 12 and found["format"]["depth"] is None
    assert any("12 bits in 16" in line for line in found["remarks"]) and all(line in err for line in found["remarks"])
    cv2.imwrite(str(tmp_path / "eight.png"), eight(part(40)))
    cv2.imwrite(str(tmp_path / "twelve.png"), twelve(part(40)))
    for name in ("eight", "twelve"):
        code, (line,), _ = score(capsys, "--bundle", tmp_path / "b.spade", tmp_path / f"{name}.png")
        assert code == 0 and line["score"] == Scorer.open(tmp_path / "b.spade")(eight(part(40))).score
    for wrong in ("7", "17", "twelve"):
        assert run(capsys, *command, "--bits", wrong)[0] == 2


def test_raw_pixels_and_arrays_in_the_order_rgb(
    edge: Built, part: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = part(40)
    np.save(tmp_path / "rgb.npy", frame[:, :, ::-1])
    code, (line,), _ = score(capsys, "--bundle", edge.path, tmp_path / "rgb.npy")
    assert code == 1 and "red and blue seem to be swapped" in line["reason"]
    code, (line,), _ = score(capsys, "--bundle", edge.path, tmp_path / "rgb.npy", "--channels", "rgb")
    assert code == 0 and line["score"] == Scorer.open(edge.path)(frame).score
    (shot,) = open_source(tmp_path / "rgb.npy", options=SourceOptions(channels="rgb"))
    assert np.array_equal(shot.frame, frame)
    np.save(tmp_path / "grey.npy", frame[:, :, 0])
    (shot,) = open_source(tmp_path / "grey.npy", options=SourceOptions(channels="rgb"))
    assert np.array_equal(shot.frame, frame[:, :, 0])


def test_even_so_judges_frames_of_another_kind_and_another_size_is_said_once(
    edge: Built, part: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), part(40).mean(axis=2).astype(np.uint8))
    code, (line,), _ = score(capsys, "--bundle", edge.path, tmp_path)
    assert code == 1 and line["verdict"] == "cannot_judge" and "it is grey" in line["reason"]
    code, (line,), _ = score(capsys, "--bundle", edge.path, tmp_path, "--even-so")
    assert line["verdict"] in ("good", "defect")
    for seed in (41, 42):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), cv2.resize(part(seed), (160, 192)))
    (tmp_path / "a.png").unlink()
    code, lines, err = score(capsys, "--bundle", edge.path, tmp_path)
    assert [line["verdict"] for line in lines] == ["good", "good"]
    assert err.count("frames of 160x192 pixels, good images of 80x96 to 80x103 pixels") == 1
