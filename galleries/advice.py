"""Advice on a bundle: which rates the good parts can certify, the one image that decides, and those to look at."""

from __future__ import annotations

from dataclasses import dataclass

from spade_edge.galleries.conformal import Limit, limit, lowest_rate
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.evidence import BOTH, FRAMES, Evidence
from spade_edge.runtime.bundle.good_image import GoodImage
from spade_edge.runtime.bundle.manifest import Manifest, evidence_of
from spade_edge.runtime.bundle.threshold import CERTIFIED

CLEARLY = 0.1  # of the threshold
SHOWN = 5  # names of images in a sentence
RATES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)


@dataclass(frozen=True)
class Deciding:
    """The image whose score is the threshold.

    Attributes:
        image: the good image.
        without: the threshold if it were excluded, at the lowest rate that the others certify or at the same rank.
    """

    image: GoodImage
    without: float

    @property
    def matters(self) -> bool:
        """Whether the threshold would be clearly lower without the image."""
        return self.image.score - self.without > CLEARLY * abs(self.image.score)

    def sentence(self) -> str:
        """The same in words."""
        return (
            f"this threshold is the score of {self.image.name}; without that image it would be about {self.without:.4g}"
        )


def choices(evidence: Evidence) -> tuple[Limit, ...]:
    """Thresholds to choose from, for the highest rate first: `RATES` and the lowest rate that can be certified.

    Rates that lead to the same threshold appear once; rates too low for so few parts are left out.
    """
    found: list[Limit] = []
    for rate in sorted({*RATES, lowest_rate(evidence.parts)}, reverse=True):
        try:
            choice = limit(evidence, rate=rate)
        except UsageError:
            break  # too few parts to extrapolate; lower rates would need even more
        if not found or choice.value != found[-1].value:
            found.append(choice)
        elif choice.basis == CERTIFIED:
            found[-1] = choice
    return tuple(found)


def deciding(manifest: Manifest) -> Deciding | None:
    """The good image whose own score is the threshold; None if no single image decides."""
    threshold = manifest.threshold
    if threshold.basis != CERTIFIED or threshold.source == FRAMES:
        return None
    images = [image for image in manifest.images if image.counts]
    decisive = [image for image in images if image.score == threshold.score]
    if len(decisive) != 1 or threshold.parts < 3:
        return None
    others = [image for image in images if image.group != decisive[0].group]
    evidence = evidence_of(others, manifest.frames if threshold.source == BOTH else ())
    over = threshold.rate * (threshold.parts + 1)
    return Deciding(decisive[0], limit(evidence, rate=min(over / (evidence.parts + 1), 0.999)).value)


def untypical(manifest: Manifest) -> list[GoodImage]:
    """The included images that are worth a look, the least typical first."""
    images = sorted(manifest.images, key=lambda image: image.rank)
    return [image for image in images if image.included and image.worth_a_look]


def look_at(manifest: Manifest) -> str:
    """Which images to look at before the bundle is trusted; empty if all are alike."""
    images = untypical(manifest)
    if not images:
        return ""
    what = "this image" if len(images) == 1 else f"these {len(images)} images"
    named = [f"{image.name} ({image.remark})" for image in images[:SHOWN]]
    if len(images) > SHOWN:
        named.append(f"and {len(images) - SHOWN} more")
    return f"look at {what} before you trust the bundle: {'; '.join(named)}"
