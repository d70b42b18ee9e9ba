"""`gallery prune`: old generations are deleted."""

from __future__ import annotations

import argparse
import json

from spade_edge.tools.cli.arguments import add_json, positive
from spade_edge.tools.cli.gallery.verbs import Verbs, add_verb, add_who

KEEP = 5


def add_arguments(verbs: Verbs) -> None:
    prune = add_verb(verbs, "prune", run, what="delete old generations, and the files that only they need")
    prune.add_argument(
        "--keep",
        type=positive,
        default=KEEP,
        metavar="N",
        help=f"how many of the newest generations stay; default {KEEP}; the one in force stays in any case",
    )
    add_who(prune)
    add_json(prune)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.generation import prune
    from spade_edge.tools.cli.text.generations import pruned, pruned_as_json

    result = prune(chosen.bundle, keep=chosen.keep, who=chosen.who)
    print(json.dumps(pruned_as_json(result)) if chosen.json else pruned(result))
    return 0
