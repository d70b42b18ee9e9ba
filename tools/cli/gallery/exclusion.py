"""`gallery exclude` and `gallery include`: which good images are matched."""

from __future__ import annotations

import argparse
import json
import sys

from spade_edge.tools.cli.arguments import add_json, add_threads
from spade_edge.tools.cli.gallery.remarks import print_remarks
from spade_edge.tools.cli.gallery.verbs import Verbs, add_verb


def add_arguments(verbs: Verbs) -> None:
    for verb, what in (("exclude", "exclude good images"), ("include", "include excluded images again")):
        change = add_verb(verbs, verb, run, what=what)
        change.add_argument("names", nargs="+", metavar="NAME", help="names of images, as 'gallery list' shows them")
        if verb == "exclude":
            change.add_argument("--reason", default="", metavar="TEXT", help="why; required, and kept with the image")
        add_threads(change)
        add_json(change)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.exclusion import exclude, include
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.cli.text.gallery import change_as_json, sentence, warning

    if chosen.verb == "exclude":
        change = exclude(chosen.bundle, chosen.names, reason=chosen.reason, threads=chosen.threads, progress=progress)
    else:
        change = include(chosen.bundle, chosen.names, threads=chosen.threads, progress=progress)
    print_remarks(change)
    if said := warning(change.before, change.manifest):
        print(said, file=sys.stderr)
    print(json.dumps(change_as_json(change)) if chosen.json else sentence(change, chosen.verb))
    return 0
