"""Unpack a bundle from the file that 'spade-edge pack' wrote.

    spade-edge unpack part.tar part.spade

Where there is no bundle yet, it appears in one step, with its history if that was packed. A bundle that is there gets
a new generation, keeps its own history, and can be taken back with 'spade-edge gallery undo'. The file is checked while
it is read: no other files than those of a bundle, no links, every size and hash. After a failure everything is as
before.
"""

from __future__ import annotations

import argparse
import json

from spade_edge.tools.cli.arguments import add_json, path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=path, metavar="FILE", help="the file that 'spade-edge pack' wrote")
    parser.add_argument("output", type=path, metavar="DIR", help="the bundle folder to write")
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.unpacking import unpack
    from spade_edge.tools.cli.text.packing import unpacked_as_json, unpacked_sentence

    unpacked = unpack(chosen.file, chosen.output)
    print(json.dumps(unpacked_as_json(unpacked)) if chosen.json else unpacked_sentence(unpacked))
    return 0
