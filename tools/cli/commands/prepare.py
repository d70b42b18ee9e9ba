"""Prepare this machine for a bundle: build TensorRT's engine in advance, load everything, score a first frame.

Finally the bundle's golden frames are scored: a device that does not reproduce the workstation's results is refused.
TensorRT builds an engine for exactly this GPU, which takes 10 to 30 minutes on a small Jetson. The engine is kept in
the private folder spade-edge in $XDG_CACHE_HOME or ~/.cache, never in the bundle. It is built again for another model,
GPU, onnxruntime or TensorRT, and after an interruption. With cuda, the network is loaded and run once. The CPU needs no
preparation.
"""

from __future__ import annotations

import argparse
import json
import sys

from spade_edge.runtime.network.engine_cache import EngineCache
from spade_edge.runtime.network.provider import CPU, CUDA, TENSORRT
from spade_edge.tools.cli.arguments import add_bundle, add_json, add_provider, add_threads, provider
from spade_edge.tools.cli.opening import LONG
from spade_edge.tools.cli.progress import ElapsedTime
from spade_edge.tools.cli.text.prepare import as_json, lines
from spade_edge.tools.preparation.preparation import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    add_provider(parser, names=(TENSORRT, CUDA, CPU), default=TENSORRT)
    add_threads(parser)
    parser.add_argument(
        "--clean", action="store_true", help="remove this model's engines for other GPUs, versions and options"
    )
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    elapsed = ElapsedTime(terminal=sys.stderr.isatty())
    try:
        prepared = prepare(
            chosen.bundle,
            provider=provider(chosen),
            threads=chosen.threads,
            clean=chosen.clean,
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
