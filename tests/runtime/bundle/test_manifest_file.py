"""The identity of a bundle: which manifest is opened, and that no other one is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import BundleError, Scorer, UsageError
from spade_edge.runtime.bundle import manifest_file
from spade_edge.runtime.bundle.bundle import Bundle, check_files
from spade_edge.runtime.bundle.manifest import FILE, Manifest
from spade_edge.runtime.bundle.manifest_file import manifest_bytes
from spade_edge.runtime.network.session import Session

OTHER = "0" * 64


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe no text", b"[" * 1000])
def test_the_digest_is_that_of_the_bytes_whatever_they_are(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    digest = sha256(content).hexdigest()
    assert manifest_bytes(tmp_path) == manifest_bytes(tmp_path, sha256=digest) == (content, digest)
    with pytest.raises(BundleError, match=digest[:16]):
        manifest_bytes(tmp_path, sha256=OTHER)


def test_what_is_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BundleError):
        manifest_bytes(tmp_path)
    with pytest.raises(BundleError):
        manifest_bytes(Path("a\0b"))
    (tmp_path / FILE).mkdir()
    with pytest.raises(BundleError):
        manifest_bytes(tmp_path)
    (tmp_path / FILE).rmdir()
    os.mkfifo(tmp_path / FILE)  # which is not waited for
    with pytest.raises(BundleError):
        manifest_bytes(tmp_path)
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).write_bytes(b"x" * 11)
    monkeypatch.setattr(manifest_file, "LARGEST", 10)
    with pytest.raises(BundleError):
        manifest_bytes(tmp_path)


def test_this_manifest_is_opened_or_none(edge: Built, part: Callable[..., NDArray[np.uint8]], tmp_path: Path) -> None:
    digest = sha256((edge.path / FILE).read_bytes()).hexdigest()
    scorer = Scorer.open(edge.path, manifest_sha256=digest)
    assert scorer.bundle.digest == digest and scorer(part(20)).bundle == digest[:16]
    assert Manifest.read(edge.path, sha256=digest) == scorer.bundle.manifest
    copy = shutil.copytree(edge.path, tmp_path / "b.spade")
    (copy / FILE).write_bytes((copy / FILE).read_bytes() + b"\n")  # the same to every reader of JSON
    assert Manifest.read(copy) == scorer.bundle.manifest
    for open_it in (Bundle.open, Scorer.open):
        with pytest.raises(BundleError, match="manifest"):
            open_it(copy, manifest_sha256=digest)
    with pytest.raises(BundleError, match="manifest"):
        Manifest.read(copy, sha256=digest)
    assert Bundle.open(copy).digest != digest
    for given in (OTHER, digest.upper(), digest[:16], ""):
        with pytest.raises(BundleError):
            Bundle.open(edge.path, manifest_sha256=given)


def test_a_manifest_that_must_be_this_one_needs_the_hashes_of_the_files(edge: Built) -> None:
    digest = sha256((edge.path / FILE).read_bytes()).hexdigest()
    assert Bundle.open(edge.path, verify="structure").digest == digest
    for open_it in (Bundle.open, Scorer.open):
        with pytest.raises(UsageError, match="hashes"):
            open_it(edge.path, verify="structure", manifest_sha256=digest)


def test_every_file_is_compared_with_the_manifest(edge: Built, tmp_path: Path) -> None:
    copy = shutil.copytree(edge.path, tmp_path / "b.spade")
    manifest = Manifest.read(copy)
    check_files(copy, manifest)
    for payload in manifest.files.values():
        path = copy / payload.name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BundleError, match="altered"):
            check_files(copy, manifest)
        path.write_bytes(content[:-1])
        with pytest.raises(BundleError, match="bytes"):
            check_files(copy, manifest)
        path.unlink()
        with pytest.raises(BundleError):
            check_files(copy, manifest)
        path.write_bytes(content)


def test_a_network_that_is_open_is_used_and_must_be_the_bundles(edge: Built, tiny_model: Path) -> None:
    network = Scorer.open(edge.path).session
    assert Scorer.open(edge.path, network=network).session is network
    with pytest.raises(BundleError, match="model"):
        Scorer.open(edge.path, network=Session.open(tiny_model))
