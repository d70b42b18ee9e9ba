"""`gallery list`: the good images of a bundle."""

from __future__ import annotations

import argparse
import json

from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.cli.gallery.verbs import Verbs, add_verb


def add_arguments(verbs: Verbs) -> None:
    listing = add_verb(verbs, "list", run, what="one line for each good image, the least typical first")
    listing.add_argument("--json", action="store_true", help="print one JSON object for each image")


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.text.gallery import as_json, lines

    manifest = Manifest.read(chosen.bundle)
    if chosen.json:
        for image in as_json(manifest):
            print(json.dumps(image))
    else:
        print("\n".join(lines(manifest)))
    return 0
