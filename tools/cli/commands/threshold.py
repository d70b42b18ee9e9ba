"""Show a bundle's threshold and where it comes from, or change it.

    spade-edge threshold --bundle part.spade
    spade-edge threshold --bundle part.spade --false-rejects 0.5% --reason "fewer false rejects wanted"
    spade-edge threshold --bundle part.spade --score 0.5 --reason "scratches under 1 mm are accepted"

A rate is converted to a threshold with the scores of good parts, which the bundle keeps. Images of n different
parts cannot certify a rate below 1 / (n + 1); a lower rate is extrapolated, and marked as such. A change writes a new
manifest in one step, with the date and the reason; 'spade-edge gallery undo' goes back.
"""

from __future__ import annotations

import argparse
import json
import sys

from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.cli.arguments import add_bundle, add_json, fraction, not_negative, number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument(
        "--false-rejects",
        type=fraction,
        metavar="RATE",
        help="fraction of good frames that may be rejected: 0.01 or 1%%",
    )
    parser.add_argument("--score", type=number, metavar="VALUE", help="set the score threshold manually")
    parser.add_argument(
        "--pixel", type=number, metavar="VALUE", help="set the pixel threshold manually; regions are drawn above it"
    )
    parser.add_argument(
        "--min-area",
        type=not_negative,
        metavar="PIXELS",
        help="report no region smaller than this, in frame pixels; 0 for all",
    )
    parser.add_argument(
        "--reason", default="", metavar="TEXT", help="why the threshold is changed; required, and kept with the change"
    )
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries import set_threshold
    from spade_edge.tools.cli.text.threshold import as_json, lines

    given = {"rate": chosen.false_rejects, "score": chosen.score, "pixel": chosen.pixel, "area": chosen.min_area}
    if chosen.reason or any(value is not None for value in given.values()):
        change = set_threshold(chosen.bundle, **given, reason=chosen.reason)
        print(
            f"changed; the former threshold is kept in {change.former}; 'spade-edge gallery undo' goes back",
            file=sys.stderr,
        )
    manifest = Manifest.read(chosen.bundle)
    print(json.dumps(as_json(manifest)) if chosen.json else "\n".join(lines(manifest, chosen.bundle)))
    return 0
