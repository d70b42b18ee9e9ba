"""Build a bundle from a folder of images of good parts.

Every image goes through the model as a camera frame would. The threshold is the largest score that a good image gets
when it is compared with all the others; no false-reject rate is promised for it ("uncalibrated").
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from spade_edge.runtime.matcher import CODES, EXACT, HNSW, NONE, PROFILES
from spade_edge.tools.argument import path, positive, threads

if TYPE_CHECKING:
    from spade_edge.galleries import Built, Plan


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
    parser.add_argument("--skip-bad", action="store_true", help="name images that cannot be read and leave them out")
    parser.add_argument(
        "--threads", type=threads, metavar="N", help="threads of all but the index (default: one a core)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries import build
    from spade_edge.tools.progress import progress

    given = {name: getattr(chosen, name) for name in ("kappa", "sigma", "projection", "search", "candidates", "ef")}
    if given["projection"] == NONE and given["search"] is None:
        given["search"] = EXACT
    matching = replace(PROFILES[chosen.profile], **{name: value for name, value in given.items() if value is not None})
    if chosen.neighbours is not None:
        matching = replace(matching, neighbours=chosen.neighbours or None)

    built = build(
        chosen.images,
        model=chosen.model,
        output=chosen.output,
        profile=chosen.profile,
        matching=matching,
        skip_bad=chosen.skip_bad,
        threads=chosen.threads,
        announce=lambda plan: _announce(plan, chosen),
        progress=progress,
    )
    for complaint in built.skipped:
        print(f"skipped {complaint}", file=sys.stderr)
    if built.former is not None:
        print(f"the former bundle is kept: {built.former} holds its manifest", file=sys.stderr)
    if chosen.json:
        print(json.dumps(_as_json(built)))
    else:
        threshold = built.manifest.threshold
        print(
            f"{built.path}: {len(built.manifest.names)} good images, {built.manifest.size / 1e6:,.0f} MB, "
            f"threshold {threshold.score:.4g} (uncalibrated: the {threshold.method})"
        )
    return 0


def _announce(plan: Plan, chosen: argparse.Namespace) -> None:
    print(
        f"{chosen.images}: {len(plan.images)} images found; the bundle will take {plan.size / 1e6:,.0f} MB, "
        f"of which the model {chosen.model.stat().st_size / 1e6:,.0f} MB",
        file=sys.stderr,
    )
    if chosen.profile == "paper" and plan.departures:
        print(f"departs from the paper: {'; '.join(plan.departures)}", file=sys.stderr)


def _as_json(built: Built) -> dict[str, Any]:
    threshold = built.manifest.threshold
    return {
        "bundle": str(built.path),
        "images": len(built.manifest.names),
        "skipped": list(built.skipped),
        "size": built.manifest.size,
        "threshold": threshold.score,
        "pixel_threshold": threshold.pixel,
        "calibrated": threshold.calibrated,
        "departures": list(built.manifest.departures),
        "seconds": {step: round(time, 3) for step, time in built.seconds.items()},
    }


def _neighbours(text: str) -> int:
    """K; 0 stands for all."""
    return 0 if text == "all" else positive(text)
