"""Score frames against a bundle as they come; print one JSON object per frame on stdout.

SOURCE is one of

    DIR, part.png, line.mp4, stack.npy   files; a folder with its subfolders
    watch:DIR                            every image that appears in a folder or its subfolders from now on
    -                                    stdin: PGM and PPM images one after the other, or raw pixels with --raw
    0, /dev/video0                       a camera of this computer; a folder of that name is ./0
    rtsp://USER:PASSWORD@HOST/PATH       a network stream; also rtsps, http, https, udp, tcp
    csi://0                              a CSI camera of a Jetson
    "v4l2src ! videoconvert"             a GStreamer pipeline, in quotes
    genicam:SERIAL                       a GigE Vision or USB3 Vision camera; genicam: for the only one

A folder is read whatever else stands in it: what is left out is named on stderr, and links to folders are followed only
with --follow-links. In a watched folder, each file gets one verdict, as soon as it is whole: a file that is renamed,
linked or touched is no new one, but one that takes its place is, and so is other content. A file that is not whole
after 4 seconds without a change cannot be judged.

Every frame of files, watched folders and stdin is scored. A camera is read in parallel: if frames come faster than they
can be scored, only the newest is scored, and "dropped" counts those left out before it. A camera that stops is opened
again.

A frame that cannot be read or judged gets the verdict "cannot_judge" with the reason, and the run goes on. If the
source stops or falls silent, a line with "frame": null reports it. Ctrl-C ends the run after the current frame, with a
summary on stderr. Exit code 0: every verdict is good; 1: at least one is not; 3: pictures could not be written, but all
frames were scored; 4: a camera did not come back.

Where a source has no end, the first hundred frames that are judged are learned. If later ones look different in light,
focus, colour, place or scores, lines have "drift" until they look as before, with what has changed and since when, and
stderr says it once. Verdicts and the exit code do not change. With --drift-state FILE, the next run goes on from there.

Pictures replace those of an earlier run. A name that another file or a link has is refused.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import nullcontext

from spade_edge.runtime import DataError, FollowingScorer, Scorer, SpadeError, UsageError
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.network.provider import CPU, CUDA, EXECUTION_PROVIDERS, TENSORRT
from spade_edge.tools.cli.arguments import (
    add_bundle,
    add_even_so,
    add_match,
    add_provider,
    add_require_signature,
    add_search,
    add_threads,
    path,
    source,
)
from spade_edge.tools.cli.interruption import Interruption
from spade_edge.tools.cli.opening import open_following, open_scorer, permitted
from spade_edge.tools.cli.output_folder import check_picture_folders
from spade_edge.tools.cli.source_arguments import add_source_options, source_options
from spade_edge.tools.cli.text.score import new_generation, summary
from spade_edge.tools.scoring.line_drift import LineDrift
from spade_edge.tools.scoring.other_size import OtherSize
from spade_edge.tools.scoring.pictures import Folders, Pictures, PictureWriter, ScoredFrame
from spade_edge.tools.scoring.record import record
from spade_edge.tools.scoring.scored import score_shots
from spade_edge.tools.scoring.tally import Tally
from spade_edge.tools.sources import open_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    add_require_signature(parser)
    parser.add_argument(
        "--follow-bundle",
        action="store_true",
        help="for sources without an end: judge with each new generation of the bundle from the next frame on, without "
        "a restart",
    )
    parser.add_argument("source", type=source, metavar="SOURCE", help="where the frames come from, see above")
    parser.add_argument(
        "--heatmaps", type=path, metavar="DIR", help="write each anomaly map as a raw float32 .npy file"
    )
    parser.add_argument("--overlays", type=path, metavar="DIR", help="write each frame under its anomaly map, as .png")
    parser.add_argument(
        "--explain",
        type=path,
        metavar="DIR",
        help="write each frame beside the good parts that it resembles most, as .png",
    )
    add_search(parser)
    add_threads(parser)
    add_provider(parser)
    add_match(parser)
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="first score the bundle's golden frames, and refuse a machine that does not reproduce them",
    )
    add_even_so(
        parser,
        what="judge also frames that are grey where the good images are in colour, or the other way round, or have "
        "other colours, another depth, shape or size; without it they get the verdict cannot_judge",
    )
    parser.add_argument(
        "--drift",
        choices=("auto", "on", "off"),
        default="auto",
        help="whether to watch for parts that look different from the first hundred; auto: if the source has no end",
    )
    parser.add_argument(
        "--drift-state",
        type=path,
        metavar="FILE",
        help="go on from what parts looked like in earlier runs, and keep it there",
    )
    add_source_options(parser)


def run(chosen: argparse.Namespace) -> int:
    check = permitted(chosen)
    digest = None if check is None else check(chosen.bundle)  # before anything else of the bundle is read
    form = Manifest.read(chosen.bundle, sha256=digest).format
    opened = open_source(chosen.source, options=source_options(chosen, form))
    if chosen.follow_bundle and not opened.endless:
        raise UsageError(
            "expected --follow-bundle with a camera, a stream, stdin or a watched folder, found a source with an end, "
            "all frames of which one generation judges"
        )
    watched = chosen.drift == "on" or (chosen.drift == "auto" and (opened.endless or chosen.drift_state is not None))
    if chosen.drift_state is not None and not watched:
        raise UsageError("expected --drift-state without --drift off, found both; leave out one of them")
    folders = Folders(heatmaps=chosen.heatmaps, overlays=chosen.overlays, explain=chosen.explain)
    check_picture_folders(folders, opened, bundle=chosen.bundle)
    scorer = open_following(chosen) if chosen.follow_bundle else open_scorer(chosen, manifest_sha256=digest)
    following = nullcontext() if isinstance(scorer, Scorer) else scorer
    _hint(chosen.provider)
    tally, failure, other_size = Tally(), None, OtherSize()
    judging = _in_force(scorer).bundle.digest
    drift = LineDrift(_in_force(scorer).bundle, file=chosen.drift_state) if watched else None
    writer = PictureWriter(folders)
    with following, opened.acquire() as shots, Interruption(shots.end) as interruption:
        with Pictures(writer, wait=not opened.live) as pictures:
            try:
                for scored in score_shots(scorer, shots):
                    if scored.bundle.digest != judging:
                        judging = scored.bundle.digest
                        print(new_generation(scored.bundle), file=sys.stderr, flush=True)
                    differs = None if drift is None else drift.add(scored)
                    print(json.dumps(record(scored, live=opened.live, drift=differs), allow_nan=False), flush=True)
                    tally.add(scored)
                    other_size.add(scored)
                    name, frame, result = scored.shot.name, scored.shot.frame, scored.result
                    if folders.given() and name is not None and frame is not None and result is not None:
                        pictures.add(ScoredFrame(name, frame, result, scored.bundle))
            except SpadeError as problem:  # the source has failed, which is reported after the summary
                failure = problem
        said = ""
        if drift is not None:
            drift.keep()
            said = drift.summary
        if tally or failure is None:
            line = summary(
                _in_force(scorer), opened, tally, dropped=shots.dropped, left_out=pictures.left_out, drift=said
            )
            print(line, file=sys.stderr, flush=True)
    if failure is not None:
        raise failure
    if interruption.number is not None and not opened.endless:
        raise KeyboardInterrupt if interruption.number == signal.SIGINT else SystemExit(128 + interruption.number)
    if pictures.failed:
        raise DataError(
            f"expected the pictures of every frame, found that those of {pictures.failed} could not be written; "
            "all verdicts are complete"
        )
    return 0 if tally.good else 1


def _in_force(scorer: Scorer | FollowingScorer) -> Scorer:
    return scorer if isinstance(scorer, Scorer) else scorer.scorer


def _hint(provider: str) -> None:
    """Point out a GPU that is not used: a common complaint."""
    import onnxruntime

    offered = onnxruntime.get_available_providers()
    others = [name for name in (CUDA, TENSORRT) if EXECUTION_PROVIDERS[name] in offered]
    if provider == CPU and others:
        print(f"scoring on the CPU; this onnxruntime also offers --provider {' and '.join(others)}", file=sys.stderr)
