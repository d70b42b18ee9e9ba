"""Demonstrate everything on rendered sample parts: draw, export, build, score, and write a page with the results.

Needs no camera, no images and no internet access. If the ImageNet weights of Wide-ResNet50-2 are not available, it says
so and uses EfficientNet-Lite0, whose weights come with the extra [demo].
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from spade_edge.runtime import DataError, Scorer, UsageError
from spade_edge.tools.cli.arguments import path

if TYPE_CHECKING:
    from spade_edge.export import ExportReport

FALLBACK = "efficientnet_lite0"
MARK = ".spade-edge-demo"  # marks a folder that a demo may overwrite


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        type=path,
        default=Path("spade-edge-demo"),
        metavar="DIR",
        help="folder to write to (spade-edge-demo)",
    )
    parser.add_argument(
        "--weights", default="imagenet", metavar="imagenet|FILE", help="weights of Wide-ResNet50-2 (default: imagenet)"
    )


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries import build
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.demo.parts import write_dataset
    from spade_edge.tools.drawing.nearest import nearest_patch
    from spade_edge.tools.drawing.overlay import overlay
    from spade_edge.tools.report import ReportEntry, ReportHeader, shrink, write_report
    from spade_edge.tools.sources.files.recording import open_recording

    folder: Path = chosen.output
    if folder.exists() and not (folder / MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        found = "other files" if folder.is_dir() else "a file"
        raise UsageError(
            f"{folder}: expected an empty folder or that of an earlier demo, found {found}; choose --output"
        )

    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    _say("1/4 drawing good and defective sample parts")
    parts = folder / "parts"
    write_dataset(parts)
    _say("2/4 exporting the network")
    model, notes = _export(folder / "model.onnx", chosen.weights)
    _say(f"    {model.card.backbone}, {model.size / 1e6:.0f} MB")
    _say("3/4 building the bundle from good parts only")
    built = build(parts / "train" / "good", model=model.path, output=folder / "part.spade", progress=progress)
    _say("4/4 scoring parts that the bundle has not seen")
    scorer = Scorer.open(built.path)
    manifest = scorer.bundle.manifest
    entries, times = [], []
    for shot in progress(open_recording(parts / "test"), "scoring"):
        result = scorer(shot.frame)
        times.append(result.milliseconds)
        entries.append(
            ReportEntry(
                name=shot.name,
                truth=shot.name.split("/")[0],
                frame=shrink(shot.frame),
                result=result,
                overlay=overlay(shot.frame, result, pixel_threshold=manifest.threshold.pixel),
                nearest_patch=nearest_patch(scorer.bundle, result.nearest[0]) if result.nearest else None,
            )
        )
    header = ReportHeader(
        title="spade-edge demo: rendered sample parts",
        model=(f"{model.card.backbone}, {model.card.view.size[1]} x {model.card.view.size[0]} pixels",),
        bundle=(
            f"{len(manifest.names)} good parts, {manifest.size / 1e6:.0f} MB, profile {manifest.profile}",
            f"threshold {manifest.threshold.score:.4g}: {manifest.threshold.sentence()}",
        ),
        notes=("The parts are rendered by spade-edge; they are not photographs.", *notes),
        timings={stage: median(time[stage] for time in times) for stage in times[0]},
    )
    page = folder / "report.html"
    write_report(page, header, entries)
    right = sum(not entry.wrong for entry in entries)
    print(f"{page}: {right} of {len(entries)} parts judged correctly; open it in a browser")
    return 0


def _export(output: Path, weights: str) -> tuple[ExportReport, tuple[str, ...]]:
    """Export Wide-ResNet50-2, or EfficientNet-Lite0 in its place; gives the report and notes for the page."""
    from spade_edge.export import export_model

    try:
        return export_model(output, weights=weights), ()
    except DataError as problem:
        if weights != "imagenet":
            raise
        _say(f"    Wide-ResNet50-2 is not available: {problem}")
        _say("    continuing with EfficientNet-Lite0, which is smaller and detects defects less reliably")
    note = (
        "The ImageNet weights of Wide-ResNet50-2 are not available on this machine, so this page shows "
        "EfficientNet-Lite0. Expect better results from Wide-ResNet50-2."
    )
    return export_model(output, backbone=FALLBACK, weights="imagenet"), (note,)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
