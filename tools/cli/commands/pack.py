"""Pack a bundle into one file, a plain tar, to carry it to another machine.

    spade-edge pack --bundle part.spade part.tar
    spade-edge pack --bundle part.spade part.tar --history

The file holds the generation in force and its signatures, with --history also the log and the generations that are
kept. Every file is checked by its hash on the way. The same bundle gives the same bytes. 'spade-edge unpack' reads the
file.
"""

from __future__ import annotations

import argparse
import json

from spade_edge.tools.cli.arguments import add_bundle, add_json, path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("file", type=path, metavar="FILE", help="the file to write, by convention ….tar")
    parser.add_argument("--history", action="store_true", help="pack the log and the former generations too")
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.packing import pack
    from spade_edge.tools.cli.text.packing import packed_as_json, packed_sentence

    packed = pack(chosen.bundle, chosen.file, history=chosen.history)
    print(json.dumps(packed_as_json(packed)) if chosen.json else packed_sentence(packed))
    return 0
