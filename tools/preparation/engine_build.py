"""Building TensorRT's engine in a process of its own.

TensorRT ignores Ctrl-C while it works, and keeps much memory. A separate process can be ended at any time. However it
ends, nothing half done stays behind: neither in the engine cache nor in the folder of temporary files.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from spade_edge.runtime import BundleError, DataError, DeviceError, ModelError, Provider, Scorer, SpadeError, UsageError
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.network.engine_cache import EngineCache
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN
from spade_edge.runtime.network.provider import CPU, BatchRange
from spade_edge.tools.memory import shortage

ERRORS = {kind.__name__: kind for kind in (BundleError, DataError, DeviceError, ModelError, UsageError)}
EVERY = 1.0  # seconds between two calls of `waiting`
KILLS = Path("/proc/vmstat")  # of Linux; counts, since the system started, how often memory ran out ("oom_kill")
FREE = "end other programs and the desktop, or add swap, and prepare again"

# "Error Code 1: Cuda Runtime (out of memory)", "Requested amount of GPU memory (… bytes) could not be allocated" of
# github.com/NVIDIA/TensorRT/issues/4258, "Error Code 2: OutOfMemory (no further information)" of
# github.com/marcoslucianops/DeepStream-Yolo/issues/366; and what C++ and Python say.
MEMORY = re.compile(r"out ?of ?memory|insufficient memory|could not be allocated|bad_alloc|MemoryError", re.IGNORECASE)
# The colour, date, place and severity before a message in onnxruntime's log, and the same once more by TensorRT.
_PREFIX = re.compile(r"^.*\[[VIWEF]:onnxruntime:[^]]*\] *|\[[^]]* (?:ERROR|WARNING)\] *|\x1b\[[0-9;]*m")
LONGEST = 300  # characters of a library's message

Waiting = Callable[[float], None]


def engine_cache(bundle: Path, provider: Provider) -> EngineCache:
    """The cache of the engines that scoring with a bundle needs; it may be empty.

    Raises:
        BundleError: there is no bundle.
        DeviceError: this machine has no TensorRT or no GPU.
        UsageError: the provider asks for what this TensorRT cannot do.
    """
    manifest = Manifest.read(bundle)
    views = BatchRange.of(provider, len(manifest.layout), most=VIEWS_PER_RUN)
    return EngineCache.of(bundle / manifest.files["model"].name, manifest.model, provider, views=views)


def build_engine(
    bundle: Path,
    provider: Provider,
    *,
    engines: EngineCache,
    threads: int | None = None,
    limit: float | None = None,
    manifest_sha256: str | None = None,
    waiting: Waiting = lambda seconds: None,
) -> None:
    """Build the engine of a bundle, which takes minutes. Ctrl-C ends the work at once.

    Args:
        bundle: the bundle folder.
        provider: TensorRT with its options.
        engines: the cache of the bundle's engines, as `engine_cache` gives it.
        threads: threads for all other work; None for one per core.
        limit: seconds after which the work is ended; None for no limit. Waiting for another process that builds the
            same engine counts.
        manifest_sha256: SHA-256 that the bundle's manifest must have; None for any.
        waiting: called about once per second with the seconds passed.

    Raises:
        DeviceError: TensorRT fails, time or memory does not suffice, or its process dies. Nothing of the engine is
            left.
        SpadeError: as for `Scorer.open`.
    """
    plan = {
        "bundle": str(bundle),
        "provider": asdict(provider),
        "threads": threads,
        "manifest_sha256": manifest_sha256,
    }
    line = [sys.executable, "-m", __name__, json.dumps(plan, default=str)]
    kills = _kills()
    # A process that is killed leaves its temporary files; here they are in a folder that goes with them.
    with tempfile.TemporaryFile() as said, tempfile.TemporaryDirectory(prefix="spade-edge-") as scratch:
        child = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, env=os.environ | {"TMPDIR": scratch}
        )
        ended = False
        try:
            ended = _wait(child, limit, waiting)
        finally:
            child.kill()  # TensorRT ignores other signals
            child.wait()
            if child.returncode:
                with suppress(DeviceError, OSError):  # the next run will report it
                    engines.sweep()
        if limit is not None and not ended and child.returncode:
            raise DeviceError(
                f"expected TensorRT to build an engine within {limit / 60:g} minutes, found it unfinished; ended it "
                "and kept nothing of it; allow more minutes with --time-limit, or see 'spade-edge doctor' for what "
                "slows this machine down"
            )
        if child.returncode:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise _error(lines, child.returncode, killed_for_memory=_kills() > kills)


def _wait(child: subprocess.Popen[bytes], limit: float | None, waiting: Waiting) -> bool:
    """Wait until the process ends, or the limit is reached; whether it has ended."""
    start = monotonic()
    while True:
        left = EVERY if limit is None else min(EVERY, start + limit - monotonic())
        try:
            child.wait(timeout=max(left, 0))
        except subprocess.TimeoutExpired:
            passed = monotonic() - start
            if limit is not None and passed >= limit:
                return False
            waiting(passed)
        else:
            return True


def _kills() -> int:
    """How many processes the kernel has ended because memory ran out; 0 where it does not say."""
    try:
        found = re.search(r"^oom_kill ([0-9]{1,15})$", KILLS.read_text("ascii"), re.MULTILINE)
    except (OSError, ValueError):
        return 0
    return int(found[1]) if found is not None else 0


def _error(lines: Sequence[str], code: int, *, killed_for_memory: bool) -> SpadeError:
    """Why the process ended without an engine.

    Args:
        lines: what it printed on stderr; the last may be the error that `main` prints.
        code: its exit code; below 0 for a signal.
        killed_for_memory: whether the kernel has ended processes in the meantime because memory ran out.
    """
    if code == -signal.SIGKILL:
        if killed_for_memory:
            return DeviceError(
                "expected enough memory to build an engine, found that the kernel ended the process that builds it, "
                f"because memory ran out; {FREE}"
            )
        return DeviceError(
            "expected TensorRT to build an engine, found that the process was ended by SIGKILL, as systems do when "
            f"memory runs out ('journalctl -k' may say so); {FREE}"
        )
    lack = next((line for line in reversed(lines) if MEMORY.search(line)), None)
    if lack is not None:
        # The commands have words of their own for what Python and C++ say, which would not fit here.
        said = "found too little" if shortage(RuntimeError(lack)) else f"TensorRT says: {_plain(lack)}"
        return DeviceError(f"expected enough memory to build an engine, {said}; {FREE}")
    last = lines[-1] if lines else ""
    kind, _, message = last.partition(": ")
    if code > 0 and kind in ERRORS:
        return ERRORS[kind](message)
    how = f"crashed ({_signal(-code)})" if code < 0 else f"ended with exit code {code}"
    return DeviceError(
        f"expected TensorRT to build an engine, found that its process {how}{': ' if last else ''}{_plain(last)}; "
        "see 'spade-edge doctor'"
    )


def _plain(line: str) -> str:
    """A message of a library without the head of a log."""
    text = " ".join("".join(c if c.isprintable() else " " for c in _PREFIX.sub("", line)).split())
    for kind in ERRORS:
        text = text.removeprefix(f"{kind}: ")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def main(plan: dict[str, Any]) -> int:
    """Build an engine in this process; on failure the last line on stderr names the error."""
    given = plan["provider"]
    engines = given["engines"]
    provider = Provider(**(given | {"engines": None if engines is None else Path(engines)}))
    try:
        # The gallery would take memory on the GPU that TensorRT needs.
        Scorer.open(
            plan["bundle"],
            providers=provider,
            threads=plan["threads"],
            match=CPU,
            manifest_sha256=plan["manifest_sha256"],
        )
    except SpadeError as problem:
        print(f"{type(problem).__name__}: {problem}", file=sys.stderr)
        return problem.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
