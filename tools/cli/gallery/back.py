"""`gallery undo` and `gallery back-to`: a former generation in force again."""

from __future__ import annotations

import argparse
import json

from spade_edge.tools.cli.arguments import add_json, positive
from spade_edge.tools.cli.gallery.verbs import Verbs, add_verb, add_who


def add_arguments(verbs: Verbs) -> None:
    undo = add_verb(verbs, "undo", run, what="go back to the generation before this one; once more goes further back")
    back = add_verb(verbs, "back-to", run, what="go back, or forward, to a generation that is kept")
    back.add_argument("number", type=positive, metavar="N", help="number of the generation, as 'gallery log' shows it")
    for verb in (undo, back):
        verb.add_argument("--reason", default="", metavar="TEXT", help="why; kept in the log")
        add_who(verb)
        add_json(verb)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.generation import back_to, undo
    from spade_edge.tools.cli.text.generations import as_json, switched

    if chosen.verb == "undo":
        generation = undo(chosen.bundle, reason=chosen.reason, who=chosen.who)
    else:
        generation = back_to(chosen.bundle, chosen.number, reason=chosen.reason, who=chosen.who)
    print(json.dumps(as_json(generation)) if chosen.json else switched(generation))
    return 0
