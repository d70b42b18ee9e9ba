"""Score a folder, an image or a video against a bundle: one JSON object a frame, on stdout, as it comes.

A frame that cannot be read or judged gets the verdict "cannot_judge" with the reason, and the run goes on.
Exit code 0: every verdict is good; 1: some is not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any

import numpy as np

from spade_edge.runtime import DataError, FrameError, FrameResult, Scorer, UsageError
from spade_edge.runtime.matcher import EXACT
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD
from spade_edge.tools.argument import PROVIDERS, path, threads
from spade_edge.tools.sources import Images, Shot, Video, open_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", required=True, type=path, help="what 'spade-edge build' wrote")
    parser.add_argument("source", type=path, metavar="SOURCE", help="a folder with its subfolders, an image or a video")
    parser.add_argument("--heatmaps", type=path, metavar="DIR", help="write each heat map as float32 .npy, raw")
    parser.add_argument("--overlays", type=path, metavar="DIR", help="write frames under their heat maps, as .png")
    parser.add_argument("--search", choices=(EXACT,), help="match against every embedding: the reference, slow")
    parser.add_argument("--provider", choices=tuple(PROVIDERS), default="cpu", help="what runs the network (cpu)")
    parser.add_argument("--threads", type=threads, metavar="N", help="threads of all work (default: one a core)")


def run(chosen: argparse.Namespace) -> int:
    source = open_source(chosen.source)
    for folder in (chosen.heatmaps, chosen.overlays):
        if folder is not None:
            _check_folder(folder, source)
    scorer = Scorer.open(
        chosen.bundle, providers=(PROVIDERS[chosen.provider],), threads=chosen.threads, search=chosen.search
    )
    _hint(chosen.provider)
    verdicts: Counter[str] = Counter()
    times = []
    for shot in source:
        result, line = _judge(scorer, shot)
        print(json.dumps(line, allow_nan=False), flush=True)
        verdicts[line["verdict"]] += 1
        if result is None:
            continue
        times.append(result.milliseconds["total"])
        if chosen.heatmaps is not None:
            np.save(_beside(chosen.heatmaps, shot.name, ".npy"), result.heatmap, allow_pickle=False)
        if chosen.overlays is not None:
            _write_overlay(scorer, shot, result, _beside(chosen.overlays, shot.name, ".png"))
    _summary(scorer, verdicts, times)
    return 0 if set(verdicts) == {GOOD} else 1


def _judge(scorer: Scorer, shot: Shot) -> tuple[FrameResult | None, dict[str, Any]]:
    """Score a shot; gives the result, if there is one, and its JSON line."""
    line = {"frame": shot.name, "score": None, "threshold": scorer.bundle.manifest.threshold.score}
    fault = shot.fault
    if shot.frame is not None:
        try:
            result = scorer(shot.frame)
        except FrameError as problem:
            fault = str(problem)
        else:
            return result, line | {
                "score": result.score,
                "verdict": result.verdict,
                "reason": result.reason,
                "regions": [asdict(region) for region in result.regions],
                "nearest": [asdict(match) for match in result.nearest],
                "milliseconds": {stage: round(time, 3) for stage, time in result.milliseconds.items()},
                "provider": result.provider,
            }
    return None, line | {"verdict": CANNOT_JUDGE, "reason": fault, "regions": [], "nearest": [], "milliseconds": {}}


def _check_folder(folder: Path, source: Images | Video) -> None:
    """Before anything is scored, refuse a folder to write to that would cost somebody a file.

    Raises:
        UsageError: it is a file, holds the frames themselves, or two frames would be written to one name.
        DataError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder to write to, found a file")
    if folder.resolve() == source.folder.resolve() or (
        source.nested and folder.resolve().is_relative_to(source.folder.resolve())
    ):
        raise UsageError(f"{folder}: expected a folder outside the frames, found it among them; choose another")
    seen: dict[PurePosixPath, str] = {}
    for name in source.names():
        stem = PurePosixPath(name).with_suffix("")
        if stem in seen:
            raise UsageError(f"{folder}: {seen[stem]} and {name} would be written to the same name; rename one of them")
        seen[stem] = name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise DataError(f"{folder}: expected a folder that can be written, found one that cannot; choose another")


def _beside(folder: Path, name: str | int, suffix: str) -> Path:
    relative = Path(f"{name:06d}" if isinstance(name, int) else name).with_suffix(suffix)
    path = folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_overlay(scorer: Scorer, shot: Shot, result: FrameResult, path: Path) -> None:
    import cv2

    from spade_edge.tools.overlay import overlay

    manifest = scorer.bundle.manifest
    assert shot.frame is not None  # noqa: S101  (there is a result)
    picture = overlay(shot.frame, result, view=manifest.model.view, pixel_threshold=manifest.threshold.pixel)
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def _hint(provider: str) -> None:
    """A GPU left idle without a word is a common complaint."""
    import onnxruntime

    if provider == "cpu" and PROVIDERS["cuda"] in onnxruntime.get_available_providers():
        print("scoring on the CPU; this onnxruntime also offers --provider cuda", file=sys.stderr)


def _summary(scorer: Scorer, verdicts: Counter[str], times: list[float]) -> None:
    threshold = scorer.bundle.manifest.threshold
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in (GOOD, DEFECT, CANNOT_JUDGE))
    speed = f"; median {median(times):.0f} ms a frame" if times else ""
    label = "" if threshold.calibrated else " (uncalibrated)"
    print(f"{verdicts.total()} frames: {counts}{speed}; threshold {threshold.score:.4g}{label}", file=sys.stderr)
