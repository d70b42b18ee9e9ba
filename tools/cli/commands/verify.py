"""Verify who signed a bundle, and that every file of it is the one that was signed.

    spade-edge verify --bundle part.spade --key line.key.pub

The signature of one of the keys is enough. Exit code 3, with one line that says what is wrong, if the bundle was not
signed with any of them, or was changed afterwards. 'score --require-signature' refuses such a bundle.
"""

from __future__ import annotations

import argparse
import json

from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.tools.cli.arguments import add_bundle, add_json, path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument(
        "--key",
        required=True,
        action="append",
        type=path,
        metavar="KEY.pub",
        help="the public key; may be given several times",
    )
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.signing import verify

    verified = verify(chosen.bundle, *chosen.key)
    if chosen.json:
        print(json.dumps(verified.to_json()))
    else:
        print(
            f"{chosen.bundle}: the manifest {verified.manifest_sha256[:SHORT]} was signed with the key "
            f"{verified.key[:SHORT]} ({verified.source}), and its {verified.files} files are the ones that were signed"
        )
    return 0
