"""Signs a bundle, and verifies where it comes from.

A signature covers the bytes of the manifest. The manifest has the SHA-256 of every file, so it covers these too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spade_edge.runtime.bundle.bundle import check_files
from spade_edge.runtime.bundle.manifest import FILE, Manifest
from spade_edge.runtime.bundle.manifest_file import SHORT, manifest_bytes
from spade_edge.runtime.errors import BundleError, UsageError
from spade_edge.tools.signing.keys import PrivateKey, PublicKey
from spade_edge.tools.signing.signature import PREFIX, Signature, signature_path, signers

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Signed:
    """A bundle that was signed.

    Attributes:
        manifest_sha256: SHA-256 of the manifest, 64 hexadecimal digits.
        key: fingerprint of the public key, 64 hexadecimal digits.
        signature: the file of the signature.
    """

    manifest_sha256: str
    key: str
    signature: Path

    def to_json(self) -> dict[str, Any]:
        """As `spade-edge sign --json` prints it."""
        return {"manifest": self.manifest_sha256, "key": self.key, "signature": str(self.signature)}


@dataclass(frozen=True)
class Verified:
    """A bundle whose signature and files are as they should be.

    Attributes:
        manifest_sha256: SHA-256 of the manifest, 64 hexadecimal digits.
        key: fingerprint of the public key that verified it, 64 hexadecimal digits.
        source: the file of that key.
        files: number of files of the bundle, each with the size and the SHA-256 of the manifest.
    """

    manifest_sha256: str
    key: str
    source: str
    files: int

    def to_json(self) -> dict[str, Any]:
        """As `spade-edge verify --json` prints it."""
        return {"manifest": self.manifest_sha256, "key": self.key, "files": self.files}


def sign(bundle: AnyPath, key: AnyPath, *, passphrase: bytes | None = None) -> Signed:
    """Sign the generation of a bundle that is in force. Other signatures stay.

    Args:
        bundle: the folder. Every file must be as the manifest says.
        key: file of the private key.
        passphrase: of the private key; None if it is not encrypted.

    Raises:
        BundleError: the bundle is incomplete or altered.
        DataError: the key cannot be read, or the signature cannot be written.
        DeviceError: cryptography is not installed.
    """
    folder, private = Path(bundle), PrivateKey.read(key, passphrase=passphrase)
    raw, digest = manifest_bytes(folder)
    check_files(folder, Manifest.from_text(raw, source=str(folder / FILE)))
    public = private.public
    signature = Signature(digest, public.fingerprint, private.sign(PREFIX + raw))
    return Signed(digest, public.fingerprint, signature.write(folder))


def verify_signature(bundle: AnyPath, *keys: AnyPath) -> str:
    """Verify that the manifest of a bundle was signed with one of some keys. No other file of the bundle is read.

        digest = verify_signature("part.spade", "line.key.pub")
        scorer = Scorer.open("part.spade", manifest_sha256=digest)

    Args:
        bundle: the folder.
        keys: files of public keys; the signature of one of them is enough.

    Returns:
        SHA-256 of the manifest, 64 hexadecimal digits. `Scorer.open` with it opens this manifest or none, and each file
        that it names with the content that was signed.

    Raises:
        BundleError: there is no such signature, or it is damaged or of other data.
        DataError: a key cannot be read.
        DeviceError: cryptography is not installed.
        UsageError: no key is given.
    """
    return signed_manifest(Path(bundle), read_keys(keys))


def verify(bundle: AnyPath, *keys: AnyPath) -> Verified:
    """Verify the signature of a bundle's manifest, and every file that the manifest names.

    Args:
        bundle: the folder.
        keys: files of public keys; the signature of one of them is enough.

    Raises:
        BundleError: as for `verify_signature`, or a file is missing, or is another one than was signed.
        DataError, DeviceError, UsageError: as for `verify_signature`.
    """
    folder = Path(bundle)
    raw, digest = manifest_bytes(folder)
    key = _signer(folder, raw, digest, read_keys(keys))
    manifest = Manifest.from_text(raw, source=str(folder / FILE))
    check_files(folder, manifest)
    return Verified(digest, key.fingerprint, key.source, len(manifest.files))


def read_keys(paths: Sequence[AnyPath]) -> tuple[PublicKey, ...]:
    """Read public keys.

    Raises:
        DataError: one of them cannot be read.
        DeviceError: cryptography is not installed.
        UsageError: there is none.
    """
    if not paths:
        raise UsageError("expected one or more public keys to verify a signature with, found none")
    return tuple(PublicKey.read(path) for path in paths)


def signed_manifest(bundle: Path, keys: Sequence[PublicKey]) -> str:
    """As `verify_signature`, with keys that were read before."""
    raw, digest = manifest_bytes(bundle)
    _signer(bundle, raw, digest, keys)
    return digest


def _signer(bundle: Path, manifest: bytes, digest: str, keys: Sequence[PublicKey]) -> PublicKey:
    """The first of some keys that has signed a manifest.

    Raises:
        BundleError: none has.
    """
    problem = ""
    for key in keys:
        path = signature_path(bundle, manifest=digest, key=key.fingerprint)
        if not os.path.lexists(path):
            continue
        try:
            signature = Signature.read(path)
        except BundleError as found:
            problem = str(found)
            continue
        if (signature.manifest, signature.key) != (digest, key.fingerprint):
            problem = f"{path}: expected the signature that its name says, found that of another manifest or key"
        elif not key.verifies(PREFIX + manifest, signature.value):
            problem = f"{path}: expected a signature of this manifest with {key.source}, found one that is false"
        else:
            return key
    if problem:
        raise BundleError(f"{problem}; the bundle is not what the owner of the key signed")
    others = ", ".join(signers(bundle, manifest=digest)[:3])
    raise BundleError(
        f"{bundle}: expected a signature of the manifest {digest[:SHORT]}… with "
        f"{' or '.join(f'the key {key.fingerprint[:SHORT]} ({key.source})' for key in keys)}, found "
        f"{f'one with the key {others}' if others else 'none'}; 'spade-edge sign' makes one"
    )
