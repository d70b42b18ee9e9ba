"""Build the bundles of many lines, publish them, roll them out, and see what every device reports.

spade-edge fleet build   fleet.toml
spade-edge fleet push    --registry oci://registry.plant:5000/spade part.spade bolt
spade-edge fleet list    --registry oci://registry.plant:5000/spade
spade-edge fleet promote --registry oci://registry.plant:5000/spade bolt@DIGEST production
spade-edge fleet pull    --registry oci://registry.plant:5000/spade bolt:production --bundle part.spade
spade-edge fleet status  reports/
"""

from __future__ import annotations

import argparse

from spade_edge.tools.cli.fleet import build, listing, promote, pull, push, status

FAMILIES = (build, push, listing, promote, pull, status)  # in the order of the help


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for family in FAMILIES:
        family.add_arguments(verbs)


def run(chosen: argparse.Namespace) -> int:
    return int(chosen.run_verb(chosen))
