"""Prepare this machine for a bundle: build TensorRT's engine ahead of time, load everything, score a first frame.

At the end the bundle's golden frames are scored: a device that does not reproduce the workstation is refused.
TensorRT builds an engine for this very GPU, 10 to 30 minutes on a small Jetson. It is kept in the private folder
spade-edge of $XDG_CACHE_HOME or ~/.cache, never in the bundle, and is built again for another model, GPU, onnxruntime
or TensorRT. What is interrupted does not count. With cuda the network is loaded and run once; the CPU needs nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from time import monotonic, perf_counter
from typing import IO, Any

import numpy as np

from spade_edge.runtime import DeviceError, ModelError, Scorer
from spade_edge.runtime.network.engine_cache import EngineCache
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN
from spade_edge.runtime.network.provider import CPU, CUDA, TENSORRT
from spade_edge.tools.benchmark.measurement import frames_like
from spade_edge.tools.cli.arguments import add_provider, path, provider, spelt, threads
from spade_edge.tools.cli.opening import LONG, engines_of, runs_on

ERRORS = {error.exit_code: error for error in (DeviceError, ModelError)}
EVERY = {True: 1.0, False: 30.0}  # seconds between two signs of life, on a terminal or not


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", required=True, type=path, help="what 'spade-edge build' wrote")
    add_provider(parser, names=(TENSORRT, CUDA, CPU), default=TENSORRT)
    parser.add_argument("--threads", type=threads, metavar="N", help="threads of all work (default: one a core)")
    parser.add_argument(
        "--clean", action="store_true", help="remove this model's engines for other GPUs, versions and options"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--build", action="store_true", help=argparse.SUPPRESS)  # the process that TensorRT works in


def run(chosen: argparse.Namespace) -> int:
    wanted = provider(chosen)
    if chosen.build:
        Scorer.open(chosen.bundle, providers=wanted, threads=chosen.threads)
        return 0
    value: dict[str, Any] = {"engines": None, "built_seconds": None, "others": []}
    engines: EngineCache | None = None
    if wanted.name == TENSORRT:
        engines = engines_of(chosen.bundle, wanted)
        if not engines.prepared():
            start = monotonic()
            _build(chosen, engines)
            value["built_seconds"] = monotonic() - start
        value["engines"] = str(engines.folder)
        value["others"] = [str(other) for other in engines.others()]
        if chosen.clean:
            for other in engines.others():
                engines.remove(other)
    start = perf_counter()
    scorer = Scorer.open(chosen.bundle, providers=wanted, threads=chosen.threads)
    value["open_seconds"] = perf_counter() - start
    manifest, session = scorer.bundle.manifest, scorer.session
    size = manifest.layout.frame or manifest.model.view.size
    times = [scorer(frame).milliseconds["total"] for frame in frames_like(scorer.bundle, 2, size=size)]
    value["first_frame_ms"], value["second_frame_ms"] = times
    for count in range(1, VIEWS_PER_RUN + 1):  # as frames of several views, and batches, come
        session(np.zeros((count, *session.card.view.size, 3), np.float32))
    value["golden"] = _self_test(scorer)
    value |= {"provider": session.provider, "providers": dict(session.node_fractions), "cleaned": chosen.clean}
    if chosen.json:
        print(json.dumps(value))
    else:
        _print(value, runs_on(session), nothing=wanted.name == CPU)
    return 0


def _self_test(scorer: Scorer) -> float | None:
    """Score the golden frames; gives the largest difference, None where the bundle has none.

    Raises:
        DeviceError: they are not reproduced.
    """
    if scorer.bundle.golden is None:
        return None
    return max(difference.largest for difference in scorer.self_test())


def _build(chosen: argparse.Namespace, engines: EngineCache) -> None:
    """Let a process of its own build the engine: it can be ended at any time, and TensorRT's memory is freed.

    Raises:
        DeviceError, ModelError: it fails.
    """
    key = engines.key
    precision = ", ".join(name for name in ("fp16", "int8", "tf32") if key[name]) or "as the model has it"
    print(
        f"TensorRT {key['tensorrt']} builds an engine for {key['gpu']} (compute capability {key['capability']}), "
        f"1 to {key['views'][-1]} views at once, precision: {precision}; {LONG}, less on a large GPU",
        file=sys.stderr,
        flush=True,
    )
    line = [sys.executable, "-m", "spade_edge.tools.cli.main", "prepare", "--build", "--bundle", str(chosen.bundle)]
    line += spelt(chosen) + ([] if chosen.threads is None else ["--threads", str(chosen.threads)])
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        try:
            _wait(child)
        finally:
            child.kill()  # deaf to anything else while TensorRT works
            child.wait()
        if child.returncode:
            raise ERRORS.get(child.returncode, DeviceError)(_last_words(said, child.returncode))


def _wait(child: subprocess.Popen[bytes]) -> None:
    """Wait, with a sign of life."""
    terminal, start = sys.stderr.isatty(), monotonic()
    while True:
        try:
            child.wait(timeout=EVERY[terminal])
        except subprocess.TimeoutExpired:
            minutes, seconds = divmod(int(monotonic() - start), 60)
            text = f"building, {minutes}:{seconds:02d} so far"
            print(f"\r{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)
        else:
            if terminal:
                print(file=sys.stderr)
            return


def _last_words(said: IO[bytes], code: int) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    if code > 0 and lines:
        return lines[-1].removeprefix("spade-edge: ")
    return (
        f"expected TensorRT to build an engine, found that its process ended with {code}"
        f"{': ' + lines[-1] if lines else ''}; is memory short? See 'spade-edge doctor'"
    )


def _print(value: dict[str, Any], placement: str, *, nothing: bool) -> None:
    if nothing:
        print("the CPU needs no preparing")
    print(f"the network runs on {placement}")
    if value["engines"] is not None:
        built = value["built_seconds"]
        print(f"{value['engines']}: engine {'was there already' if built is None else f'built in {built:.0f} s'}")
    for other in value["others"]:
        print(f"{other}: for another GPU, version or option, {'removed' if value['cleaned'] else 'see --clean'}")
    print(
        f"opened in {value['open_seconds']:.2f} s; first frame {value['first_frame_ms']:.1f} ms, "
        f"second {value['second_frame_ms']:.1f} ms"
        + ("" if value["golden"] is None else f"; golden frames reproduced, at most {value['golden']:.1e} off")
    )
