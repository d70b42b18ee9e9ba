"""Images in a folder, and an S3 server; a cache of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from object_stores import S3, s3_server

from spade_edge.tools.remote import store


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of copies; it is not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "SOONEST", 0.0)
    return tmp_path / "cache" / "spade-edge" / "images"


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory, part: Callable[..., NDArray[np.uint8]]) -> Path:
    """Ten good images in two folders, and files that are no images."""
    folder = tmp_path_factory.mktemp("parts")
    for seed in range(10):
        path = folder / ("left" if seed % 3 else "right ü") / f"{seed}.png"
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), part(seed))
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / "notes.txt").write_bytes(b"x")
    (folder / "clip.mp4").write_bytes(b"x")
    return folder


@pytest.fixture
def bucket(s3: S3, parts: Path) -> str:
    """The address of the same images in an object store."""
    address = f"{s3.bucket()}/bolts"
    s3.upload(address, parts)
    return address
