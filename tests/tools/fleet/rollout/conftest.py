"""Versions of one bundle in a registry, and a device that has the first of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from registries import Passing

from spade_edge.galleries import Built, set_threshold
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.registry import Blob, Reference, Registry, open_registry, push

Part = Callable[..., NDArray[np.uint8]]


@dataclass(frozen=True)
class Plant:
    """A registry in a folder with versions of the bundle "bolt" under tags of these names.

    Attributes:
        address: of the registry.
        versions: the bundles that were pushed.
    """

    address: str
    versions: dict[str, Path]

    @property
    def registry(self) -> Registry:
        return open_registry(self.address)

    def push(self, bundle: Path, tag: str) -> None:
        push(bundle, self.registry, Reference("bolt", tag=tag))


@dataclass
class Recording(Passing):
    """A registry that notes what is fetched, and fails after some files.

    Attributes:
        inner: the registry.
        most: files that are fetched before it fails.
        error: with which it fails.
        fetched: titles of the files that were fetched.
    """

    most: int = 1 << 30
    error: BaseException = field(default_factory=RuntimeError)
    fetched: list[str] = field(default_factory=list)

    def fetch(self, name: str, blob: Blob, path: Path) -> None:
        if len(self.fetched) == self.most:
            raise self.error
        self.inner.fetch(name, blob, path)
        self.fetched.append(blob.title)


@pytest.fixture(scope="session")
def pushed(tmp_path_factory: pytest.TempPathFactory, edge: Built) -> Plant:
    """The versions "first", and with other thresholds "strict", which rejects everything, and "lenient"."""
    folder = tmp_path_factory.mktemp("plant")
    plant = Plant(str(folder / "registry"), {})
    threshold = Manifest.read(edge.path).threshold.score
    for tag, score in (("first", None), ("strict", threshold / 1e6), ("lenient", threshold * 1e6)):
        bundle = folder / f"{tag}.spade"
        shutil.copytree(edge.path, bundle)
        if score is not None:
            set_threshold(bundle, score=score, reason=tag)
        plant.push(bundle, tag)
        plant.versions[tag] = bundle
    return plant


@pytest.fixture
def plant(pushed: Plant, tmp_path: Path) -> Plant:
    """A registry of a test's own."""
    shutil.copytree(pushed.address, tmp_path / "registry")
    return Plant(str(tmp_path / "registry"), dict(pushed.versions))


@pytest.fixture
def device(pushed: Plant, tmp_path: Path) -> Path:
    """The bundle of a device."""
    shutil.copytree(pushed.versions["first"], tmp_path / "device" / "part.spade")
    return tmp_path / "device" / "part.spade"


@pytest.fixture
def recording() -> type[Recording]:
    """Wraps a registry."""
    return Recording
