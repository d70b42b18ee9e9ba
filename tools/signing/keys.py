"""Ed25519 keys (RFC 8032) in PEM files: PKCS #8 for private keys and SubjectPublicKeyInfo for public ones, as OpenSSL.

The only module that imports cryptography.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.tools.extras import packages_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

EXTRA = "sign"
LARGEST = 16 << 10  # bytes of a key file; one of ours has up to 300
LONGEST = 1023  # bytes of a passphrase, as OpenSSL takes at most
SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: what stands before the 32 bytes of a public key in DER
PUBLIC_SUFFIX = ".pub"
OWNER_ONLY, EVERYBODY_READS = 0o600, 0o644


@dataclass(frozen=True)
class PublicKey:
    """A key that verifies signatures.

    Attributes:
        raw: the 32 bytes of RFC 8032.
        source: the file that it was read from, for messages.
    """

    raw: bytes
    source: str = "public key"

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> PublicKey:
        """Read a PEM file.

        Raises:
            DataError: it cannot be read, or holds something else than an Ed25519 public key.
            DeviceError: cryptography is not installed.
        """
        content = _content(Path(path), "a public key")
        if b"PRIVATE KEY" in content:
            raise DataError(
                f"{path}: expected a public key, found a private one, which no device needs; "
                f"take the file that ends in {PUBLIC_SUFFIX}"
            )
        with packages_of(EXTRA, needed_by="a signature"):
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
            from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
        try:
            key = load_pem_public_key(content)
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise DataError(
                f"{path}: expected an Ed25519 public key in PEM, found {'something' if key is None else 'a key'} "
                "of another kind; 'spade-edge sign --new-key' makes one"
            )
        return cls(key.public_bytes(Encoding.Raw, PublicFormat.Raw), str(path))

    @property
    def der(self) -> bytes:
        """The key in DER, as OpenSSL writes it."""
        return SPKI + self.raw

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key in DER, 64 hexadecimal digits."""
        return hashlib.sha256(self.der).hexdigest()

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether the private key of this one has signed these bytes.

        Raises:
            DeviceError: cryptography is not installed.
        """
        with packages_of(EXTRA, needed_by="a signature"):
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """A key that signs. Use `read`, or `new_key` for one in a file.

    Args:
        key: of cryptography.
        source: the file that it was read from, for messages.
    """

    def __init__(self, key: Ed25519PrivateKey, source: str = "private key") -> None:
        self._key = key
        self.source = source

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, passphrase: bytes | None = None) -> PrivateKey:
        """Read a PEM file.

        Args:
            path: the file.
            passphrase: with which it is encrypted; None if it is not.

        Raises:
            DataError: it cannot be read, holds something else than an Ed25519 private key, or has another passphrase.
            DeviceError: cryptography is not installed.
        """
        content = _content(Path(path), "a private key")
        with packages_of(EXTRA, needed_by="a signature"):
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        if is_encrypted(content) and passphrase is None:
            raise DataError(f"{path}: expected a passphrase, because this key is encrypted, found none")
        try:
            key = load_pem_private_key(content, passphrase if is_encrypted(content) else None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            if is_encrypted(content):
                raise DataError(
                    f"{path}: expected the passphrase of this key, found another, or a damaged key"
                ) from None
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise DataError(
                f"{path}: expected an Ed25519 private key in PEM, found {'something' if key is None else 'a key'} "
                "of another kind; 'spade-edge sign --new-key' makes one"
            )
        return cls(key, str(path))

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one has signed."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return PublicKey(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), self.source)

    def sign(self, message: bytes) -> bytes:
        """The signature of some bytes, 64 bytes. It is always the same."""
        return self._key.sign(message)


def new_key(path: str | os.PathLike[str], *, passphrase: bytes | None = None) -> PublicKey:
    """Make a key pair: the private key as `path`, for its owner only, and the public key as `path` with `.pub` added.

    Neither replaces a file.

    Args:
        path: of the private key.
        passphrase: encrypts the private key; None leaves it as it is.

    Returns:
        the public key.

    Raises:
        UsageError: one of the files exists, or the passphrase is empty or too long.
        DataError: a file cannot be written.
        DeviceError: cryptography is not installed.
    """
    private, public = Path(path), Path(f"{os.fspath(path)}{PUBLIC_SUFFIX}")
    if passphrase is not None and not 0 < len(passphrase) <= LONGEST:
        raise UsageError(f"expected a passphrase of 1 to {LONGEST} bytes, found {len(passphrase)}")
    with packages_of(EXTRA, needed_by="a new key"):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            BestAvailableEncryption,
            Encoding,
            KeySerializationEncryption,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
        )
    for file in (private, public):
        if os.path.lexists(file):
            raise UsageError(f"{file}: expected a name that is free, found one that is taken; no key is ever replaced")
    key = Ed25519PrivateKey.generate()
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        encryption = BestAvailableEncryption(passphrase)
    # The private key comes first: the public one can be had from it, but not the other way round.
    _write_new(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), OWNER_ONLY)
    own = key.public_key()
    try:
        _write_new(public, own.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), EVERYBODY_READS)
    except (DataError, UsageError):
        private.unlink()  # nothing has been signed with it
        raise
    return PublicKey(own.public_bytes(Encoding.Raw, PublicFormat.Raw), str(public))


def is_encrypted(content: bytes) -> bool:
    """Whether a PEM file holds a private key that a passphrase encrypts: PKCS #8, or OpenSSL's older form."""
    return b"BEGIN ENCRYPTED PRIVATE KEY" in content or b"Proc-Type: 4,ENCRYPTED" in content


def needs_passphrase(path: str | os.PathLike[str]) -> bool:
    """Whether a private key in a file is encrypted.

    Raises:
        DataError: it cannot be read.
    """
    return is_encrypted(_content(Path(path), "a private key"))


def others_may_read(path: str | os.PathLike[str]) -> bool:
    """Whether users other than the owner may read a file; always false on Windows, which has no such bits."""
    return os.name == "posix" and bool(stat.S_IMODE(Path(path).stat().st_mode) & 0o044)


def read_passphrase(path: str | os.PathLike[str]) -> bytes:
    """The passphrase in a file, without the end of its line.

    Raises:
        DataError: the file cannot be read, is empty or too long, or has several lines.
    """
    content = _content(Path(path), "a passphrase")
    passphrase = content.removesuffix(b"\n").removesuffix(b"\r")
    if not 0 < len(passphrase) <= LONGEST or b"\n" in passphrase:
        raise DataError(f"{path}: expected one line with a passphrase of 1 to {LONGEST} bytes, found something else")
    return passphrase


def _content(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as problem:
        raise DataError(f"{path}: expected a file with {what}, found: {problem.strerror}") from None
    if len(content) > LARGEST:
        raise DataError(f"{path}: expected a file with {what}, found one of more than {LARGEST} bytes")
    return content


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that does not exist yet, and have the disk keep it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    except FileExistsError:
        raise UsageError(
            f"{path}: expected a name that is free, found one that is taken; no key is ever replaced"
        ) from None
    except OSError as problem:
        raise DataError(f"cannot write {path}: {problem.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError as problem:
        path.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {problem.strerror}") from None
