"""What `spade-edge build` prints."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Any

from spade_edge.galleries import Built, Plan
from spade_edge.galleries.advice import SHOWN, deciding, look_at, untypical
from spade_edge.tools.cli.text.threshold import deciding_lines
from spade_edge.tools.cli.view_arguments import AUTO, WHOLE


def plan_lines(plan: Plan, chosen: argparse.Namespace, *, images: str) -> list[str]:
    """The plan of a build: size, cost per frame, a proposal of other views, deviations from the paper.

    Args:
        plan: of the build.
        chosen: the command line.
        images: what their folder is called.
    """
    lines = [
        f"{images}: {len(plan.images)} images found; the bundle will take about {plan.size / 1e6:,.0f} MB, "
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
        "remarks": list(built.remarks),
        "format": built.manifest.format.to_json(),
        "size": built.manifest.size,
        "threshold": threshold.score,
        "pixel_threshold": threshold.pixel,
        "false_rejects": threshold.rate,
        "basis": threshold.basis,
        "interval": list(threshold.interval),
        "parts": threshold.parts,
        "repeats": [list(names) for names in built.repeats],
        "untypical": [image.name for image in untypical(built.manifest)],
        "place": {"cells": built.manifest.matching.place} | built.manifest.place.to_json(),
        "deviations": list(built.manifest.deviations),
        "views": built.manifest.layout.to_json(),
        "seconds": {step: round(time, 3) for step, time in built.seconds.items()},
    }


def notes(built: Built) -> list[str]:
    """What a user should know about the bundle: images left out, repeats, images to look at, the image that decides."""
    lines = [f"skipped {complaint}" for complaint in built.skipped] + list(built.remarks)
    if built.former is not None:
        lines.append(f"the former bundle is kept: {built.former} is its manifest")
    for names in built.repeats[:SHOWN]:
        lines.append(f"these images show the same part and count as one in the false-reject rate: {_some(names)}")
    if len(built.repeats) > SHOWN:
        more = len(built.repeats) - SHOWN
        lines.append(
            f"the same is true of {more} more part{'' if more == 1 else 's'}; 'spade-edge gallery list' shows all"
        )
    if advice := look_at(built.manifest):
        bundle = shlex.quote(str(built.path))
        lines += [
            advice,
            f"see their maps: spade-edge gallery review --bundle {bundle} review/",
            f"exclude what does not show a good part: spade-edge gallery exclude --bundle {bundle} NAME --reason TEXT",
        ]
    decisive = deciding(built.manifest)
    if decisive is not None and decisive.matters:
        lines += deciding_lines(built.manifest)
    if caution := built.manifest.threshold.caution():
        lines.append(caution)
    return lines


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def sentence(built: Built) -> str:
    """The bundle in one line."""
    threshold = built.manifest.threshold
    return (
        f"{built.path}: {_counted(built)}, {built.manifest.size / 1e6:,.0f} MB, "
        f"threshold {threshold.score:.4g}: {threshold.sentence()}"
    )


def _counted(built: Built) -> str:
    """The number of good images, without those that are excluded."""
    included = int(built.manifest.included.sum())
    excluded = len(built.manifest.names) - included
    return f"{included} good images" + (f" and {excluded} excluded" if excluded else "")


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
