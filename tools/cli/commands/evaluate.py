"""Evaluate a bundle on labelled images: detection, localisation, false rejects and missed defects.

DIR of --dataset is one of

    DIR/test/good, DIR/test/TYPE                MVTec AD, MVTec LOCO AD, BTAD; MVTec AD 2 with test_public
    DIR/Data/Images/Normal, .../Anomaly         VisA; split_csv/1cls.csv beside DIR says which images to test with
    DIR/good, DIR/TYPE                          one folder per type of defect

The folder of good images may also be called ok or normal. Masks lie in DIR/ground_truth or DIR/masks as
TYPE/NAME_mask.png, TYPE/NAME.png or TYPE/NAME/*.png, or beside the images as NAME_mask.png.

Pixel metrics need masks for all defective images. Without defective images only false rejects are computed. A frame
that cannot be judged counts as a reject. Exit code 0: the evaluation is complete, whatever the results are.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spade_edge.runtime import UsageError
from spade_edge.tools.cli.arguments import (
    add_bits,
    add_bundle,
    add_even_so,
    add_json,
    add_match,
    add_provider,
    add_require_signature,
    add_search,
    add_threads,
    path,
    place_of_images,
)
from spade_edge.tools.cli.folder_arguments import add_follow_links
from spade_edge.tools.cli.interruption import Interruption
from spade_edge.tools.cli.opening import open_scorer
from spade_edge.tools.cli.output_folder import check_folder
from spade_edge.tools.cli.progress import ProgressLines
from spade_edge.tools.evaluation.dataset import Dataset, open_dataset

if TYPE_CHECKING:
    from spade_edge.tools.datasets import LocalImages

PAGE = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    add_require_signature(parser)
    parser.add_argument(
        "--dataset",
        required=True,
        type=place_of_images,
        metavar="DIR",
        help="good and defective images, see above: a folder, the address of one, or a dataset file that lists it",
    )
    parser.add_argument(
        "--report", type=path, metavar="DIR", help=f"write {PAGE} there, with metrics, curves and mistakes"
    )
    parser.add_argument(
        "--resume",
        type=path,
        metavar="FOLDER",
        help="keep intermediate results in this folder; after Ctrl-C or a crash the same command resumes there",
    )
    add_follow_links(parser)
    add_bits(parser, default="as in the good images")
    add_even_so(parser, what="judge also images of other colours, another depth, shape or size than the good images")
    add_search(parser)
    add_threads(parser)
    add_provider(parser)
    add_match(parser)
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.datasets import images_at

    with images_at(chosen.dataset, progress=progress) as images:
        return _evaluate(chosen, images)


def _evaluate(chosen: argparse.Namespace, images: LocalImages) -> int:
    dataset = open_dataset(images.folder, follow_links=bool(chosen.follow_links))
    for option, folder in (("--report", chosen.report), ("--resume", chosen.resume)):
        _check_folder(option, folder, dataset)
    if chosen.report is not None:
        from spade_edge.tools.report.page import check_page

        check_page(chosen.report / PAGE)
    _announce(images.told(dataset))
    scorer = open_scorer(chosen)
    from spade_edge.tools.cli.text.evaluate import lines
    from spade_edge.tools.evaluation.evaluator import evaluate

    with Interruption(lambda: None) as interruption:
        try:
            evaluation = evaluate(
                scorer,
                dataset,
                bits=chosen.bits,
                resume=chosen.resume,
                examples=chosen.report is not None,
                progress=ProgressLines(),
                stopped=lambda: interruption.number is not None,
            )
        except KeyboardInterrupt:
            if chosen.resume is not None:
                print("run the same command again to resume", file=sys.stderr)
            if interruption.number not in (None, signal.SIGINT):
                raise SystemExit(128 + interruption.number) from None
            raise
    evaluation = images.told(evaluation)
    # Before the page, so that a full disk costs the page only.
    print(
        json.dumps(evaluation.to_json(), allow_nan=False) if chosen.json else "\n".join(lines(evaluation)), flush=True
    )
    if chosen.report is not None:
        from spade_edge.tools.report import write_evaluation

        write_evaluation(chosen.report / PAGE, evaluation, bundle=scorer.bundle)
        print(f"{chosen.report / PAGE}: open it in a browser", file=sys.stderr)
    return 0


def _check_folder(option: str, folder: Path | None, dataset: Dataset) -> None:
    """Refuse a folder in which the next run would look for images, or that cannot be written.

    Raises:
        UsageError: it is inside the dataset, or a file.
        DataError: it cannot be written.
    """
    if folder is None:
        return
    if folder.resolve().is_relative_to(dataset.path.resolve()):
        raise UsageError(
            f"{folder}: expected a folder for {option} outside the dataset, found it inside; choose another"
        )
    check_folder(option, folder)


def _announce(dataset: Dataset) -> None:
    """Tell before the long work what cannot be computed."""
    if reason := dataset.no_pixel_metrics():
        left = "image metrics and counts" if dataset.defective else "false rejects"
        print(f"no pixel metrics: {reason}; going on with {left}", file=sys.stderr, flush=True)
