"""Show a bundle's threshold and where it comes from, or change it.

    spade-edge threshold --bundle part.spade
    spade-edge threshold --bundle part.spade --false-rejects 0.5% --reason "fewer false rejects wanted"
    spade-edge threshold --bundle part.spade --score 1200 --reason "scratches under 1 mm are accepted"

A rate is converted to a threshold with the scores of the good images, which the bundle keeps. n images cannot certify a
rate below 1 / (n + 1); a lower rate is extrapolated, and marked as such. A change writes a new manifest in one step,
with the date and the reason. The former manifest is kept in history/.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.bundle.threshold import Threshold
from spade_edge.tools.cli.arguments import add_bundle, add_json, fraction, not_negative


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument(
        "--false-rejects",
        type=fraction,
        metavar="RATE",
        help="fraction of good frames that may be rejected: 0.01 or 1%%",
    )
    parser.add_argument("--score", type=float, metavar="VALUE", help="set the score threshold manually")
    parser.add_argument(
        "--pixel", type=float, metavar="VALUE", help="set the pixel threshold manually; regions are drawn above it"
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

    given = {"rate": chosen.false_rejects, "score": chosen.score, "pixel": chosen.pixel, "area": chosen.min_area}
    if all(value is None for value in given.values()):
        threshold = Manifest.read(chosen.bundle).threshold
    else:
        change = set_threshold(chosen.bundle, **given, reason=chosen.reason)
        threshold = change.threshold
        print(f"changed; the former threshold is kept in {change.former}", file=sys.stderr)
    if chosen.json:
        print(json.dumps(_as_json(threshold)))
    else:
        _print(threshold)
    return 0


def _as_json(threshold: Threshold) -> dict[str, Any]:
    from spade_edge.galleries.calibration import alternatives

    options = [
        {"rate": option.rate, "score": option.score, "basis": option.basis, "interval": list(option.interval)}
        for option in alternatives(threshold)
    ]
    return threshold.to_json() | {"options": options}


def _print(threshold: Threshold) -> None:
    from spade_edge.galleries.calibration import RATES, alternatives
    from spade_edge.galleries.conformal import images_needed, lowest_rate

    print(f"threshold {threshold.score:.6g}: {threshold.sentence()}")
    print(f"  {threshold.method}; set {threshold.set}" + (f": {threshold.reason}" if threshold.reason else ""))
    print(
        f"regions above {threshold.pixel:.6g}" + (f", of {threshold.area:g} pixels or more" if threshold.area else "")
    )
    count = threshold.evidence
    if threshold.duplicates:
        print(f"{len(threshold.scores)} good images, of which {len(threshold.scores) - count} are duplicates")
    print(f"\n{'rate':>8}  {'threshold':>10}  {'95 % interval':>18}")
    for rate, option in zip(RATES, alternatives(threshold), strict=False):
        low, high = option.interval
        print(f"{rate:8.2%}  {option.score:10.6g}  {f'{low:.2%} to {high:.2%}':>18}  {option.basis}")
    print(f"\n{count} good images certify {lowest_rate(count):.2%} at best; ", end="")
    print(", ".join(f"{rate:.1%} takes {images_needed(rate):,}" for rate in (0.01, 0.002)))
