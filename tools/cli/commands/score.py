"""Score frames against a bundle as they come: one JSON object a frame, on stdout.

SOURCE is one of

    DIR, part.png, line.mp4, stack.npy   files, a folder with its subfolders
    watch:DIR                            every image that appears in a folder or below it from now on
    -                                    stdin: PGM and PPM images one after the other, or bare pixels with --raw
    0, /dev/video0                       a camera of this computer; a folder of that name is ./0
    rtsp://USER:PASSWORD@HOST/PATH       a network stream; also rtsps, http, https, udp, tcp
    csi://0                              a CSI camera of a Jetson
    "v4l2src ! videoconvert"             a GStreamer pipeline, in quotes
    genicam:SERIAL                       a GigE Vision or USB3 Vision camera; genicam: for the only one

Every frame of files, watched folders and stdin is scored. A camera is read beside the scoring: of frames that come too
fast only the newest is scored, and "dropped" counts those before it. A camera that stops is opened again.

A frame that cannot be read or judged gets the verdict "cannot_judge" with the reason, and the run goes on; so does news
of the source, with "frame": null. Ctrl-C ends a run after the frame in work, with a summary on stderr.
Exit code 0: every verdict is good; 1: some is not; 4: a camera did not come back.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections import Counter
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from spade_edge.runtime import FrameError, FrameResult, Scorer, SpadeError, UsageError
from spade_edge.runtime.matching.config import EXACT
from spade_edge.runtime.network.provider import CPU, CUDA, EXECUTION_PROVIDERS, TENSORRT
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD
from spade_edge.tools.scoring.durations import Durations
from spade_edge.tools.cli.arguments import add_provider, lines, natural, path, raw, seconds, source, threads, tries
from spade_edge.tools.cli.interruption import Interruption
from spade_edge.tools.cli.opening import open_scorer, runs_on
from spade_edge.tools.cli.output_folder import prepare
from spade_edge.tools.drawing.pictures import Folders, Pictures
from spade_edge.tools.sources import Shot, Source, SourceOptions, open_source
from spade_edge.tools.sources.options import FROZEN, REOPEN, STALL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", required=True, type=path, help="what 'spade-edge build' wrote")
    parser.add_argument("source", type=source, metavar="SOURCE", help="where frames come from, see above")
    parser.add_argument("--heatmaps", type=path, metavar="DIR", help="write each heat map as float32 .npy, raw")
    parser.add_argument("--overlays", type=path, metavar="DIR", help="write frames under their heat maps, as .png")
    parser.add_argument(
        "--explain", type=path, metavar="DIR", help="write frames beside the good parts they look like most, as .png"
    )
    parser.add_argument("--search", choices=(EXACT,), help="match against every embedding: the reference, slow")
    parser.add_argument("--threads", type=threads, metavar="N", help="threads of all work (default: one a core)")
    add_provider(parser)
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="first score the bundle's golden frames, and refuse a machine that differs",
    )
    living = parser.add_argument_group("cameras and watched folders")
    living.add_argument(
        "--reopen",
        type=tries,
        metavar="TIMES|forever",
        help=f"how often to try to open a source that has stopped, 0.5 to 30 s apart ({REOPEN}); with 'forever' also "
        "wait for a camera that is not there at the start",
    )
    living.add_argument(
        "--stall",
        type=seconds,
        metavar="SECONDS",
        help=f"report when no frame has come for so long ({STALL:g}); 0: never, for a camera with a trigger",
    )
    living.add_argument(
        "--frozen",
        type=natural,
        metavar="N",
        help=f"judge no more from the Nth on of frames that are identical bit for bit ({FROZEN}); 0: never",
    )
    shapes = parser.add_argument_group("what frames look like")
    shapes.add_argument(
        "--raw",
        type=raw,
        metavar="WIDTHxHEIGHT[xCHANNELS]",
        help="stdin is bare pixels, 3 channels in the order blue, green, red (3), or 1 of grey",
    )
    shapes.add_argument(
        "--linescan", type=lines, metavar="LINES", help="frames are blocks of lines: score strips of so many lines"
    )
    shapes.add_argument(
        "--line-overlap", type=natural, metavar="LINES", help="lines that a strip shares with the one before (0)"
    )


def run(chosen: argparse.Namespace) -> int:
    names = ("reopen", "stall", "frozen", "raw", "linescan", "line_overlap")
    opened = open_source(chosen.source, options=SourceOptions(**{name: getattr(chosen, name) for name in names}))
    folders = Folders(heatmaps=chosen.heatmaps, overlays=chosen.overlays, explain=chosen.explain)
    _check_folders(folders, opened)
    scorer = open_scorer(chosen)
    _hint(chosen.provider)
    tally, failure = Tally(), None
    with opened.acquire() as shots, Interruption(shots.end) as interruption:
        with Pictures(scorer.bundle, folders, wait=not opened.live, strict=not opened.endless) as pictures:
            try:
                for shot in shots:
                    result, line = _judge(scorer, shot, live=opened.live)
                    print(json.dumps(line, allow_nan=False), flush=True)
                    tally.add(shot, line["verdict"], result)
                    if shot.name is not None and shot.frame is not None and result is not None:
                        pictures.add(shot.name, shot.frame, result)
            except SpadeError as problem:  # the source has ended badly, which is told after the summary
                failure = problem
        if tally or failure is None:
            _summary(scorer, opened, tally, dropped=shots.dropped, left_out=pictures.left_out)
    if failure is not None:
        raise failure
    if interruption.number is not None and not opened.endless:
        raise KeyboardInterrupt if interruption.number == signal.SIGINT else SystemExit(128 + interruption.number)
    return 0 if tally.good else 1


class Tally:
    """What a run has come to so far."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()  # of frames
        self.news = 0  # times that the source stopped or fell silent
        self.milliseconds = Durations()

    def add(self, shot: Shot, verdict: str, result: FrameResult | None) -> None:
        if shot.news:
            self.news += 1
        else:
            self.verdicts[verdict] += 1
        if result is not None:
            self.milliseconds.add(result.milliseconds["total"])

    def __bool__(self) -> bool:
        return bool(self.verdicts or self.news)

    @property
    def good(self) -> bool:
        """Whether every verdict is good."""
        return not self.news and set(self.verdicts) <= {GOOD}


