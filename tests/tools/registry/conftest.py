"""A bundle in two generations, and a registry of each kind."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from object_stores import s3_server
from oci_registries import docker_registry

from spade_edge.galleries import BuildOptions, build, set_threshold
from spade_edge.tools.registry import Registry, open_registry
from spade_edge.tools.registry import oci as oci_module
from spade_edge.tools.remote import store

KINDS = ("docker", "folder")  # and "s3", which is slow, where a test asks for it


@pytest.fixture(scope="session")
def two_versions(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, texture: Callable[..., NDArray[np.uint8]]
) -> tuple[Path, Path]:
    """A bundle, and the same one with another threshold."""
    folder = tmp_path_factory.mktemp("versions")
    (folder / "images").mkdir()
    for seed in range(4):
        np.save(folder / "images" / f"{seed}.npy", texture(seed))
    first, second = folder / "first.spade", folder / "second.spade"
    build(folder / "images", model=tiny_model, output=first, options=BuildOptions(place="free"))
    shutil.copytree(first, second)
    set_threshold(second, score=5.0, reason="higher")
    return first, second


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries."""
    monkeypatch.setattr(store, "SOONEST", 0.0)
    monkeypatch.setattr(oci_module, "SOONEST", 0.0)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a docker-registry."""
    with docker_registry(tmp_path_factory.mktemp("docker")) as server:
        yield f"oci://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def buckets() -> Iterator[Callable[[], str]]:
    """Addresses of new buckets."""
    with s3_server() as server:
        yield server.bucket


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a registry in which nothing is yet."""
    if request.param == "docker":
        return f"{request.getfixturevalue('docker')}/{tmp_path.name.replace('_', '-').strip('-').lower()}"
    if request.param == "s3":
        return f"{request.getfixturevalue('buckets')()}/registry"
    return str(tmp_path / "registry")


@pytest.fixture
def registry(address: str) -> Registry:
    return open_registry(address)
