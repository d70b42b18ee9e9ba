"""Verify that this machine, provider or precision gives the results of the workstation.

Without SOURCE, on a device: the bundle's golden frames are scored and compared with the results of the machine that
built the bundle. With SOURCE, on a workstation: every --bundle is compared with the first one or, with --weights, with
the network in torch. Bundles of fp32, fp16 and int8 models, built from the same good images, show what each step costs.

All numbers are relative: the root mean square error of a level, the largest error of distances to two good images
(found by exact search), the mean error of the anomaly map, and the error of the score relative to the threshold.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError, UsageError
from spade_edge.runtime.bundle.golden import TOLERANCES, check
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.benchmark.machine import machine
from spade_edge.tools.cli.arguments import (
    add_json,
    add_match,
    add_provider,
    add_threads,
    path,
    positive,
    provider,
    source,
)
from spade_edge.tools.cli.opening import open_with
from spade_edge.tools.cli.text.parity import frame_lines, stage_lines
from spade_edge.tools.evaluation.device_parity import golden_parity, parity
from spade_edge.tools.sources.address import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", type=source, metavar="SOURCE", help="frames, as for 'spade-edge score'")
    parser.add_argument(
        "--bundle",
        required=True,
        action="append",
        type=path,
        help="the bundle that 'spade-edge build' wrote; with SOURCE it may be given several times",
    )
    parser.add_argument(
        "--weights", metavar="imagenet|FILE", help="with SOURCE: what the model of the first bundle was exported from"
    )
    parser.add_argument("--count", type=positive, default=20, metavar="N", help="number of frames of SOURCE (20)")
    add_threads(parser)
    add_provider(parser)
    add_match(parser)
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    if chosen.source is not None:
        return _frames(chosen)
    if chosen.weights is not None:
        raise UsageError("expected --weights with a SOURCE of frames, found none; golden frames need no weights")
    return _golden(chosen)


def _golden(chosen: argparse.Namespace) -> int:
    opened = partial(open_with, allow_fallback=chosen.allow_fallback, threads=chosen.threads, match=chosen.match)
    runs_on = provider(chosen)
    stages = [golden_parity(bundle, provider=runs_on, open_scorer=opened) for bundle in chosen.bundle]
    if chosen.json:
        print(json.dumps({"machine": machine(chosen.threads), "stages": [stage.to_json() for stage in stages]}))
    for stage, bundle in zip(stages, chosen.bundle, strict=True):
        precision = Manifest.read(bundle).model.precision
        if not chosen.json:
            print(f"{stage.bundle}, {precision}, on {stage.provider}: golden frames against the machine that built it")
            print("\n".join(frame_lines(stage)), flush=True)
        check(stage.differences, precision=precision, where=stage.provider)
        if not chosen.json:
            largest = max(difference.largest for difference in stage.differences)
            print(f"reproduced: at most {largest:.1e} off, {TOLERANCES[precision]:g} allowed")
    return 0


def _frames(chosen: argparse.Namespace) -> int:
    found = parity(
        chosen.bundle,
        _read(chosen.source, chosen.count, bits=Manifest.read(chosen.bundle[0]).format.bits),
        weights=chosen.weights,
        provider=provider(chosen),
        threads=chosen.threads,
        open_scorer=partial(
            open_with, allow_fallback=chosen.allow_fallback, threads=chosen.threads, match=chosen.match
        ),
        announce=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if chosen.json:
        value = {"machine": machine(chosen.threads), "reference": found.reference, "frames": found.frames}
        print(json.dumps(value | {"stages": [stage.to_json() for stage in found.stages]}))
    else:
        print(f"{found.frames} frames of {printable(chosen.source)}; largest differences to {found.reference}")
        print("\n".join(stage_lines(found.stages)))
    return 0


def _read(text: str, count: int, *, bits: int | None) -> Iterator[NDArray[np.uint8]]:
    from spade_edge.tools.sources import SourceOptions, open_source

    frame, source = None, open_source(text, options=SourceOptions(bits=bits))
    for frame in islice((shot.frame for shot in source if shot.frame is not None), count):
        yield frame
    if frame is None:
        raise DataError(f"{printable(text)}: expected frames that can be read, found none")
