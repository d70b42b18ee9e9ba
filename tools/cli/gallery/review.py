"""`gallery review`: a page with the good images."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from spade_edge.tools.cli.arguments import add_threads, path, place_of_images
from spade_edge.tools.cli.gallery.verbs import Verbs, add_verb
from spade_edge.tools.cli.output_folder import check_folder


def add_arguments(verbs: Verbs) -> None:
    review = add_verb(verbs, "review", run, what="write a page with the good images, the least typical first")
    review.add_argument("folder", type=path, metavar="DIR", help="write index.html there")
    review.add_argument(
        "--images",
        type=place_of_images,
        metavar="DIR",
        help="the images that the bundle was built from, for larger pictures: a folder, an address, or a dataset file",
    )
    add_threads(review)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.datasets import images_at
    from spade_edge.tools.report.page import check_page
    from spade_edge.tools.report.review import FILE, write_review

    check_folder("the page", chosen.folder)
    check_page(chosen.folder / FILE)
    with nullcontext() if chosen.images is None else images_at(chosen.images, progress=progress) as images:
        folder = None if images is None else images.folder
        print(write_review(chosen.folder, chosen.bundle, images=folder, threads=chosen.threads, progress=progress))
    return 0
