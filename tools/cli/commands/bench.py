"""Measure a bundle on this machine: time of a frame against the bare network, memory, and the search's recall.

Frames and runs of the bare network alternate in blocks of ten. Without --frames, the bundle's own thumbnails serve,
enlarged, moved a little and with noise.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError, Scorer
from spade_edge.runtime.matching.config import EXACT
from spade_edge.tools.benchmark.measurement import (
    Measured,
    Work,
    frames_like,
    machine,
    measure,
    recall,
    resident_bytes,
    work,
)
from spade_edge.tools.cli.arguments import add_provider, path, positive, size, threads
from spade_edge.tools.cli.opening import open_scorer

RECALL_FRAMES = 4  # exact search takes its time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", required=True, type=path, help="what 'spade-edge build' wrote")
    parser.add_argument(
        "--frames", type=path, metavar="SOURCE", help="a folder, an image or a video to take frames from"
    )
    parser.add_argument("--size", type=size, metavar="SIZE", help="of the frames made from thumbnails (the view's own)")
    parser.add_argument("--count", type=positive, default=30, metavar="N", help="frames to score (30)")
    parser.add_argument("--batch", type=positive, metavar="N", help="also score N frames in one go")
    parser.add_argument("--recall", action="store_true", help="also compare with exact search, on a few frames; slow")
    parser.add_argument("--search", choices=(EXACT,), help="match against every embedding: the reference, slow")
    parser.add_argument("--threads", type=threads, metavar="N", help="threads of all work (default: one a core)")
    add_provider(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(chosen: argparse.Namespace) -> int:
    start = perf_counter()
    scorer = open_scorer(chosen)
    opened = perf_counter() - start
    frames = _frames(chosen, scorer)
    measured = measure(scorer, frames, count=chosen.count, batch=chosen.batch)
    resident, manifest = resident_bytes(), scorer.bundle.manifest
    gallery = sum(payload.size for role, payload in manifest.files.items() if role in manifest.gallery_roles())
    value: dict[str, Any] = {
        "machine": machine(chosen.threads)
        | {"provider": scorer.session.provider, "providers": dict(scorer.session.node_fractions)},
        "bundle": {
            "path": str(chosen.bundle),
            "images": len(manifest.names),
            "megabytes": manifest.size / 1e6,
            "gallery_megabytes_an_image": gallery / 1e6 / len(manifest.names),
            "search": scorer.matcher.matching.search,
            "candidates": scorer.matcher.matching.candidates,
            "ef": scorer.matcher.matching.ef,
        },
        "open_seconds": opened,
        "frame_size": list(frames[0].shape[:2]),
        "measured": measured.to_json(),
        "memory": None
        if resident is None
        else {"resident_megabytes": resident / 1e6, "beyond_bundle_megabytes": (resident - manifest.size) / 1e6},
        "work": None,
        "recall": None,
    }
    counted = work(scorer)
    if counted is not None:
        value["work"] = asdict(counted)
    if chosen.recall and chosen.search != EXACT and scorer.bundle.indexes:
        compared = recall(chosen.bundle, scorer, frames[:RECALL_FRAMES], threads=chosen.threads, progress=_announced)
        value["recall"] = asdict(compared)
    if chosen.json:
        print(json.dumps(value))
    else:
        _print(value, measured, counted)
    return 0


def _frames(chosen: argparse.Namespace, scorer: Scorer) -> list[NDArray[np.uint8]]:
    if chosen.frames is None:
        manifest = scorer.bundle.manifest
        wanted = chosen.size or manifest.layout.frame or manifest.model.view.size
        return frames_like(scorer.bundle, min(chosen.count, 60), size=wanted)
    from spade_edge.tools.sources import open_source

    shots = (shot.frame for shot in open_source(chosen.frames))
    frames = list(islice((frame for frame in shots if frame is not None), min(chosen.count, 200)))
    if not frames:
        raise DataError(f"{chosen.frames}: expected frames that can be read, found none")
    return frames


def _announced(frames: Any) -> Any:
    for i, frame in enumerate(frames, start=1):
        print(f"exact search, frame {i} of {len(frames)}", file=sys.stderr, flush=True)
        yield frame


def _print(value: dict[str, Any], measured: Measured, counted: Work | None) -> None:
    on, bundle, memory = value["machine"], value["bundle"], value["memory"]
    print(
        f"{on['cpu']}, {on['cores']} cores, threads: {on['threads']}; {on['provider']}, "
        f"onnxruntime {on['onnxruntime']}, numpy {on['numpy']}, Python {on['python']}, spade-edge {on['spade-edge']}"
    )
    print(
        f"{bundle['path']}: {bundle['images']} good images, {bundle['gallery_megabytes_an_image']:.2f} MB each, "
        f"search {bundle['search']}; opened in {value['open_seconds']:.2f} s"
    )
    height, width = value["frame_size"]
    print(f"\n{measured.frames} frames of {width}x{height}, milliseconds")
    print(f"{'':16}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}")
    for label, times in (("network alone", measured.network), ("frame to result", measured.frame)):
        print(f"{label:16}{times.p50:9.2f}{times.p90:9.2f}{times.p99:9.2f}{times.largest:9.2f}")
    print(f"{'ratio':16}{measured.ratio:9.3f}")
    print(f"{'p99 / p50 ratio':16}{measured.spread:9.3f}")
    print("of a frame: " + ", ".join(f"{stage} {time:.2f}" for stage, time in measured.stages.items()))
    if measured.batch is not None:
        print(f"in batches: {measured.batch:.2f} a frame")
    if memory is not None:
        print(
            f"memory: {memory['resident_megabytes']:.0f} MB resident, "
            f"{memory['beyond_bundle_megabytes']:+.0f} MB against the bundle's own size"
        )
    if counted is not None:
        print(
            f"matching: {counted.byte_products:.0f} million products of bytes, {counted.float_products:.0f} of floats, "
            f"{counted.gathered:.1f} MB of the gallery and about {counted.keys_gathered:.1f} MB of keys read a frame"
        )
    found = value["recall"]
    if found is not None:
        print(
            f"against exact search, {found['frames']} frames: mean distance {found['distance']:+.2%}, "
            f"same nearest at {found['same']:.1%} of positions, score within {found['score']:.2%}"
        )