def _judge(scorer: Scorer, shot: Shot, *, live: bool) -> tuple[FrameResult | None, dict[str, Any]]:
    """Score a shot; gives the result, if there is one, and its JSON line."""
    taken = datetime.fromtimestamp(shot.time, timezone.utc)
    line: dict[str, Any] = {"frame": shot.name, "time": taken.isoformat(timespec="milliseconds")}
    if shot.part is not None:
        line["part"] = shot.part
    if live:
        line["dropped"] = shot.dropped
    line |= {"score": None, "threshold": scorer.bundle.manifest.threshold.score}
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
                "nearest": [match.to_json() for match in result.nearest],
                "milliseconds": {stage: round(time, 3) for stage, time in result.milliseconds.items()},
                "provider": result.provider,
                "providers": {name: round(share, 4) for name, share in result.providers.items()},
            }
    return None, line | {"verdict": CANNOT_JUDGE, "reason": fault, "regions": [], "nearest": [], "milliseconds": {}}


def _check_folders(folders: Folders, source: Source) -> None:
    """Before anything is scored, refuse a folder to write to that would cost somebody a file.

    Raises:
        UsageError: it is a file, holds the frames themselves, or two pictures would be written to one name.
        DataError: it cannot be written.
        ModuleNotFoundError: OpenCV is missing.
    """
    if len({folder.resolve() for folder in folders.given()}) < len(folders.given()):
        raise UsageError("expected --heatmaps, --overlays and --explain in folders of their own, found one twice")
    for folder in folders.given():
        _check_folder(folder, source)
    if folders.overlays is not None or folders.explain is not None:
        import cv2  # noqa: F401  (missing, it should be missed now)


def _check_folder(folder: Path, source: Source) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder to write to, found a file")
    if source.folder is not None:
        frames, target = source.folder.resolve(), folder.resolve()
        if target == frames or (source.nested and target.is_relative_to(frames)):
            raise UsageError(f"{folder}: expected a folder outside the frames, found it among them; choose another")
    seen: dict[PurePosixPath, str] = {}
    for name in source.names:
        stem = PurePosixPath(name).with_suffix("")
        if stem in seen:
            raise UsageError(f"{folder}: {seen[stem]} and {name} would be written to the same name; rename one of them")
        seen[stem] = name
    prepare(folder)


def _hint(provider: str) -> None:
    """A GPU left idle without a word is a common complaint."""
    import onnxruntime

    offered = onnxruntime.get_available_providers()
    others = [name for name in (CUDA, TENSORRT) if EXECUTION_PROVIDERS[name] in offered]
    if provider == CPU and others:
        print(f"scoring on the CPU; this onnxruntime also offers --provider {' and '.join(others)}", file=sys.stderr)


def _summary(scorer: Scorer, source: Source, tally: Tally, *, dropped: int, left_out: int) -> None:
    """One line for people."""
    threshold = scorer.bundle.manifest.threshold
    counts = ", ".join(f"{tally.verdicts[verdict]} {verdict}" for verdict in (GOOD, DEFECT, CANNOT_JUDGE))
    parts = [f"{tally.verdicts.total()} frames: {counts}"]
    if source.live:
        parts.append(f"{dropped} dropped")
    if source.endless:
        parts.append(f"{tally.news} stops or stalls")
    if left_out:
        parts.append(f"pictures of {left_out} left out")
    if tally.milliseconds:
        times = tally.milliseconds
        p50, p99 = times.percentile(0.5), times.percentile(0.99)
        parts.append(f"p50 {p50:.0f}, p99 {p99:.0f}, max {times.largest:.0f} ms a frame")
    parts.append(f"on {runs_on(scorer.session)}")
    parts.append(f"threshold {threshold.score:.4g}, {threshold.basis}: {threshold.rate:.2%} of good frames rejected")
    print("; ".join(parts), file=sys.stderr, flush=True)
