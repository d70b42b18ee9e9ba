"""Signatures of bundles: what they cover, and files in their place that are none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography")

from altered import altered

from spade_edge.galleries import Built, set_threshold, undo
from spade_edge.runtime import BundleError, DataError, Scorer, UsageError
from spade_edge.runtime.bundle import bundle as bundle_module
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import FILE, Manifest
from spade_edge.runtime.matching.hnsw import Index
from spade_edge.runtime.network import session
from spade_edge.runtime.network.onnx_outline import OnnxOutline
from spade_edge.tools.signing import PrivateKey, PublicKey, new_key, sign, verify, verify_signature
from spade_edge.tools.signing.signature import FOLDER, signers

PREFIX = b"spade-edge/bundle/1\n"  # as the bundle format says


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two key pairs."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("line.key", "other.key"):
        new_key(folder / name)
    return folder


@pytest.fixture
def bundle(edge: Built, tmp_path: Path) -> Path:
    copy = tmp_path / "part.spade"
    shutil.copytree(edge.path, copy)
    return copy


@pytest.fixture
def key(folder: Path) -> Path:
    return folder / "line.key"


@pytest.fixture
def public(folder: Path) -> Path:
    return folder / "line.key.pub"


def digest_of(bundle: Path) -> str:
    return sha256((bundle / FILE).read_bytes()).hexdigest()


def test_a_signature_is_that_of_the_prefix_and_the_manifest(bundle: Path, key: Path, public: Path) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir() if path.is_file()}
    with pytest.raises(BundleError):
        verify(bundle, public)
    signed = sign(bundle, key)
    assert {path.name: path.read_bytes() for path in bundle.iterdir() if path.is_file()} == before
    assert [path.name for path in (bundle / FOLDER).iterdir()] == [signed.signature.name]
    digest = digest_of(bundle)
    assert signed.signature.name == f"{digest}-{PublicKey.read(public).fingerprint[:16]}.json"
    value = json.loads(signed.signature.read_text())
    assert value == {
        "schema": 1,
        "algorithm": "ed25519",
        "manifest": digest,
        "key": PublicKey.read(public).fingerprint,
        "signature": value["signature"],
    }
    text = PREFIX + before[FILE]
    assert bytes.fromhex(value["signature"]) == PrivateKey.read(key).sign(text)
    assert PublicKey.read(public).verifies(text, bytes.fromhex(value["signature"]))
    verified = verify(bundle, public)
    assert (verified.manifest_sha256, verified.key, verified.source) == (digest, value["key"], str(public))
    assert verified.files == len(Manifest.read(bundle).files)
    assert verify_signature(str(bundle), str(public)) == digest
    content = signed.signature.read_bytes()
    assert sign(bundle, key) == signed and signed.signature.read_bytes() == content


def test_one_of_several_keys_is_enough(bundle: Path, folder: Path, key: Path, public: Path) -> None:
    other = folder / "other.key"
    sign(bundle, key)
    with pytest.raises(BundleError, match="found one with the key"):
        verify(bundle, f"{other}.pub")
    assert verify(bundle, f"{other}.pub", public).source == str(public)
    sign(bundle, other)
    assert verify(bundle, f"{other}.pub", public).source == f"{other}.pub"
    assert len(signers(bundle, manifest=digest_of(bundle))) == 2
    next((bundle / FOLDER).glob(f"*{PublicKey.read(f'{other}.pub').fingerprint[:16]}*")).write_bytes(b"spoilt")
    assert verify(bundle, f"{other}.pub", public).source == str(public)
    with pytest.raises(UsageError):
        verify(bundle)
    with pytest.raises(UsageError):
        verify_signature(bundle)


def test_a_change_needs_a_signature_and_what_is_put_back_has_one(bundle: Path, key: Path, public: Path) -> None:
    sign(bundle, key)
    first = (bundle / FILE).read_bytes()
    set_threshold(bundle, score=5.0, reason="a test")
    with pytest.raises(BundleError, match="found none"):
        verify_signature(bundle, public)
    sign(bundle, key)
    assert verify_signature(bundle, public) == digest_of(bundle) != sha256(first).hexdigest()
    undo(bundle)
    assert verify_signature(bundle, public) == sha256(first).hexdigest()
    assert Scorer.open(bundle, manifest_sha256=verify_signature(bundle, public)).bundle.digest == digest_of(bundle)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_every_file_that_a_frame_needs_is_covered(bundle: Path, key: Path, public: Path) -> None:
    sign(bundle, key)
    digest = verify_signature(bundle, public)
    for payload in Manifest.read(bundle).files.values():
        path = bundle / payload.name
        whole = path.read_bytes()
        flipped(path)
        assert verify_signature(bundle, public) == digest  # it reads the manifest alone
        with pytest.raises(BundleError, match="altered"):
            verify(bundle, public)
        with pytest.raises(BundleError, match="altered"):
            Scorer.open(bundle, manifest_sha256=digest)
        with pytest.raises(BundleError, match="altered"):
            sign(bundle, key)
        path.unlink()
        with pytest.raises(BundleError):
            verify(bundle, public)
        path.write_bytes(whole)
    assert verify(bundle, public).manifest_sha256 == digest


def test_the_manifest_that_was_verified_is_opened_or_none(bundle: Path, key: Path, public: Path) -> None:
    sign(bundle, key)
    digest = verify_signature(bundle, public)
    set_threshold(bundle, score=5.0, reason="it is exchanged after the check")
    for open_it in (Bundle.open, Scorer.open):
        with pytest.raises(BundleError, match="manifest"):
            open_it(bundle, manifest_sha256=digest)
    with pytest.raises(BundleError, match="manifest"):
        Manifest.read(bundle, sha256=digest)
    with pytest.raises(UsageError):  # without hashes, other files would do
        Bundle.open(bundle, verify="structure", manifest_sha256=digest_of(bundle))
    assert Bundle.open(bundle, manifest_sha256=digest_of(bundle)).digest == digest_of(bundle)


def test_nothing_of_a_bundle_that_is_not_signed_reaches_onnxruntime_or_an_array_reader(
    bundle: Path, key: Path, public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(bundle, key)
    digest = verify_signature(bundle, public)

    def reached(*_: object, **__: object) -> None:
        raise AssertionError("bytes of the bundle were read")

    for owner, name in ((bundle_module, "mapped_array"), (session, "open_session"), (np, "memmap"), (Index, "read")):
        monkeypatch.setattr(owner, name, reached)
    monkeypatch.setattr(OnnxOutline, "read", reached)
    with pytest.raises(AssertionError):
        Scorer.open(bundle, manifest_sha256=digest)
    flipped(bundle / Manifest.read(bundle).files["model"].name)
    with pytest.raises(BundleError, match="altered"):
        Scorer.open(bundle, manifest_sha256=digest)
    (bundle / FILE).write_bytes((bundle / FILE).read_bytes() + b"\n")
    with pytest.raises(BundleError, match="found none"):
        Scorer.open(bundle, manifest_sha256=verify_signature(bundle, public))
    with pytest.raises(BundleError, match="expected the manifest"):
        Scorer.open(bundle, manifest_sha256=digest)


Spoil = Callable[[Path, dict[str, Any]], None]


def replaced(path: Path, value: dict[str, Any], **changes: Any) -> None:
    path.write_text(json.dumps(value | changes))


def away(path: Path, *, then: Callable[[], None]) -> None:
    path.rename(path.with_name("kept"))
    then()


# One for each way in which a file can be no signature of this manifest.
SPOILT: dict[str, Spoil] = {
    "empty": lambda path, value: path.write_bytes(b"") and None,
    "no JSON": lambda path, value: path.write_bytes(b"\x80" * 300) and None,
    "huge": lambda path, value: path.write_text(json.dumps(value) + " " * 5000) and None,
    "endless": lambda path, value: os.truncate(path, 1 << 40),
    "nested": lambda path, value: path.write_text("[" * 4000) and None,
    "a list": lambda path, value: path.write_text("[]") and None,
    "another algorithm": lambda path, value: replaced(path, value, algorithm="none"),
    "another schema": lambda path, value: replaced(path, value, schema=2),
    "a field more": lambda path, value: replaced(path, value, time="2026-11-28"),
    "a field less": lambda path, value: path.write_text(json.dumps({"schema": 1})) and None,
    "a number": lambda path, value: replaced(path, value, signature=1),
    "short": lambda path, value: replaced(path, value, signature=value["signature"][:-2]),
    "capitals": lambda path, value: replaced(path, value, signature=value["signature"].upper() + "Z"),
    "zeros": lambda path, value: replaced(path, value, signature="0" * 128),
    "one bit": lambda path, value: replaced(path, value, signature=f"{int(value['signature'], 16) ^ 1 << 200:0128x}"),
    "another manifest": lambda path, value: replaced(path, value, manifest="0" * 64),
    "another key": lambda path, value: replaced(path, value, key=value["key"][:16] + "0" * 48),
    "a folder": lambda path, value: away(path, then=path.mkdir),
    "a link": lambda path, value: away(path, then=lambda: path.symlink_to(path.with_name("kept"))),
    "a loop": lambda path, value: away(path, then=lambda: path.symlink_to(path)),
    "a device": lambda path, value: away(path, then=lambda: path.symlink_to("/dev/zero")),
    "a pipe": lambda path, value: away(path, then=lambda: os.mkfifo(path)),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_file_that_is_no_signature_is_refused_in_one_line(bundle: Path, key: Path, public: Path, kind: str) -> None:
    path = sign(bundle, key).signature
    SPOILT[kind](path, json.loads(path.read_text()))
    for function in (verify, verify_signature):
        with pytest.raises(BundleError) as caught:
            function(bundle, public)
        said = str(caught.value)
        assert "\n" not in said and str(path) in said and len(said) < 1000 and caught.value.exit_code == 3


def test_a_signature_of_other_data_with_the_same_key_is_none_of_the_bundle(
    bundle: Path, key: Path, public: Path
) -> None:
    path = sign(bundle, key).signature
    value = json.loads(path.read_text())
    manifest, private = (bundle / FILE).read_bytes(), PrivateKey.read(key)
    for message in (manifest, b"", PREFIX, PREFIX + manifest[:-1], b"spade-edge/bundle/2\n" + manifest):
        replaced(path, value, signature=private.sign(message).hex())
        with pytest.raises(BundleError, match="false"):
            verify_signature(bundle, public)
    replaced(path, value, signature=private.sign(PREFIX + manifest).hex())
    assert verify_signature(bundle, public) == digest_of(bundle)


def test_the_signature_of_another_bundle_does_not_serve(
    edge: Built, bundle: Path, key: Path, public: Path, tmp_path: Path
) -> None:
    other = altered(edge.path, tmp_path / "other.spade", "threshold", score=1e9)
    signed = sign(bundle, key).signature
    (other / FOLDER).mkdir()
    shutil.copyfile(signed, other / FOLDER / signed.name)
    with pytest.raises(BundleError, match="found none"):
        verify(other, public)
    shutil.copyfile(signed, other / FOLDER / signed.name.replace(digest_of(bundle), digest_of(other)))
    with pytest.raises(BundleError, match="another manifest"):
        verify(other, public)


@pytest.fixture
def linked(bundle: Path, tmp_path: Path) -> Iterator[Path]:
    """A bundle whose folder of signatures is a link to somewhere else."""
    (tmp_path / "elsewhere").mkdir()
    (bundle / FOLDER).symlink_to(tmp_path / "elsewhere")
    yield bundle
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_nothing_is_written_through_a_link(linked: Path, key: Path) -> None:
    with pytest.raises(DataError, match="link"):
        sign(linked, key)


def test_a_signature_is_whole_or_not_there(bundle: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        sign(bundle, key)
    assert list((bundle / FOLDER).iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", b"{", b"x" * 100])
def test_no_bundle_is_signed_or_verified_where_there_is_none(
    tmp_path: Path, key: Path, public: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(BundleError):
        sign(tmp_path, key)
    with pytest.raises(BundleError):
        verify(tmp_path, public)
    assert not (tmp_path / FOLDER).exists()
