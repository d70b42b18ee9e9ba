"""`gallery log`: the generations of a bundle."""

from __future__ import annotations

import argparse
import json

from spade_edge.tools.cli.gallery.verbs import Verbs, add_verb


def add_arguments(verbs: Verbs) -> None:
    log = add_verb(verbs, "log", run, what="who changed the bundle, when, why and how, the oldest change first")
    log.add_argument("--json", action="store_true", help="print one JSON object for each line of the log")


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.generation import generations
    from spade_edge.tools.cli.text.generations import as_json, lines

    found = generations(chosen.bundle)
    if chosen.json:
        for generation in found:
            print(json.dumps(as_json(generation)))
    else:
        print("\n".join(lines(found)))
    return 0
