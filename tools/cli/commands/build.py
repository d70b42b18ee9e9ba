"""Build a bundle from a folder of images of good parts.

Every image goes through the model as a camera frame would. For the threshold each is scored against all the others: n
good images certify a false-reject rate of 1 in n + 1, or a higher one that you name; a lower one is extrapolated, and
says so. 'spade-edge threshold' shows and changes it afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from spade_edge.runtime.geometry.layout import Box
from spade_edge.runtime.matching.config import CODES, EXACT, HNSW, NONE, PER_VIEW, PROFILES, SHARED
from spade_edge.tools.cli.arguments import not_negative, path, positive, share, size, threads

if TYPE_CHECKING:
    from spade_edge.galleries import Built, Plan, Views

GIVEN = ("kappa", "sigma", "projection", "search", "candidates", "ef", "gallery")  # of Matching
WHOLE, AUTO = "whole", "auto"  # --views


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, type=path, metavar="FILE", help="what 'spade-edge export' wrote")
    parser.add_argument(
        "--images", required=True, type=path, metavar="DIR", help="images of good parts, with subfolders"
    )
    parser.add_argument("--output", required=True, type=path, metavar="BUNDLE", help="the bundle folder: part.spade")
    parser.add_argument(
        "--profile",
        choices=tuple(PROFILES),
        default="edge",
        help="edge (default): HNSW search, image score from the map; paper: exactly as published, slow",
    )
    parser.add_argument(
        "--neighbours", type=_neighbours, metavar="K", help="nearest good images to match (edge: all; paper: 50)"
    )
    parser.add_argument("--kappa", type=int, metavar="κ", help="nearest embeddings averaged at each position (1)")
    parser.add_argument("--sigma", type=float, metavar="σ", help="Gaussian smoothing of the map, in view pixels (4)")
    parser.add_argument(
        "--projection",
        choices=(CODES, NONE),
        help="codes (edge): every feature in a byte; none (paper): as the network gives them, 4 times the size",
    )
    parser.add_argument("--search", choices=(HNSW, EXACT), help="how to find the nearest embeddings (edge: hnsw)")
    parser.add_argument(
        "--candidates", type=int, metavar="T", help="hnsw: gallery cells looked into for each cell of a frame (12)"
    )
    parser.add_argument("--ef", type=int, help="hnsw: length of the list of best cells kept while searching (32)")
    parser.add_argument(
        "--views",
        type=_views,
        default=WHOLE,
        metavar="whole|auto|WIDTHxHEIGHT",
        help="whole (default): one view of the frame or of each region; WIDTHxHEIGHT: tiles of so many frame pixels; "
        "auto: what suits the frames' size",
    )
    parser.add_argument(
        "--overlap", type=int, metavar="PIXELS", help="frame pixels that tiles share at least (1/8 of a tile)"
    )
    parser.add_argument(
        "--region",
        type=_region,
        action="append",
        default=[],
        metavar="X,Y,WIDTH,HEIGHT",
        help="look only here, in frame pixels from the top left; may be given several times",
    )
    parser.add_argument(
        "--mask", type=path, metavar="FILE", help="an image of the frames' size: what is 0 in it is never looked at"
    )
    parser.add_argument(
        "--gallery",
        choices=(SHARED, PER_VIEW),
        help="shared (default): a view may match any view of a good image, for textures; per-view: only the same one, "
        "for parts that always lie in the same place",
    )
    parser.add_argument(
        "--false-rejects",
        type=share,
        metavar="RATE",
        help="share of good frames that may be rejected, 0.01 or 1%% (default: the lowest that the images certify)",
    )
    parser.add_argument(
        "--min-area",
        type=not_negative,
        default=0.0,
        metavar="PIXELS",
        help="report no region of fewer frame pixels (0)",
    )
    parser.add_argument("--skip-bad", action="store_true", help="name images that cannot be read and leave them out")
    parser.add_argument(
        "--threads", type=threads, metavar="N", help="threads of all but the index (default: one a core)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries import BuildOptions, build
    from spade_edge.tools.cli.progress import progress

    given = {name: getattr(chosen, name) for name in GIVEN}
    if given["projection"] == NONE and given["search"] is None:
        given["search"] = EXACT
    matching = replace(PROFILES[chosen.profile], **{name: value for name, value in given.items() if value is not None})
    if chosen.neighbours is not None:
        matching = replace(matching, neighbours=chosen.neighbours or None)

    built = build(
        chosen.images,
        model=chosen.model,
        output=chosen.output,
        options=BuildOptions(
            profile=chosen.profile,
            matching=matching,
            views=_chosen_views(chosen),
            rate=chosen.false_rejects,
            area=chosen.min_area,
            skip_bad=chosen.skip_bad,
            threads=chosen.threads,
        ),
        announce=lambda plan: _announce(plan, chosen),
        progress=progress,
    )
    for complaint in built.skipped:
        print(f"skipped {complaint}", file=sys.stderr)
    if built.former is not None:
        print(f"the former bundle is kept: {built.former} holds its manifest", file=sys.stderr)
    for group in built.manifest.threshold.duplicates:
        names = ", ".join(built.manifest.names[image] for image in group)
        print(f"these show the same, and count as one in the false-reject rate: {names}", file=sys.stderr)
    if chosen.json:
        print(json.dumps(_as_json(built)))
    else:
        threshold = built.manifest.threshold
        print(
            f"{built.path}: {len(built.manifest.names)} good images, {built.manifest.size / 1e6:,.0f} MB, "
            f"threshold {threshold.score:.4g}: {threshold.sentence()}"
        )
    return 0


def _announce(plan: Plan, chosen: argparse.Namespace) -> None:
    print(
        f"{chosen.images}: {len(plan.images)} images found; the bundle will take {plan.size / 1e6:,.0f} MB, "
        f"of which the model {chosen.model.stat().st_size / 1e6:,.0f} MB",
        file=sys.stderr,
    )
    for line in _about_views(plan, chosen):
        print(line, file=sys.stderr)
    if chosen.profile == "paper" and plan.deviations:
        print(f"deviates from the paper: {'; '.join(plan.deviations)}", file=sys.stderr)


def _as_json(built: Built) -> dict[str, Any]:
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
        "duplicates": [[built.manifest.names[image] for image in group] for group in threshold.duplicates],
        "departures": list(built.manifest.deviations),
        "views": built.manifest.layout.to_json(),
        "seconds": {step: round(time, 3) for step, time in built.seconds.items()},
    }


def _chosen_views(chosen: argparse.Namespace) -> Views:
    from spade_edge.galleries import Views

    return Views(
        tile=None if chosen.views in (WHOLE, AUTO) else chosen.views,
        overlap=chosen.overlap,
        regions=tuple(chosen.region),
        mask=chosen.mask,
        auto=chosen.views == AUTO,
    )


def _about_views(plan: Plan, chosen: argparse.Namespace) -> list[str]:
    """What is looked at of a frame and what it costs; and what would suit the frames better."""
    gallery = (plan.size - plan.fixed) / len(plan.images)
    cost = "{0} view{1} a frame: about {2:,.0f} ms of network on this machine, {3:.1f} MB a good image"

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


def _views(text: str) -> str | tuple[int, int]:
    return text if text in (WHOLE, AUTO) else size(text)


def _region(text: str) -> Box:
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isascii() and part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected X,Y,WIDTH,HEIGHT in whole pixels, found {text!r}")
    x, y, width, height = (int(part) for part in parts)
    return x, y, width, height


def _neighbours(text: str) -> int:
    """K; 0 stands for all."""
    return 0 if text == "all" else positive(text)
