"""Build a bundle from a folder of images of good parts.

Every image goes through the network as a camera frame would. For the threshold, each image is scored against all the
others. n good images certify a false-reject rate of 1 in n + 1, or a higher one that you choose. A lower rate is
extrapolated, and marked as such. 'spade-edge threshold' shows and changes the threshold afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from spade_edge.tools.cli.arguments import add_json, fraction, not_negative, path, threads
from spade_edge.tools.cli.matching_arguments import add_matching_options, matching_options
from spade_edge.tools.cli.view_arguments import add_view_options, view_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, type=path, metavar="FILE", help="the model that 'spade-edge export' wrote"
    )
    parser.add_argument(
        "--images", required=True, type=path, metavar="DIR", help="folder of images of good parts, including subfolders"
    )
    parser.add_argument(
        "--output", required=True, type=path, metavar="BUNDLE", help="the bundle folder to write, such as part.spade"
    )
    add_matching_options(parser)
    add_view_options(parser)
    parser.add_argument(
        "--false-rejects",
        type=fraction,
        metavar="RATE",
        help="fraction of good frames that may be rejected: 0.01 or 1%% (default: the lowest that the images certify)",
    )
    parser.add_argument(
        "--min-area",
        type=not_negative,
        default=0.0,
        metavar="PIXELS",
        help="report no region smaller than this, in frame pixels (0)",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out images that cannot be read, and name them")
    parser.add_argument(
        "--threads", type=threads, metavar="N", help="threads for all steps but the index (default: one per core)"
    )
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries import BuildOptions, build
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.cli.text.build import as_json, notes, plan_lines, sentence

    built = build(
        chosen.images,
        model=chosen.model,
        output=chosen.output,
        options=BuildOptions(
            profile=chosen.profile,
            matching=matching_options(chosen),
            views=view_options(chosen),
            rate=chosen.false_rejects,
            area=chosen.min_area,
            skip_bad=chosen.skip_bad,
            threads=chosen.threads,
        ),
        announce=lambda plan: _tell(plan_lines(plan, chosen)),
        progress=progress,
    )
    _tell(notes(built))
    print(json.dumps(as_json(built)) if chosen.json else sentence(built))
    return 0


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)
