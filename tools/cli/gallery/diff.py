"""`gallery diff`: what differs between two generations, or between two bundles."""

from __future__ import annotations

import argparse
import json

from spade_edge.runtime import UsageError
from spade_edge.tools.cli.arguments import add_json, path, positive
from spade_edge.tools.cli.gallery.verbs import Verbs, add_verb


def add_arguments(verbs: Verbs) -> None:
    diff = add_verb(verbs, "diff", run, what="what differs between two generations, or two bundles", bundle=False)
    diff.add_argument("--bundle", type=path, metavar="DIR", help="the bundle whose generations OLD and NEW are")
    diff.add_argument("old", metavar="OLD", help="a bundle folder; with --bundle the number of a generation")
    diff.add_argument("new", metavar="NEW", nargs="?", help="the same; with --bundle, without NEW: the one in force")
    add_json(diff)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.bundle_difference import difference
    from spade_edge.tools.cli.text.generations import difference_as_json, difference_lines

    given = [chosen.old] if chosen.new is None else [chosen.old, chosen.new]
    if chosen.bundle is None and len(given) < 2:
        raise UsageError("expected two bundle folders, or --bundle with numbers of generations, found one folder")
    convert = path if chosen.bundle is None else positive
    try:
        compared = [convert(one) for one in given]
    except argparse.ArgumentTypeError as problem:
        raise UsageError(f"gallery diff: {problem}") from None
    found = difference(*compared, bundle=chosen.bundle)
    print(json.dumps(difference_as_json(found)) if chosen.json else "\n".join(difference_lines(found)))
    return 0
