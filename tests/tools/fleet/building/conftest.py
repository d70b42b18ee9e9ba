"""Images and a plan for fleet builds. Copies of images are cached in a folder of the test."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spade_edge.galleries import BuildOptions
from spade_edge.tools.fleet.plan import BundlePlan, FleetPlan

PARTS = 6
TIME = 1_790_000_000  # seconds: 2026-09-21


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def images(tmp_path: Path, part: Callable[..., Any]) -> Path:
    """Six images, last changed at a known time."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(PARTS):
        path = folder / f"{seed}.npy"
        np.save(path, part(seed))
        os.utime(path, (TIME + seed, TIME + seed))
    return folder


@pytest.fixture
def planned(tmp_path: Path, images: Path, model: Path) -> Callable[..., FleetPlan]:
    """A plan of bundles of the same images, by name: options, and perhaps shards."""

    def make(*, output: str = "out", cache: str = "cache", shards: int = 1, **options: BuildOptions) -> FleetPlan:
        bundles = tuple(BundlePlan(name, str(images), str(model), chosen, shards) for name, chosen in options.items())
        return FleetPlan(bundles, tmp_path / output, str(tmp_path / cache))

    return make
