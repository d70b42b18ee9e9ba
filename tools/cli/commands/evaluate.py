"""Evaluate a bundle on images whose truth is known: detection, localisation, false rejects and misses.

DIR of --dataset is one of

    DIR/test/good, DIR/test/TYPE                MVTec AD, masks in DIR/ground_truth/TYPE/NAME_mask.png or NAME.png
    DIR/good, DIR/TYPE                          a folder for each type, masks likewise, or none

Without masks for all defective images there are no figures of pixels, without defects only false rejects. What cannot
be judged counts as a reject. Exit code 0: evaluated, whatever came out.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from spade_edge.runtime import UsageError
from spade_edge.runtime.matching.config import EXACT
from spade_edge.runtime.result import GOOD
from spade_edge.tools.cli.arguments import add_provider, path, threads
from spade_edge.tools.cli.interruption import Interruption
from spade_edge.tools.cli.opening import open_scorer
from spade_edge.tools.cli.output_folder import prepare
from spade_edge.tools.evaluation.dataset import Dataset, open_dataset

if TYPE_CHECKING:
    from spade_edge.tools.evaluation.metrics import Metric, Rate
    from spade_edge.tools.evaluation.results import Evaluation

PAGE = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", required=True, type=path, help="what 'spade-edge build' wrote")
    parser.add_argument(
        "--dataset", required=True, type=path, metavar="DIR", help="good and defective images, see above"
    )
    parser.add_argument("--report", type=path, metavar="DIR", help=f"write {PAGE} there: figures, curves, mistakes")
    parser.add_argument(
        "--resume",
        type=path,
        metavar="FOLDER",
        help="keep results in this folder; the same command goes on from there after Ctrl-C or a crash",
    )
    parser.add_argument("--search", choices=(EXACT,), help="match against every embedding: the reference, slow")
    parser.add_argument("--threads", type=threads, metavar="N", help="threads of all work (default: one a core)")
    add_provider(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.evaluation.evaluator import evaluate

    dataset = open_dataset(chosen.dataset)
    for option, folder in (("--report", chosen.report), ("--resume", chosen.resume)):
        _check_folder(option, folder, dataset)
    _announce(dataset)
    scorer = open_scorer(chosen)
    with Interruption(lambda: None) as interruption:
        try:
            evaluation = evaluate(
                scorer,
                dataset,
                resume=chosen.resume,
                examples=chosen.report is not None,
                progress=Announcer(),
                stopped=lambda: interruption.number is not None,
            )
        except KeyboardInterrupt:
            if chosen.resume is not None:
                print("the same command goes on from here", file=sys.stderr)
            if interruption.number not in (None, signal.SIGINT):
                raise SystemExit(128 + interruption.number) from None
            raise
    if chosen.report is not None:
        from spade_edge.tools.report import write_evaluation

        write_evaluation(chosen.report / PAGE, evaluation, bundle=scorer.bundle)
        print(f"{chosen.report / PAGE}: open it in a browser", file=sys.stderr)
    if chosen.json:
        print(json.dumps(evaluation.to_json(), allow_nan=False))
    else:
        _print(evaluation)
    return 0


class Announcer:
    """A line on stderr every few seconds, and one at the end of each kind of work, that a log can keep."""

    EVERY = 5.0  # seconds

    def __init__(self) -> None:
        self._what = ""
        self._said = self._start = 0.0
        self._first = 0

    def __call__(self, what: str, done: int, of: int) -> None:
        now = monotonic()
        if what != self._what:  # what a former run has done tells nothing about the speed
            self._what, self._start, self._first, self._said = what, now, done, now
        if done < of and now - self._said < self.EVERY:
            return
        self._said = now
        line = f"{what}: {done} of {of}"
        if self._first < done < of:
            line += f", about {_duration((now - self._start) / (done - self._first) * (of - done))} left"
        print(line, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _check_folder(option: str, folder: Path | None, dataset: Dataset) -> None:
    """Refuse to write where the next run would look for images, or where nothing can be written.

    Raises:
        UsageError: it is among the images, or a file.
        DataError: it cannot be written.
    """
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder for {option}, found a file; choose another")
    if folder.resolve().is_relative_to(dataset.path.resolve()):
        raise UsageError(
            f"{folder}: expected a folder for {option} outside the dataset, found it inside; choose another"
        )
    prepare(folder)


def _announce(dataset: Dataset) -> None:
    """Say before the long work what there will be no figures of."""
    if reason := dataset.no_pixels():
        left = "image metrics and counts" if dataset.defective else "false rejects"
        print(f"no figures of pixels: {reason}; going on with {left}", file=sys.stderr, flush=True)


def _print(evaluation: Evaluation) -> None:
    header = evaluation.header
    print(f"{header.bundle}: threshold {header.threshold:.4g}, {header.promise}")
    print(
        f"{header.dataset}: images {len(evaluation.images)}, good {header.good}, defective {header.defective}, "
        f"types of defects {len(evaluation.types) - 1}, masks {header.masks}"
    )
    best = evaluation.f1_threshold
    print()
    for label, metric, beside in (
        ("image AUROC", evaluation.image_auroc, ""),
        ("average precision", evaluation.average_precision, ""),
        ("F1-max", evaluation.f1_max, "" if best is None else f"calling scores from {best:.4g} on defects"),
        ("pixel AUROC", evaluation.pixel_auroc, ""),
        ("AUPRO", evaluation.aupro, "false-positive rate up to 0.3"),
    ):
        print(f"{label:18} {_metric(metric, beside)}".rstrip())
    print(f"\n{'at the threshold':32}{'images':>8}{'wrong':>8}{'rate':>9}   95 % interval")
    for row in evaluation.types:
        print(_row(f"{row.truth}, {'false rejects' if row.truth == GOOD else 'missed'}", row.wrong))
    if len(evaluation.types) > 2:
        print(_row("all defects, missed", evaluation.missed))
    if evaluation.timings:
        stages = ", ".join(f"{stage} {time:.1f}" for stage, time in evaluation.timings.items() if stage != "total")
        print(f"\n{evaluation.timings['total']:.1f} ms a frame: {stages}")
    for note in evaluation.notes:
        print(f"note: {note}")


def _metric(metric: Metric, beside: str) -> str:
    if metric.value is None:
        return f"    -   {metric.reason}"
    return f"{metric.value:6.4f}  {beside}"


def _row(label: str, rate: Rate) -> str:
    if rate.share is None or rate.low is None or rate.high is None:
        return f"{label:32}{rate.of:8}{rate.count:8}{'-':>9}"
    return f"{label:32}{rate.of:8}{rate.count:8}{rate.share:9.1%}   {rate.low:.1%} to {rate.high:.1%}"
