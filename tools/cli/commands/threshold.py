"""Show where a bundle's threshold comes from, or change it.

    spade-edge threshold --bundle part.spade
    spade-edge threshold --bundle part.spade --false-rejects 0.5% --reason "foreman's wish"
    spade-edge threshold --bundle part.spade --score 1200 --reason "scratches under 1 mm are accepted"

A rate is turned into a threshold by the scores of the good images, which the bundle keeps: n of them can certify no
rate below 1 / (n + 1), so what is asked for beyond that is extrapolated, and says so. A change writes a new manifest in
one step, with the date and the reason; the former one is kept in history/.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.bundle.threshold import Threshold
from spade_edge.tools.cli.arguments import not_negative, path, share

RATES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", required=True, type=path, help="what 'spade-edge build' wrote")
    parser.add_argument(
        "--false-rejects", type=share, metavar="RATE", help="share of good frames that may be rejected: 0.01 or 1%%"
    )
    parser.add_argument("--score", type=float, metavar="VALUE", help="set the threshold of scores by hand")
    parser.add_argument("--pixel", type=float, metavar="VALUE", help="set the threshold of the map by hand: regions")
    parser.add_argument(
        "--min-area", type=not_negative, metavar="PIXELS", help="report no region of fewer frame pixels; 0 for all"
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="why it is changed; kept with the change")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.staging import replace_manifest

    manifest = Manifest.read(chosen.bundle)
    threshold = _changed(manifest.threshold, chosen)
    if threshold is not manifest.threshold:
        if not chosen.reason.strip():
            raise UsageError("expected --reason TEXT with a change, found none: somebody will ask for it")
        former = replace_manifest(chosen.bundle, replace(manifest, threshold=threshold))
        print(f"changed; the former threshold is kept in {former}", file=sys.stderr)
    if chosen.json:
        print(json.dumps(_as_json(threshold)))
    else:
        _print(threshold)
    return 0


def _changed(threshold: Threshold, chosen: argparse.Namespace) -> Threshold:
    from spade_edge.galleries.calibration import by_hand, recalibrated

    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    reason = chosen.reason.strip()
    if chosen.false_rejects is not None and (chosen.score is not None or chosen.pixel is not None):
        raise UsageError(
            "expected a rate or values by hand, found both; leave out --false-rejects or --score and --pixel"
        )
    if chosen.min_area is not None:
        threshold = replace(threshold, area=chosen.min_area, set=now, reason=reason)
    if chosen.false_rejects is not None:
        threshold = recalibrated(threshold, rate=chosen.false_rejects, now=now, reason=reason)
    if chosen.score is not None or chosen.pixel is not None:
        threshold = by_hand(threshold, score=chosen.score, pixel=chosen.pixel, now=now, reason=reason)
    return threshold


def _options(threshold: Threshold) -> list[tuple[float, Threshold]]:
    """Other rates, and what they would come to."""
    from spade_edge.galleries.calibration import recalibrated

    found = []
    for rate in RATES:
        try:
            found.append((rate, recalibrated(threshold, rate=rate, now="", reason="")))
        except UsageError:
            break  # too few images even to extrapolate, and lower rates fare no better
    return found


def _as_json(threshold: Threshold) -> dict[str, Any]:
    options = [
        {"rate": option.rate, "score": option.score, "basis": option.basis, "interval": list(option.interval)}
        for _, option in _options(threshold)
    ]
    return threshold.to_json() | {"options": options}


def _print(threshold: Threshold) -> None:
    from spade_edge.galleries.conformal import images_needed, lowest_rate

    print(f"threshold {threshold.score:.6g}: {threshold.sentence()}")
    print(f"  {threshold.method}; set {threshold.set}" + (f": {threshold.reason}" if threshold.reason else ""))
    print(f"regions over {threshold.pixel:.6g}" + (f", of {threshold.area:g} pixels or more" if threshold.area else ""))
    count = threshold.evidence
    if threshold.duplicates:
        print(f"{len(threshold.scores)} good images, of which {len(threshold.scores) - count} repeat others")
    print(f"\n{'rate':>8}  {'threshold':>10}  {'95 % interval':>18}")
    for rate, option in _options(threshold):
        low, high = option.interval
        print(f"{rate:8.2%}  {option.score:10.6g}  {f'{low:.2%} to {high:.2%}':>18}  {option.basis}")
    print(f"\n{count} good images certify {lowest_rate(count):.2%} at best; ", end="")
    print(", ".join(f"{rate:.1%} takes {images_needed(rate):,}" for rate in (0.01, 0.002)))
