"""Building TensorRT's engine in a process of its own.

TensorRT ignores Ctrl-C while it works, and keeps much memory. A separate process can be ended at any time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import IO, Any

from spade_edge.runtime import BundleError, DataError, DeviceError, ModelError, Provider, Scorer, SpadeError, UsageError
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.network.engine_cache import EngineCache
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN
from spade_edge.runtime.network.provider import BatchRange

ERRORS = {kind.__name__: kind for kind in (BundleError, DataError, DeviceError, ModelError, UsageError)}
EVERY = 1.0  # seconds between two calls of `waiting`

Waiting = Callable[[float], None]


def engine_cache(bundle: Path, provider: Provider) -> EngineCache:
    """The cache of the engines that scoring with a bundle needs; it may be empty.

    Raises:
        BundleError: there is no bundle.
        DeviceError: this machine has no TensorRT or no GPU.
    """
    manifest = Manifest.read(bundle)
    views = BatchRange.of(provider, len(manifest.layout), most=VIEWS_PER_RUN)
    return EngineCache.of(bundle / manifest.files["model"].name, manifest.model, provider, views=views)


def build_engine(
    bundle: Path, provider: Provider, *, threads: int | None = None, waiting: Waiting = lambda seconds: None
) -> None:
    """Build the engine of a bundle, which takes minutes. Ctrl-C ends the work at once.

    Args:
        bundle: the bundle folder.
        provider: TensorRT with its options.
        threads: threads for all other work; None for one per core.
        waiting: called about once per second with the seconds passed.

    Raises:
        DeviceError: TensorRT fails, or its process dies.
        SpadeError: as for `Scorer.open`.
    """
    plan = {"bundle": str(bundle), "provider": asdict(provider), "threads": threads}
    line = [sys.executable, "-m", __name__, json.dumps(plan, default=str)]
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        try:
            _wait(child, waiting)
        finally:
            child.kill()  # TensorRT ignores other signals
            child.wait()
        if child.returncode:
            raise _error(said, child.returncode)


def _wait(child: subprocess.Popen[bytes], waiting: Waiting) -> None:
    start = monotonic()
    while True:
        try:
            child.wait(timeout=EVERY)
        except subprocess.TimeoutExpired:
            waiting(monotonic() - start)
        else:
            return


def _error(said: IO[bytes], code: int) -> SpadeError:
    """The error with which the process ended, from its last line."""
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    kind, _, message = lines[-1].partition(": ") if lines else ("", "", "")
    if code > 0 and kind in ERRORS:
        return ERRORS[kind](message)
    return DeviceError(
        f"expected TensorRT to build an engine, found that its process ended with {code}"
        f"{': ' + lines[-1] if lines else ''}; is memory short? See 'spade-edge doctor'"
    )


def main(plan: dict[str, Any]) -> int:
    """Build an engine in this process; on failure the last line on stderr names the error."""
    given = plan["provider"]
    engines = given["engines"]
    provider = Provider(**(given | {"engines": None if engines is None else Path(engines)}))
    try:
        Scorer.open(plan["bundle"], providers=provider, threads=plan["threads"])
    except SpadeError as problem:
        print(f"{type(problem).__name__}: {problem}", file=sys.stderr)
        return problem.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
