"""`gallery place`: where cells are matched."""

from __future__ import annotations

import argparse
import json
import sys

from spade_edge.tools.cli.arguments import add_json, add_threads
from spade_edge.tools.cli.gallery.remarks import print_remarks
from spade_edge.tools.cli.gallery.verbs import Verbs, add_verb
from spade_edge.tools.cli.matching_arguments import place_of_cells


def add_arguments(verbs: Verbs) -> None:
    place = add_verb(verbs, "place", run, what="match cells at their place, or at any place")
    place.add_argument(
        "place",
        type=place_of_cells,
        metavar="auto|free|N",
        help="auto: chosen from the good images; free: any place; N: at most N cells from their place",
    )
    add_threads(place)
    add_json(place)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.place_change import set_place
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.cli.text.gallery import change_as_json, threshold_sentence

    change = set_place(chosen.bundle, chosen.place, threads=chosen.threads, progress=progress)
    print_remarks(change)
    print(change.manifest.place.reason, file=sys.stderr)
    print(json.dumps(change_as_json(change)) if chosen.json else threshold_sentence(change))
    return 0
