"""Thresholds to choose from, against loops over scores; one image, one part, none that can be judged."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import run

from spade_edge.galleries import Built
from spade_edge.runtime.bundle.manifest import FILE, Manifest
from spade_edge.runtime.bundle.threshold import Threshold
from spade_edge.tools.evaluation.choices import (
    another,
    choices_of,
    deciding_of,
    exclude_command,
    percentage,
    set_command,
)
from spade_edge.tools.evaluation.metrics import Rate
from spade_edge.tools.evaluation.results import ImageResult

Manifests = Callable[..., Manifest]


@pytest.fixture
def manifest_of(edge: Built) -> Manifests:
    """A manifest with leave-one-out scores of parts, one image each, and a threshold."""

    def make(scores: list[float], *, threshold: float, rate: float = 0.1, basis: str = "certified") -> Manifest:
        first = edge.manifest.images[0]
        images = tuple(
            replace(first, name=f"a {i}.png", group=i, score=score, map_maximum=score, exclusion=None)
            for i, score in enumerate(scores)
        )
        own = Threshold(
            score=threshold, pixel=1.0, area=0.0, rate=rate, interval=(0.0, 1.0), basis=basis, method="", set="",
            reason="", source="images", parts=len(scores),
        )  # fmt: skip
        return replace(edge.manifest, images=images, threshold=own)

    return make


def image(truth: str, score: float | None) -> ImageResult:
    return ImageResult("", truth, score, "cannot_judge" if score is None else "", "", {})


def labelled(seed: int = 1) -> list[ImageResult]:
    """50 good images, 30 defects, and two of each that cannot be judged."""
    rng = np.random.default_rng(seed)
    images = [image("good", score) for score in rng.gamma(4, 1, 50).tolist()]
    images += [image("dent", score) for score in rng.gamma(8, 1, 30).tolist()]
    return [*images, *[image(truth, None) for truth in ("good", "good", "dent", "stain")]]


def test_each_threshold_is_judged_by_the_labelled_images(manifest_of: Manifests) -> None:
    scores = np.random.default_rng(0).gamma(4, 1, 40).tolist()
    ordered = sorted(scores)
    images = [*labelled(), image("good", ordered[-1]), image("dent", ordered[-2])]  # at a threshold, not above it
    choices = choices_of(manifest_of(scores, threshold=ordered[-1], rate=1 / 41), images)
    assert [choice.threshold for choice in choices] == sorted({choice.threshold for choice in choices})
    assert [choice.threshold for choice in choices if choice.in_force] == [ordered[-1]]
    certified = [choice for choice in choices if choice.basis == "certified"]
    # At most 10 %, 5 % and 1 / 41: four, two and one of 41 ranks.
    assert [choice.threshold for choice in certified] == [ordered[-4], ordered[-2], ordered[-1]]
    assert [choice.rate for choice in certified] == [4 / 41, 2 / 41, 1 / 41]
    assert len(choices) > len(certified) and {choice.basis for choice in choices[3:]} == {"extrapolated"}
    for choice in choices:
        rejected = [one.score is None or one.score > choice.threshold for one in images]
        false_rejects = sum(reject for one, reject in zip(images, rejected, strict=True) if one.truth == "good")
        found = sum(reject for one, reject in zip(images, rejected, strict=True) if one.truth != "good")
        assert choice.false_rejects == Rate.among(false_rejects, 53)
        assert choice.missed == Rate.among(33 - found, 33)


def test_a_threshold_in_force_that_no_rate_gives_is_among_them(manifest_of: Manifests) -> None:
    scores = [float(i) for i in range(1, 41)]
    for threshold, place in ((0.5, 0), (38.5, 1), (1e9, -1)):
        manifest = manifest_of(scores, threshold=threshold, rate=0.07, basis="manual")
        choices = choices_of(manifest, labelled())
        (now,) = (choice for choice in choices if choice.in_force)
        assert choices[place] == now and (now.threshold, now.rate, now.basis) == (threshold, 0.07, "manual")


def test_another_is_the_next_stricter_or_else_the_next_looser(manifest_of: Manifests) -> None:
    scores = [float(i) for i in range(1, 41)]
    for threshold, other in ((40.0, 39.0), (39.0, 37.0), (37.0, 39.0), (39.5, 39.0), (0.5, 37.0)):
        found = another(choices_of(manifest_of(scores, threshold=threshold), []))
        assert found is not None and found.threshold == other
    assert another(choices_of(manifest_of([3.0], threshold=3.0), [])) is None


def test_one_part_and_no_labelled_image_at_all(manifest_of: Manifests) -> None:
    (choice,) = choices_of(manifest_of([3.0], threshold=3.0, rate=0.5), [])
    assert (choice.threshold, choice.rate, choice.in_force) == (3.0, 0.5, True)
    assert choice.false_rejects == choice.missed == Rate(0, 0, None, None, None)


def test_what_cannot_be_judged_is_rejected_even_at_the_highest_threshold(manifest_of: Manifests) -> None:
    images = [image("good", None), image("dent", None)]
    for choice in choices_of(manifest_of([float(i) for i in range(30)], threshold=1e12, basis="manual"), images):
        assert (choice.false_rejects.count, choice.missed.count) == (1, 0)


def test_without_the_image_that_decides(manifest_of: Manifests) -> None:
    scores = [float(i) for i in range(1, 40)] + [100.0]
    images = [image("good", 50.0), image("good", 5.0), image("good", None), image("dent", 60.0), image("dent", 101.0)]
    manifest = manifest_of(scores, threshold=100.0, rate=1 / 41)
    found = deciding_of(manifest, images)
    assert found is not None and (found.name, found.threshold) == ("a 39.png", 39.0)
    assert (found.false_rejects.count, found.missed.count) == (2, 0)
    (now,) = (choice for choice in choices_of(manifest, images) if choice.in_force)
    assert (now.false_rejects.count, now.missed.count) == (1, 1)
    assert deciding_of(manifest_of(scores, threshold=70.0, basis="manual"), images) is None
    command = shlex.split(exclude_command("my bundle.spade", found))
    assert command == [
        "spade-edge", "gallery", "exclude", "--bundle", "my bundle.spade", "a 39.png", "--reason", "TEXT",
    ]  # fmt: skip


@pytest.mark.parametrize("parts", [12, 19, 40, 333])
def test_the_command_of_a_choice_sets_exactly_it(
    manifest_of: Manifests, capsys: pytest.CaptureFixture[str], tmp_path: Path, parts: int
) -> None:
    scores = np.random.default_rng(parts).gamma(4, 1, parts).tolist()
    manifest = manifest_of(scores, threshold=1.0, basis="manual")
    bundle = tmp_path / "my part.spade"
    bundle.mkdir()
    choices = [choice for choice in choices_of(manifest, []) if not choice.in_force]
    assert len(choices) >= 3 and choices[0].basis == "certified" and choices[-1].basis == "extrapolated"
    for choice in choices:
        (bundle / FILE).write_text(manifest.to_text())
        command = shlex.split(set_command(str(bundle), choice.rate))
        code, _, err = run(capsys, *command[1:])
        assert command[0] == "spade-edge" and code == 0, err
        now = Manifest.read(bundle).threshold
        assert now.score == pytest.approx(choice.threshold, rel=1e-4) and now.basis == choice.basis
        if choice.basis == "certified":
            assert (now.score, now.rate) == (choice.threshold, choice.rate)


def test_a_rate_is_rounded_up_and_never_to_none() -> None:
    assert [percentage(rate) for rate in (0.1, 0.05, 2 / 41, 1 / 41, 0.001, 1 / 10_001, 0.5)] == [
        "10%", "5%", "4.88%", "2.44%", "0.1%", "0.01%", "50%",
    ]  # fmt: skip
