"""Prepare this machine for a bundle: build TensorRT's engine in advance, load everything, score a first frame.

Finally the bundle's golden frames are scored: a device that does not reproduce the workstation's results is refused.
TensorRT builds an engine for exactly this GPU, which takes 10 to 30 minutes on a small Jetson. The engine is kept in
the private folder spade-edge in $XDG_CACHE_HOME or ~/.cache, never in the bundle. It is built again for another model,
GPU, onnxruntime or TensorRT, and after an interruption. If memory or time does not suffice, that is said and nothing of
the engine is kept. With cuda, the network is loaded and run once. The CPU needs no preparation.
"""

from __future__ import annotations

import argparse
import json
import sys

from spade_edge.runtime.errors import UsageError
from spade_edge.runtime.network.engine_cache import EngineCache
from spade_edge.runtime.network.provider import CPU, CUDA, TENSORRT
from spade_edge.tools.cli.arguments import (
    add_bundle,
    add_json,
    add_provider,
    add_require_signature,
    add_threads,
    provider,
    real,
    shown,
)
from spade_edge.tools.cli.opening import LONG, permitted
from spade_edge.tools.cli.progress import ElapsedTime
from spade_edge.tools.cli.text.prepare import as_json, lines
from spade_edge.tools.preparation.preparation import prepare

MOST_MINUTES = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    add_require_signature(parser)
    add_provider(parser, names=(TENSORRT, CUDA, CPU), default=TENSORRT)
    add_threads(parser)
    parser.add_argument(
        "--time-limit",
        type=minutes,
        metavar="MINUTES",
        help="give up building an engine after so many minutes, and keep nothing of it (default: no limit, as the time "
        "that is needed differs from board to board, and an engine that is given up takes as long the next time)",
    )
    parser.add_argument(
        "--clean", action="store_true", help="remove this model's engines for other GPUs, versions and options"
    )
    add_json(parser)


def minutes(text: str) -> float:
    """A number of minutes over 0; a type for argparse."""
    value = real(text, expected="a number of minutes over 0")
    if not 0 < value <= MOST_MINUTES:
        raise argparse.ArgumentTypeError(f"expected over 0 and at most {MOST_MINUTES} minutes, found {shown(text)}")
    return value


def run(chosen: argparse.Namespace) -> int:
    if chosen.time_limit is not None and chosen.provider != TENSORRT:
        raise UsageError(
            f"expected --time-limit with --provider {TENSORRT}, which alone builds engines, found {chosen.provider}"
        )
    check = permitted(chosen)
    digest = None if check is None else check(chosen.bundle)
    elapsed = ElapsedTime(terminal=sys.stderr.isatty())
    try:
        prepared = prepare(
            chosen.bundle,
            provider=provider(chosen),
            threads=chosen.threads,
            limit=None if chosen.time_limit is None else chosen.time_limit * 60,
            clean=chosen.clean,
            manifest_sha256=digest,
            announce=_announce,
            waiting=elapsed,
        )
    finally:
        elapsed.end()
    print(json.dumps(as_json(prepared)) if chosen.json else "\n".join(lines(prepared, cpu=chosen.provider == CPU)))
    return 0


def _announce(engines: EngineCache) -> None:
    key = engines.key
    precision = ", ".join(name for name in ("fp16", "int8", "tf32") if key[name]) or "as the model has it"
    print(
        f"TensorRT {key['tensorrt']} builds an engine for {key['gpu']} (compute capability {key['capability']}), "
        f"1 to {key['views'][-1]} views at once, precision: {precision}; {LONG}, less on a large GPU",
        file=sys.stderr,
        flush=True,
    )
