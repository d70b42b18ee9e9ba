"""Keys against the vectors of RFC 8032 and against OpenSSL, and what happens to files."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from spade_edge.runtime import DataError, UsageError
from spade_edge.tools.signing import keys
from spade_edge.tools.signing.keys import PrivateKey, PublicKey, new_key, read_passphrase

OPENSSL = shutil.which("openssl")
PKCS8 = bytes.fromhex("302e020100300506032b657004220420")  # RFC 8410: stands before the 32 bytes of a private key
# RFC 8032, section 7.1: secret key, public key, message, signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 8032, section 5.1: L


def pem(path: Path, der: bytes, what: str) -> Path:
    """A PEM file, written by hand (RFC 7468)."""
    import base64

    path.write_text(f"-----BEGIN {what} KEY-----\n{base64.b64encode(der).decode()}\n-----END {what} KEY-----\n")
    return path


def openssl(*arguments: object) -> bytes:
    assert OPENSSL is not None
    return subprocess.run([OPENSSL, *map(str, arguments)], capture_output=True, check=True).stdout


needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="there is no openssl command")


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_vectors_of_rfc_8032(secret: str, public: str, message: str, signature: str, tmp_path: Path) -> None:
    private = PrivateKey.read(pem(tmp_path / "a.key", PKCS8 + bytes.fromhex(secret), "PRIVATE"))
    known = PublicKey.read(pem(tmp_path / "a.pub", keys.SPKI + bytes.fromhex(public), "PUBLIC"))
    said, text = bytes.fromhex(signature), bytes.fromhex(message)
    assert private.public.raw == known.raw == bytes.fromhex(public)
    assert private.sign(text) == said and known.verifies(text, said)
    assert not known.verifies(text + b"\0", said)
    for bit in range(0, 512, 7):
        flipped = bytearray(said)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not known.verifies(text, bytes(flipped))
    # A second form of the same signature, with s + L, is none (section 5.1.7).
    other = said[:32] + (int.from_bytes(said[32:], "little") + ORDER).to_bytes(32, "little")
    assert not known.verifies(text, other)
    for wrong in (b"", said[:-1], said + b"\0"):
        assert not known.verifies(text, wrong)


@pytest.mark.parametrize("passphrase", [None, b"p\xc3\xa4ss phrase"])
def test_a_new_pair_is_for_its_owner_and_fits_together(tmp_path: Path, passphrase: bytes | None) -> None:
    before = os.umask(0)
    try:
        made = new_key(tmp_path / "line.key", passphrase=passphrase)
    finally:
        os.umask(before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["line.key", "line.key.pub"]
    if os.name == "posix":
        assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("line.key", "line.key.pub")] == [
            0o600,
            0o644,
        ]
    private = PrivateKey.read(tmp_path / "line.key", passphrase=passphrase)
    public = PublicKey.read(tmp_path / "line.key.pub")
    assert private.public.raw == public.raw == made.raw and public.fingerprint == made.fingerprint
    assert public.verifies(b"a message", private.sign(b"a message"))
    assert keys.needs_passphrase(tmp_path / "line.key") == (passphrase is not None)
    other = new_key(tmp_path / "other.key")
    assert other.raw != made.raw and not other.verifies(b"a message", private.sign(b"a message"))


@needs_openssl
@pytest.mark.parametrize("passphrase", [None, b"secret"])
def test_openssl_reads_our_keys_and_we_read_its(tmp_path: Path, passphrase: bytes | None) -> None:
    ours, theirs, message = tmp_path / "ours.key", tmp_path / "theirs.key", tmp_path / "message"
    given = [] if passphrase is None else ["-passin", f"pass:{passphrase.decode()}"]
    public = new_key(ours, passphrase=passphrase)
    assert openssl("pkey", "-in", ours, *given, "-pubout") == (tmp_path / "ours.key.pub").read_bytes()
    der = openssl("pkey", "-pubin", "-in", tmp_path / "ours.key.pub", "-outform", "DER")
    assert sha256(der).hexdigest() == public.fingerprint
    encrypted = [] if passphrase is None else ["-aes256", "-pass", f"pass:{passphrase.decode()}"]
    openssl("genpkey", "-algorithm", "ed25519", *encrypted, "-out", theirs)
    (tmp_path / "theirs.pub").write_bytes(openssl("pkey", "-in", theirs, *given, "-pubout"))
    message.write_bytes(b"a message")
    own, other = PrivateKey.read(ours, passphrase=passphrase), PrivateKey.read(theirs, passphrase=passphrase)
    (tmp_path / "signature").write_bytes(own.sign(b"a message"))
    told = openssl(
        "pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "ours.key.pub", "-rawin", "-in", message,
        "-sigfile", tmp_path / "signature",
    )  # fmt: skip
    assert b"Success" in told
    signed = openssl("pkeyutl", "-sign", "-inkey", theirs, *given, "-rawin", "-in", message)
    assert signed == other.sign(b"a message") and PublicKey.read(tmp_path / "theirs.pub").verifies(b"a message", signed)


def taken(tmp_path: Path) -> None:
    (tmp_path / "line.key").write_text("mine")


def public_taken(tmp_path: Path) -> None:
    (tmp_path / "line.key.pub").write_text("mine")


def link(tmp_path: Path) -> None:
    (tmp_path / "line.key").symlink_to(tmp_path / "elsewhere")


@pytest.mark.parametrize("occupy", [taken, public_taken, link])
def test_no_key_is_ever_replaced(tmp_path: Path, occupy: Callable[[Path], None]) -> None:
    occupy(tmp_path)
    before = {path.name: path.lstat().st_ino for path in tmp_path.iterdir()}
    with pytest.raises(UsageError):
        new_key(tmp_path / "line.key")
    assert {path.name: path.lstat().st_ino for path in tmp_path.iterdir()} == before
    assert all(path.is_symlink() or path.read_text() == "mine" for path in tmp_path.iterdir())


def test_a_key_that_appears_at_the_last_moment_is_not_replaced_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "line.key.pub").write_text("mine")
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    with pytest.raises(UsageError):
        new_key(tmp_path / "line.key")
    assert [path.name for path in tmp_path.iterdir()] == ["line.key.pub"]
    assert (tmp_path / "line.key.pub").read_text() == "mine"


def test_a_full_disk_leaves_no_half_of_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        new_key(tmp_path / "line.key")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError):
        new_key(tmp_path / "absent" / "line.key")


def test_other_passphrases(tmp_path: Path) -> None:
    new_key(tmp_path / "a.key", passphrase=b"right")
    new_key(tmp_path / "b.key")
    for passphrase in (None, b"wrong", b""):
        with pytest.raises(DataError):
            PrivateKey.read(tmp_path / "a.key", passphrase=passphrase)
    PrivateKey.read(tmp_path / "b.key", passphrase=b"needless")  # as OpenSSL, which asks for none
    for passphrase in (b"", b"x" * 1025):
        with pytest.raises(UsageError):
            new_key(tmp_path / "c.key", passphrase=passphrase)
    assert not (tmp_path / "c.key").exists()
    file = tmp_path / "passphrase"
    for content in (b"right", b"right\n", b"right\r\n"):
        file.write_bytes(content)
        assert read_passphrase(file) == b"right"
    for content in (b"", b"\n", b"one\ntwo", b"x" * 1025, b"x" * 100_000):
        file.write_bytes(content)
        with pytest.raises(DataError):
            read_passphrase(file)
    with pytest.raises(DataError):
        read_passphrase(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"x" * 100_000, b"-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_files_that_are_no_keys(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.key").write_bytes(content)
    with pytest.raises(DataError):
        PublicKey.read(tmp_path / "a.key")
    with pytest.raises(DataError):
        PrivateKey.read(tmp_path / "a.key")


def test_a_key_of_the_other_half_of_another_kind_or_of_nobody(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    new_key(tmp_path / "a.key")
    with pytest.raises(DataError, match="private one"):
        PublicKey.read(tmp_path / "a.key")
    with pytest.raises(DataError):
        PrivateKey.read(tmp_path / "a.key.pub")
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "ec.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "ec.pub").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    for read, name in ((PublicKey.read, "ec.pub"), (PrivateKey.read, "ec.key"), (PublicKey.read, "absent")):
        with pytest.raises(DataError):
            read(tmp_path / name)
