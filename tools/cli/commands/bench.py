"""Measure a bundle on this machine: time per frame compared with the bare network, memory, and recall of the search.

Frames and runs of the bare network alternate in blocks of ten. Without --frames, frames are made from the bundle's own
thumbnails: enlarged, moved by a few pixels, with noise. A percentile is stated only if there are enough frames for it:
100 for p99, 1024 for p99.9. Temperature, clock and throttling are recorded where the system reports them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError, Scorer
from spade_edge.runtime.matching.config import EXACT
from spade_edge.tools.benchmark.conditions import Observer
from spade_edge.tools.benchmark.machine import resident_bytes
from spade_edge.tools.benchmark.matching_cost import matching_cost
from spade_edge.tools.benchmark.measurement import measure
from spade_edge.tools.benchmark.recall import recall
from spade_edge.tools.benchmark.sample_frames import frames_like
from spade_edge.tools.benchmark.stages import parts_of
from spade_edge.tools.cli.arguments import (
    add_bundle,
    add_json,
    add_match,
    add_provider,
    add_require_signature,
    add_search,
    add_threads,
    path,
    positive,
    real,
    shown,
    size,
    whole,
)
from spade_edge.tools.cli.opening import open_scorer
from spade_edge.tools.cli.text.bench import as_json, lines
from spade_edge.tools.hardware.host import Host
from spade_edge.tools.sources.address import printable

RECALL_FRAMES = 4  # exact search is slow
MOST_FRAMES, MOST_MADE = 200, 60  # frames kept in memory: read from a source, and made from thumbnails
MOST_TOGETHER = 256
LOWEST_RATE, HIGHEST_RATE = 0.1, 1000.0  # frames a second
LONGEST = 1e6  # milliseconds


def batch(text: str) -> int:
    """A number of frames that are scored together; all are in memory at once."""
    return whole(text, least=1, most=MOST_TOGETHER, what="frames")


def rate(text: str) -> float:
    """Frames a second."""
    value = real(text, expected="a number of frames a second")
    if not LOWEST_RATE <= value <= HIGHEST_RATE:
        raise argparse.ArgumentTypeError(
            f"expected {LOWEST_RATE:g} to {HIGHEST_RATE:g} frames a second, found {shown(text)}"
        )
    return value


def milliseconds(text: str) -> float:
    """A time that a frame may take."""
    value = real(text, expected="a number of milliseconds")
    if not 0 < value <= LONGEST:
        raise argparse.ArgumentTypeError(f"expected more than 0 and at most {LONGEST:g} ms, found {shown(text)}")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    add_require_signature(parser)
    parser.add_argument(
        "--frames", type=path, metavar="SOURCE", help="a folder, an image or a video to take frames from"
    )
    parser.add_argument(
        "--size", type=size, metavar="SIZE", help="size of the frames made from thumbnails (default: the view's)"
    )
    parser.add_argument("--count", type=positive, default=30, metavar="N", help="number of frames to score (30)")
    parser.add_argument(
        "--camera",
        type=rate,
        metavar="FPS",
        help="also score as many frames beside a thread that decodes FPS JPEGs of their size a second, as 'score' does "
        "with a camera",
    )
    parser.add_argument(
        "--deadline",
        type=milliseconds,
        metavar="MS",
        help="also count the frames that take longer than MS milliseconds",
    )
    parser.add_argument("--batch", type=batch, metavar="N", help="also score N frames together")
    parser.add_argument("--recall", action="store_true", help="also compare with exact search, for about a minute")
    add_search(parser)
    add_threads(parser)
    add_provider(parser)
    add_match(parser)
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    start = perf_counter()
    scorer = open_scorer(chosen)
    opened = perf_counter() - start
    frames = _frames(chosen, scorer)
    observer = Observer(Host.here())
    measured = measure(
        scorer,
        frames,
        count=chosen.count,
        batch=chosen.batch,
        camera=chosen.camera,
        deadline=chosen.deadline,
        parts=parts_of(scorer),
        after_block=observer,
    )
    conditions = observer.conditions()
    resident, cost, compared = resident_bytes(), None, None
    if scorer.device is None:
        cost = matching_cost(scorer)
    if chosen.recall and scorer.matcher.matching.search != EXACT:
        compared = recall(chosen.bundle, scorer, frames[:RECALL_FRAMES], threads=chosen.threads, progress=_announced)
    value = as_json(
        scorer,
        measured,
        path=chosen.bundle,
        threads=chosen.threads,
        conditions=conditions,
        open_seconds=opened,
        frame_size=(frames[0].shape[0], frames[0].shape[1]),
        resident=resident,
        cost=cost,
        recall=compared,
    )
    print(json.dumps(value) if chosen.json else "\n".join(lines(value, measured, cost, conditions)))
    return 0


def _frames(chosen: argparse.Namespace, scorer: Scorer) -> list[NDArray[np.uint8]]:
    manifest = scorer.bundle.manifest
    if chosen.frames is None:
        wanted = chosen.size or manifest.layout.frame or manifest.model.view.size
        return frames_like(scorer.bundle, min(chosen.count, MOST_MADE), size=wanted)
    from spade_edge.tools.sources import SourceOptions, open_source

    source = open_source(chosen.frames, options=SourceOptions(bits=manifest.format.bits))
    shots = (shot.frame for shot in source)
    frames = list(islice((frame for frame in shots if frame is not None), min(chosen.count, MOST_FRAMES)))
    if not frames:
        raise DataError(f"{printable(str(chosen.frames))}: expected frames that can be read, found none")
    return frames


def _announced(frames: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    for number, frame in enumerate(frames, start=1):
        print(f"exact search, frame {number} of {len(frames)}", file=sys.stderr, flush=True)
        yield frame
