"""Thresholds to choose from, and the wrong verdicts that each of them would give on the labelled images."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from spade_edge.galleries import advice
from spade_edge.galleries.conformal import Limit
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.bundle.threshold import CERTIFIED
from spade_edge.runtime.result import GOOD
from spade_edge.tools.evaluation.metrics import Rate
from spade_edge.tools.evaluation.results import Choice, DecidingImage, Evaluation, ImageResult


def choices_of(manifest: Manifest, images: Sequence[ImageResult]) -> tuple[Choice, ...]:
    """Thresholds to choose from, the lowest first: those that the evidence offers, and the one in force.

    Args:
        manifest: of the bundle.
        images: the labelled images, scored with it.
    """
    now = manifest.threshold
    limits = list(advice.choices(manifest.evidence))
    if now.score not in [limit.value for limit in limits]:
        limits.append(Limit(value=now.score, rate=now.rate, basis=now.basis, interval=now.interval))
    limits.sort(key=lambda limit: limit.value)
    choices = []
    for limit in limits:
        false_rejects, missed = wrong_at(limit.value, images)
        choices.append(
            Choice(
                threshold=limit.value,
                rate=limit.rate,
                interval=limit.interval,
                basis=limit.basis,
                false_rejects=false_rejects,
                missed=missed,
                in_force=limit.value == now.score,
            )
        )
    return tuple(choices)


def deciding_of(manifest: Manifest, images: Sequence[ImageResult]) -> DecidingImage | None:
    """The good image whose own score is the threshold, and the wrong verdicts without it; None if there is none."""
    found = advice.deciding(manifest)
    if found is None:
        return None
    false_rejects, missed = wrong_at(found.without, images)
    return DecidingImage(found.image.name, found.without, false_rejects, missed)


def changes_without(evaluation: Evaluation) -> str:
    """The wrong verdicts without the image that decides, and those now, in words; empty if no image decides."""
    image = evaluation.deciding
    if image is None:
        return ""
    changes = f"good rejected {image.false_rejects.count} (now {evaluation.false_rejects.count})"
    if evaluation.missed.of:
        changes += f", defects missed {image.missed.count} (now {evaluation.missed.count})"
    return changes


def wrong_at(threshold: float, images: Sequence[ImageResult]) -> tuple[Rate, Rate]:
    """The false rejects and the missed defects at a threshold. What cannot be judged is rejected at every threshold."""
    good = [image for image in images if image.truth == GOOD]
    defective = [image for image in images if image.truth != GOOD]
    return (
        Rate.among(sum(_rejected(image, threshold) for image in good), len(good)),
        Rate.among(sum(not _rejected(image, threshold) for image in defective), len(defective)),
    )


def another(choices: Sequence[Choice]) -> Choice | None:
    """The next stricter certified threshold than the one in force, or the next looser one; None if there is none."""
    place = [choice.in_force for choice in choices].index(True)
    others = [*reversed(choices[:place]), *choices[place + 1 :]]
    return next((choice for choice in others if choice.basis == CERTIFIED), None)


def set_command(bundle: str, rate: float) -> str:
    """The command line that puts a false-reject rate into force."""
    return f"spade-edge threshold --bundle {shlex.quote(bundle)} --false-rejects {percentage(rate)} --reason TEXT"


def exclude_command(bundle: str, image: DecidingImage) -> str:
    """The command line that excludes the deciding image."""
    return f"spade-edge gallery exclude --bundle {shlex.quote(bundle)} {shlex.quote(image.name)} --reason TEXT"


def percentage(rate: float) -> str:
    """A rate as an argument of --false-rejects, rounded up so that it is still certified."""
    return f"{math.ceil(rate * 1e4 - 1e-6) / 100:g}%"


def _rejected(image: ImageResult, threshold: float) -> bool:
    return image.score is None or image.score > threshold
