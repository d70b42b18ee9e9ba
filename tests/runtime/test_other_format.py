"""Frames that differ from the good images in colour, channel order or size, and the order of an array's channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, build, exclude, include
from spade_edge.runtime import FrameError, Scorer, UsageError

Frames = Callable[..., NDArray[np.uint8]]


def grey_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(image.mean(axis=2).astype(np.uint8))


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory, model: Path, part: Frames) -> Built:
    """A bundle from grey images that are stored in three channels."""
    folder = tmp_path_factory.mktemp("grey")
    for seed in range(8):
        image = grey_of(part(seed))
        np.save(folder / f"{seed}.npy", np.dstack([image] * 3))
    return build(folder, model=model, output=tmp_path_factory.mktemp("bundle") / "part.spade")


def test_frames_of_another_kind_get_no_verdict_unless_they_are_meant(edge: Built, grey: Built, part: Frames) -> None:
    image = part(40)
    wide = cv2.resize(image, (120, 96))
    for built, good, others in (
        (
            edge,
            image,
            {
                "it is grey, they are in colour": grey_of(image),
                "its red and blue seem to be swapped": np.ascontiguousarray(image[:, :, ::-1]),
                "another shape": wide,
                "its width is 1.2 times": np.ascontiguousarray(np.rot90(image)),
            },
        ),
        (grey, grey_of(image), {"it is in colour, they are grey": image}),
    ):
        scorer, even_so = Scorer.open(built.path), Scorer.open(built.path, even_so=True)
        assert scorer(good).verdict == even_so(good).verdict == "good"
        for says, frame in others.items():
            result = scorer(frame)
            assert result.verdict == "cannot_judge" and says in result.reason, result.reason
            assert result.reason.startswith("the frame has ") and "\n" not in result.reason
            assert even_so(frame).verdict != "cannot_judge" and even_so(frame).score == result.score
        assert even_so(np.zeros_like(good)).verdict == "cannot_judge"  # a lens cap shows nothing, even so


def test_grey_in_three_channels_is_grey(edge: Built, grey: Built, part: Frames) -> None:
    image = grey_of(part(40))
    three = np.dstack([image] * 3)
    assert (grey.manifest.format.colour, edge.manifest.format.colour) == ("grey", "colour")
    assert Scorer.open(grey.path)(three).verdict == Scorer.open(grey.path)(image).verdict == "good"
    assert "they are in colour" in Scorer.open(edge.path)(three).reason
    for built in (edge, grey):  # the golden frame without damage is of the same kind
        assert built.manifest.golden[0].under == "good"


def test_frames_that_are_larger_or_smaller_but_of_the_same_shape_are_judged(edge: Built, part: Frames) -> None:
    scorer = Scorer.open(edge.path)
    assert scorer(part(41, size=(288, 240))).verdict != "cannot_judge"
    small = cv2.resize(part(41), (40, 48), interpolation=cv2.INTER_AREA)
    assert Scorer.open(edge.path)(cv2.resize(small, (30, 36))).verdict == "cannot_judge"


def test_arrays_in_the_order_rgb(edge: Built, part: Frames) -> None:
    scorer = Scorer.open(edge.path)
    frames = [part(seed, flaw=seed == 41) for seed in range(40, 43)]
    swapped = [frame[:, :, ::-1] for frame in frames]
    single = [scorer(frame) for frame in frames]
    for results in (
        [scorer(frame, channels="rgb") for frame in swapped],
        scorer.batch(swapped, channels="rgb"),
        list(scorer.stream(iter(swapped), channels="rgb")),
    ):
        assert [(r.score, r.verdict, r.reason) for r in results] == [(r.score, r.verdict, r.reason) for r in single]
        assert all(np.array_equal(r.heatmap, s.heatmap) for r, s in zip(results, single, strict=True))
    flat = grey_of(frames[0])
    assert scorer(flat, channels="rgb").score == scorer(flat).score
    for wrong in (lambda: scorer(frames[0], channels="RGB"), lambda: list(scorer.stream([], channels="gbr"))):
        with pytest.raises(UsageError):
            wrong()
    with pytest.raises(FrameError, match=r"frame\.transpose\(1, 2, 0\)"):
        scorer(frames[0].transpose(2, 0, 1), channels="rgb")


def test_an_image_that_is_excluded_takes_its_kind_with_it(tmp_path: Path, model: Path, part: Frames) -> None:
    good = tmp_path / "good"
    good.mkdir()
    for seed in range(8):
        image = part(seed)
        np.save(good / f"{seed}.npy", grey_of(image) if seed == 5 else image)
    built = build(good, model=model, output=tmp_path / "b.spade", options=BuildOptions(even_so=True))
    assert built.manifest.format.colour == "both"
    assert exclude(built.path, ["5.npy"], reason="grey").manifest.format.colour == "colour"
    assert include(built.path, ["5.npy"]).manifest.format == built.manifest.format
