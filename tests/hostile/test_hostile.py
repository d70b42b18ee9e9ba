"""The hostile run in short; `python tests/hostile/run.py` is the long one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hostile import run as hostile
from hostile.mutations import FAMILIES
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import BundleError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bounds of processes are those of Linux")


def test_spoilt_bundles_are_refused_or_scored() -> None:
    # In a process of its own, as onnxruntime has threads here, which a fork does not copy.
    command = [sys.executable, str(Path(hostile.__file__)), "--mutations", "48", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    summary = json.loads(done.stdout)
    assert summary["faults"] == [] and done.returncode == 0
    assert sum(summary["ends"].values()) == 48
    assert {name.partition(":")[0] for name in summary["ends"]} == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mutation_is_the_same_in_every_run_and_leaves_the_intact_bundle_alone(
    edge: Built, tmp_path: Path, family: str
) -> None:
    intact = {path.name: path.read_bytes() for path in edge.path.rglob("*") if path.is_file()}
    said, contents = [], []
    for number in range(2):
        copy = hostile.copied(edge.path, tmp_path / str(number))
        said.append(FAMILIES[family](copy, np.random.default_rng(5)))
        contents.append({p.name: p.read_bytes() for p in copy.rglob("*") if p.is_file() and p.stat().st_size < 1 << 30})
    assert said[0] == said[1] and contents[0] == contents[1]
    assert {path.name: path.read_bytes() for path in edge.path.rglob("*") if path.is_file()} == intact


def aborts(bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> list[str]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def sleeps(bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> list[str]:
    time.sleep(60)
    return []


def fails(bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> list[str]:
    raise ZeroDivisionError("1 / 0")


def refuses(bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> list[str]:
    raise BundleError("expected another")


def fills(bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> list[str]:
    return [str(len(np.ones(16 << 20)))]


def asks(bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> list[str]:
    return [str(len(np.ones(1 << 34)))]


@pytest.mark.parametrize(
    ("attempt", "end"),
    [
        (aborts, "crash"),
        (sleeps, "hang"),
        (fails, "undocumented"),
        (asks, "undocumented"),
        (refuses, "refused"),
        (fills, "scored"),
    ],
)
def test_how_a_child_ends_is_told(tmp_path: Path, attempt: hostile.Try, end: str) -> None:
    found = hostile.tried(tmp_path, [], attempt=attempt, seconds=3 if attempt is sleeps else 30)
    assert found.end == end
    if attempt is fills:
        assert found.detail == str(16 << 20) and found.memory > 128 << 20
