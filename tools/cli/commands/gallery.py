"""Show the good images of a bundle, review them, exclude some or include them again, change where cells are matched.

    spade-edge gallery list --bundle part.spade
    spade-edge gallery review --bundle part.spade review/
    spade-edge gallery exclude --bundle part.spade 017.png 042.png --reason "scratched"
    spade-edge gallery include --bundle part.spade 042.png
    spade-edge gallery place   --bundle part.spade auto

No frame is matched with an excluded image, and it is no evidence for the threshold, but its features stay in the
bundle. Scores, limits and threshold are found anew, without the image files. The former manifest is kept in history/.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.cli.arguments import add_bundle, add_json, add_threads, path
from spade_edge.tools.cli.matching_arguments import place_of_cells
from spade_edge.tools.cli.output_folder import check_folder

if TYPE_CHECKING:
    from spade_edge.galleries.gallery_change import GalleryChange


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="one line for each good image, the least typical first")
    add_bundle(listing)
    listing.add_argument("--json", action="store_true", help="print one JSON object for each image")
    review = verbs.add_parser("review", help="write a page with the good images, the least typical first")
    add_bundle(review)
    review.add_argument("folder", type=path, metavar="DIR", help="write index.html there")
    review.add_argument(
        "--images", type=path, metavar="DIR", help="the folder that the bundle was built from, for larger pictures"
    )
    add_threads(review)
    for verb, what in (("exclude", "exclude good images"), ("include", "include excluded images again")):
        change = verbs.add_parser(verb, help=what)
        add_bundle(change)
        change.add_argument("names", nargs="+", metavar="NAME", help="names of images, as 'gallery list' shows them")
        if verb == "exclude":
            change.add_argument("--reason", default="", metavar="TEXT", help="why; required, and kept with the image")
        add_threads(change)
        add_json(change)
    place = verbs.add_parser("place", help="match cells at their place, or at any place")
    add_bundle(place)
    place.add_argument(
        "place",
        type=place_of_cells,
        metavar="auto|free|N",
        help="auto: chosen from the good images; free: any place; N: at most N cells from their place",
    )
    add_threads(place)
    add_json(place)


def run(chosen: argparse.Namespace) -> int:
    return {"list": _list, "review": _review, "exclude": _change, "include": _change, "place": _place}[chosen.verb](
        chosen
    )


def _list(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.text.gallery import as_json, lines

    manifest = Manifest.read(chosen.bundle)
    if chosen.json:
        for image in as_json(manifest):
            print(json.dumps(image))
    else:
        print("\n".join(lines(manifest)))
    return 0


def _review(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.report.page import check_page
    from spade_edge.tools.report.review import FILE, write_review

    check_folder("the page", chosen.folder)
    check_page(chosen.folder / FILE)
    print(write_review(chosen.folder, chosen.bundle, images=chosen.images, threads=chosen.threads, progress=progress))
    return 0


def _place(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.place_change import set_place
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.cli.text.gallery import change_as_json, threshold_sentence

    change = set_place(chosen.bundle, chosen.place, threads=chosen.threads, progress=progress)
    _remarks(change)
    print(change.manifest.place.reason, file=sys.stderr)
    print(json.dumps(change_as_json(change)) if chosen.json else threshold_sentence(change))
    return 0


def _change(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.exclusion import exclude, include
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.cli.text.gallery import change_as_json, sentence

    if chosen.verb == "exclude":
        change = exclude(chosen.bundle, chosen.names, reason=chosen.reason, threads=chosen.threads, progress=progress)
    else:
        change = include(chosen.bundle, chosen.names, threads=chosen.threads, progress=progress)
    _remarks(change)
    print(json.dumps(change_as_json(change)) if chosen.json else sentence(change, chosen.verb))
    return 0


def _remarks(change: GalleryChange) -> None:
    """What else a change of the gallery means, on stderr."""
    print(f"the former bundle is kept: {change.former} is its manifest", file=sys.stderr)
    if change.before.frames:
        print(
            "the held-back frames were scored with the former images and are no evidence any more: "
            "run 'spade-edge calibrate' again",
            file=sys.stderr,
        )
    if change.before.alignment is not None and change.manifest.alignment is None:
        print("these images do not show clearly where the part lies: frames are not aligned any more", file=sys.stderr)
    if caution := change.manifest.threshold.caution():
        print(caution, file=sys.stderr)
