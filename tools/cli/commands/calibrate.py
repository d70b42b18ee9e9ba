"""Check a bundle's false-reject rate on good frames that it was not built from, and certify the threshold anew.

    spade-edge calibrate --bundle part.spade held_back/
    spade-edge calibrate --bundle part.spade held_back/ --certify frames --reason "new lamp"

Without --certify nothing is changed: the frames are scored, and an exact binomial test says whether the promised rate
holds for them. --certify frames sets the threshold from these frames alone; --certify both counts them together with
the good images, which is refused if they do not score alike. A frame that cannot be judged counts as a reject. Frames
of one part count once. Exit code 0: the check is complete, whatever it found.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace

from spade_edge.runtime.bundle.evidence import BOTH, FRAMES
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.cli.arguments import (
    add_bits,
    add_bundle,
    add_even_so,
    add_groups,
    add_json,
    add_threads,
    fraction,
    place_of_images,
)
from spade_edge.tools.cli.folder_arguments import add_follow_links


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument(
        "frames",
        type=place_of_images,
        metavar="FRAMES",
        help="good frames that were held back: a folder, an address, or a dataset file",
    )
    add_follow_links(parser)
    add_groups(parser)
    parser.add_argument(
        "--certify",
        choices=(FRAMES, BOTH),
        help="set the threshold from these frames alone, or from them and the good images",
    )
    parser.add_argument(
        "--false-rejects",
        type=fraction,
        metavar="RATE",
        help="with --certify: fraction of good frames that may be rejected, 0.01 or 1%%",
    )
    parser.add_argument(
        "--reason", default="", metavar="TEXT", help="with --certify: why; required, and kept with the change"
    )
    add_bits(parser, default="as in the good images")
    add_even_so(parser, what="judge also frames of other colours, another depth, shape or size than the good images")
    add_threads(parser)
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.held_back import calibrate
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.cli.text.calibrate import as_json, lines
    from spade_edge.tools.datasets import images_at

    before = Manifest.read(chosen.bundle)
    with images_at(chosen.frames, groups=chosen.groups, good_only=True, progress=progress) as frames:
        found = calibrate(
            chosen.bundle,
            frames.folder,
            groups=frames.groups,
            follow_links=bool(chosen.follow_links),
            certify=chosen.certify,
            rate=chosen.false_rejects,
            reason=chosen.reason,
            bits=chosen.bits,
            even_so=chosen.even_so,
            threads=chosen.threads,
            progress=progress,
        )
        found = replace(found, refused=frames.told(found.refused))
    if found.former is not None:
        print(f"changed; the former threshold is kept in {found.former}", file=sys.stderr)
    if chosen.json:
        print(json.dumps(as_json(found)))
    else:
        print("\n".join(lines(found, before, chosen.bundle)))
    return 0
