"""What `spade-edge calibrate` prints."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spade_edge.galleries.held_back import Calibration
from spade_edge.runtime.bundle.manifest import Manifest


def as_json(found: Calibration) -> dict[str, Any]:
    """The check, and the new threshold if there is one, as JSON values."""
    return {
        "frames": [asdict(frame) for frame in found.frames],
        "cannot_judge": found.refused,
        "promised": found.promise.rate,
        "parts": found.promise.parts,
        "rejected": found.promise.rejected,
        "interval": list(found.promise.interval),
        "p": found.promise.p,
        "kept": found.promise.kept,
        "likeness": {"p": found.likeness, "higher": found.higher, "alike": found.alike},
        "threshold": None if found.certified is None else found.certified.to_json(),
    }


def lines(found: Calibration, before: Manifest, bundle: Path) -> list[str]:
    """Whether the promise holds, whether the frames are like the good images, and the new threshold."""
    promise, frames = found.promise, len(found.frames) + len(found.refused)
    low, high = promise.interval
    text = [f"{frames} frames of {promise.parts} different parts; one frame of each part is counted"]
    text += [f"  cannot be judged, counted as a reject: {name}: {why}" for name, why in found.refused.items()]
    text.append(
        f"promised: at most {promise.rate:.2%} rejected; found: {promise.rejected} of {promise.parts} rejected "
        f"({promise.rejected / promise.parts:.2%}, 95 % interval {low:.2%} to {high:.2%})"
    )
    if promise.kept:
        text.append(f"the frames give no reason to doubt the promise (exact binomial test, p = {promise.p:.2g})")
    else:
        text.append(
            f"the promise is NOT kept on these frames (exact binomial test, p = {promise.p:.2g}): look at light, lens "
            f"and camera, add images like these to the good ones, or certify anew: "
            f"spade-edge calibrate --bundle {shlex.quote(str(bundle))} FRAMES --certify frames --reason TEXT"
        )
    if found.alike:
        text.append(f"they score like the good images (rank test, p = {found.likeness:.2g})")
    elif found.higher > 0.5:
        text.append(f"they score HIGHER than the good images (rank test, p = {found.likeness:.2g})")
    else:
        text.append(
            f"they score LOWER than the good images (rank test, p = {found.likeness:.2g}): do they show parts that are "
            "in the gallery? Then they are no evidence"
        )
    if found.certified is not None:
        text.append(
            f"threshold {before.threshold.score:.6g} → {found.certified.score:.6g}: {found.certified.sentence()}"
        )
        if caution := found.certified.caution():
            text.append(caution)
    return text
