"""Scoring on systems without POSIX: what Windows lacks is hidden, and a frame is scored all the same.

This shows what pure Python decides. It does not replace a run on such a system.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import Scorer

SCRIPT = """
import ctypes, importlib, json, os, pkgutil, signal, sys

for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty", "syslog"):
    sys.modules[name] = None  # importing it raises ModuleNotFoundError
for name in dir(os):
    if name.startswith(("RTLD_", "sched_", "getuid", "geteuid", "getgid", "getegid")):
        delattr(os, name)
for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGKILL"):
    delattr(signal, name)
library = ctypes.CDLL

def windows_library(name, *arguments, **options):
    if name is None:
        raise TypeError("LoadLibrary() argument 1 must be str, not None")
    return library(name, *arguments, **options)

ctypes.CDLL = windows_library

import spade_edge.runtime

names = [module.name for module in pkgutil.walk_packages(spade_edge.runtime.__path__, "spade_edge.runtime.")]
for name in names:
    importlib.import_module(name)

import numpy as np
from pathlib import Path
from spade_edge.runtime import DeviceError, Scorer
from spade_edge.runtime.network import engine_cache, gpu
from spade_edge.runtime.network.provider import BatchRange, Provider

scorer = Scorer.open(sys.argv[1], self_test=True)
result = scorer(np.load(sys.argv[2]))
assert gpu.why_not_loaded(Path("libmissing.so")) == ""
engine_cache.must_be_offered = lambda provider: None
try:
    engine_cache.EngineCache.of(
        scorer.bundle.model, scorer.session.card, Provider("tensorrt"), views=BatchRange(usual=1, most=1)
    )
except DeviceError as problem:
    refused = str(problem)
print(json.dumps({"modules": names, "score": result.score, "verdict": result.verdict, "refused": refused}))
"""


def test_a_frame_is_scored_where_posix_is_missing(
    edge: Built, part: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    frame = part(81, flaw=True)
    np.save(tmp_path / "frame.npy", frame)
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, edge.path, tmp_path / "frame.npy"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    here = Scorer.open(edge.path)(frame)
    assert (found["score"], found["verdict"]) == (here.score, here.verdict)
    assert "spade_edge.runtime.network.engine_cache" in found["modules"] and len(found["modules"]) > 30
    assert "file permissions" in found["refused"] and "--provider cuda" in found["refused"]
