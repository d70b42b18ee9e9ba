"""What `spade-edge threshold` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spade_edge.galleries.advice import choices, deciding
from spade_edge.galleries.conformal import images_needed, lowest_rate
from spade_edge.runtime.bundle.evidence import FRAMES
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.evaluation.choices import another, choices_of, set_command


def as_json(manifest: Manifest) -> dict[str, Any]:
    """The threshold, its evidence, the image that decides and the other thresholds to choose from, as JSON values."""
    decisive = deciding(manifest)
    return manifest.threshold.to_json() | {
        "scores": list(manifest.evidence.scores),
        "groups": list(manifest.evidence.groups),
        "deciding": None if decisive is None else {"image": decisive.image.name, "without": decisive.without},
        "options": [
            {"rate": option.rate, "score": option.value, "basis": option.basis, "interval": list(option.interval)}
            for option in choices(manifest.evidence)
        ],
    }


def lines(manifest: Manifest, bundle: Path) -> list[str]:
    """The threshold in force, where it comes from, and the others to choose from."""
    threshold, evidence = manifest.threshold, manifest.evidence
    text = [
        f"threshold {threshold.score:.6g}: {threshold.sentence()}",
        f"  {threshold.method}; set {threshold.set}" + (f": {threshold.reason}" if threshold.reason else ""),
        f"regions above {threshold.pixel:.6g}" + (f", of {threshold.area:g} pixels or more" if threshold.area else ""),
    ]
    if threshold.source != FRAMES and len(evidence.scores) > threshold.parts:
        text.append(f"{len(evidence.scores)} images or frames show {threshold.parts} different parts")
    text += [*deciding_lines(manifest), *filter(None, [threshold.caution()]), ""]
    text.append(f"{'false rejects':>14}  {'threshold':>10}  {'95 % interval':>18}  basis")
    for choice in choices(evidence):
        low, high = choice.interval
        now = " (in force)" if choice.value == threshold.score else ""
        text.append(f"{choice.rate:14.2%}  {choice.value:10.6g}  {f'{low:.2%} to {high:.2%}':>18}  {choice.basis}{now}")
    lowest, rates = lowest_rate(evidence.parts), (0.01, 0.002)
    text += [
        "",
        f"{threshold.parts} parts certify {lowest:.2%} at best; "
        + ", ".join(f"{rate:.1%} takes {images_needed(rate):,}" for rate in rates),
    ]
    other = another(choices_of(manifest, ()))
    rate = 2 * lowest if other is None else other.rate
    if rate < 1:
        text.append(f"set another: {set_command(str(bundle), rate)}")
    return text


def deciding_lines(manifest: Manifest) -> list[str]:
    """The image that decides the threshold, in a line; none if no single image decides."""
    decisive = deciding(manifest)
    return [] if decisive is None else [decisive.sentence()]
