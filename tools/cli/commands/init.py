"""Write a commented configuration of a line, for the cameras and bundles of this machine.

    spade-edge init
    spade-edge init --bundle cap.spade --bundle lid.spade --output press-3.toml
    spade-edge init --bundle cap.spade --source new_parts/ --output trial.toml

The file has a table for each camera that is plugged in and for each bundle, and every other option as a comment with
its default, so that it is its own manual. Where nothing was found, an example stands in its place. A file that is there
is never replaced. Cameras of the network are not looked for: write their addresses into the file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from spade_edge.tools.cli.arguments import add_json, path, source

LINE = Path("line.toml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=path, default=LINE, metavar="FILE", help=f"the file to write ({LINE})")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--bundle",
        action="append",
        type=path,
        help="a bundle that 'spade-edge build' wrote; may be given several times",
    )
    which.add_argument(
        "--folder", type=path, metavar="DIR", help="folder in which bundles (*.spade) are looked for (the current one)"
    )
    parser.add_argument(
        "--source",
        action="append",
        type=source,
        metavar="SOURCE",
        help="a camera, an address or a folder of images for a trial, as for 'spade-edge score'; may be given several "
        "times",
    )
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.text.init import written_as_json, written_sentences
    from spade_edge.tools.line.first_configuration import write_first

    written = write_first(chosen.output, bundles=chosen.bundle or (), sources=chosen.source or (), folder=chosen.folder)
    print(json.dumps(written_as_json(written)) if chosen.json else "\n".join(written_sentences(written)))
    return 0
