"""Show and change the good images of a bundle, and go back to former generations of it.

    spade-edge gallery list    --bundle part.spade
    spade-edge gallery review  --bundle part.spade review/
    spade-edge gallery add     --bundle part.spade rejects/17.png --reason "was good"
    spade-edge gallery remove  --bundle part.spade 17.png
    spade-edge gallery exclude --bundle part.spade 017.png 042.png --reason "scratched"
    spade-edge gallery include --bundle part.spade 042.png
    spade-edge gallery place   --bundle part.spade auto
    spade-edge gallery log     --bundle part.spade
    spade-edge gallery undo    --bundle part.spade
    spade-edge gallery back-to --bundle part.spade 3
    spade-edge gallery diff    --bundle part.spade 3 5
    spade-edge gallery prune   --bundle part.spade --keep 5

No frame is matched with an excluded image, and it is no evidence for the threshold, but its features stay in the
bundle; a removed one leaves with them. Scores, limits and threshold are found anew, without the image files. Images
that were taught in because they were rejected are matched with, but set no threshold: they do not stand for the frames
of the line.

Every change of a bundle, also by build, threshold and calibrate, is a generation of it: log.jsonl says who made it,
when and why, and history/ keeps its manifest.
"""

from __future__ import annotations

import argparse

from spade_edge.tools.cli.gallery import back, diff, exclusion, listing, log, place, prune, review, teaching

FAMILIES = (listing, review, teaching, exclusion, place, log, back, diff, prune)  # in the order of the help


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for family in FAMILIES:
        family.add_arguments(verbs)


def run(chosen: argparse.Namespace) -> int:
    return int(chosen.run_verb(chosen))
