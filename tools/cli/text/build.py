"""What `spade-edge build` prints."""

from __future__ import annotations

import argparse
from typing import Any

from spade_edge.galleries import Built, Plan
from spade_edge.tools.cli.view_arguments import AUTO, WHOLE


def plan_lines(plan: Plan, chosen: argparse.Namespace) -> list[str]:
    """The plan of a build: size, cost per frame, a proposal of other views, deviations from the paper.

    Args:
        plan: of the build.
        chosen: the command line.
    """
    lines = [
        f"{chosen.images}: {len(plan.images)} images found; the bundle will take {plan.size / 1e6:,.0f} MB, "
        f"of which the model {chosen.model.stat().st_size / 1e6:,.0f} MB"
    ]
    lines += _views(plan, chosen)
    if chosen.profile == "paper" and plan.deviations:
        lines.append(f"deviates from the paper: {'; '.join(plan.deviations)}")
    return lines


def as_json(built: Built) -> dict[str, Any]:
    """The bundle as JSON values."""
    threshold = built.manifest.threshold
    return {
        "bundle": str(built.path),
        "images": len(built.manifest.names),
        "skipped": list(built.skipped),
        "size": built.manifest.size,
        "threshold": threshold.score,
        "pixel_threshold": threshold.pixel,
        "false_rejects": threshold.rate,
        "basis": threshold.basis,
        "interval": list(threshold.interval),
        "parts": threshold.parts,
        "repeats": [list(names) for names in built.repeats],
        "deviations": list(built.manifest.deviations),
        "views": built.manifest.layout.to_json(),
        "seconds": {step: round(time, 3) for step, time in built.seconds.items()},
    }


def notes(built: Built) -> list[str]:
    """What a user should know about the bundle: images left out, the former bundle, duplicates."""
    lines = [f"skipped {complaint}" for complaint in built.skipped]
    if built.former is not None:
        lines.append(f"the former bundle is kept: {built.former} is its manifest")
    for names in built.repeats:
        lines.append(f"these images show the same part and count as one in the false-reject rate: {', '.join(names)}")
    return lines


def sentence(built: Built) -> str:
    """The bundle in one line."""
    threshold = built.manifest.threshold
    return (
        f"{built.path}: {len(built.manifest.names)} good images, {built.manifest.size / 1e6:,.0f} MB, "
        f"threshold {threshold.score:.4g}: {threshold.sentence()}"
    )


def _views(plan: Plan, chosen: argparse.Namespace) -> list[str]:
    """The cost of the views per frame, and a proposal if other views suit the frames better."""
    gallery = (plan.size - plan.fixed) / len(plan.images)
    cost = "{0} view{1} per frame: about {2:,.0f} ms of network on this machine, {3:.1f} MB per good image"

    def costs(views: int) -> str:
        each = gallery / len(plan.layout) * views / 1e6
        return cost.format(views, "s" if views > 1 else "", views * plan.milliseconds, each)

    lines = [costs(len(plan.layout))]
    if chosen.views == AUTO:
        lines.append(
            "--views auto takes one view, as frames differ in size"
            if plan.proposal is None
            else f"--views auto takes {'tiles' if plan.proposal.tile else 'one view'}: {plan.proposal.why}"
        )
    elif chosen.views == WHOLE and not chosen.region and chosen.mask is None and plan.proposal and plan.proposal.tile:
        lines.append(f"consider --views auto: {plan.proposal.why}; that is {costs(plan.proposed_views)}")
    return lines
