"""A signature in a bundle: `signatures/<SHA-256 of the manifest>-<start of the key's fingerprint>.json`.

Each manifest and each key has a file of its own, so signatures of former manifests stay, and so do those of other keys.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from spade_edge.galleries.disk import flush
from spade_edge.galleries.signature_files import FOLDER, LARGEST, NAME, signature_files
from spade_edge.runtime.bundle.manifest import HASH
from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.runtime.errors import BundleError, DataError
from spade_edge.runtime.fields import parse
from spade_edge.tools.output import replacing

SCHEMA = 1
ALGORITHM = "ed25519"
PREFIX = b"spade-edge/bundle/1\n"  # stands before the manifest, so that a signature of other data is none of a bundle
VALUE = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True)
class Signature:
    """A signature of a manifest.

    Attributes:
        manifest: SHA-256 of the manifest, 64 hexadecimal digits.
        key: fingerprint of the public key, 64 hexadecimal digits.
        value: 64 bytes, the Ed25519 signature of `PREFIX` and the bytes of the manifest.
    """

    manifest: str
    key: str
    value: bytes

    def to_text(self) -> str:
        """The file's contents."""
        value = {
            "schema": SCHEMA,
            "algorithm": ALGORITHM,
            "manifest": self.manifest,
            "key": self.key,
            "signature": self.value.hex(),
        }
        return json.dumps(value, indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Signature:
        """Read the file of a signature.

        Raises:
            BundleError: it is a link, no file, too large, or holds something else.
        """
        fields = parse(_content(path), where=str(path), error=BundleError)
        schema, algorithm = fields.integer("schema"), fields.text("algorithm")
        if schema != SCHEMA or algorithm != ALGORITHM:
            raise BundleError(
                f"{path}: expected a signature of schema {SCHEMA} with {ALGORITHM}, found another; "
                "update this machine's spade-edge"
            )
        manifest, key, value = (fields.text(name) for name in ("manifest", "key", "signature"))
        fields.done()
        if not (HASH.fullmatch(manifest) and HASH.fullmatch(key) and VALUE.fullmatch(value)):
            raise BundleError(f"{path}: expected hashes and a signature in hexadecimal digits, found something else")
        return cls(manifest, key, bytes.fromhex(value))

    def write(self, bundle: Path) -> Path:
        """Put the signature into a bundle, in one step; returns its file.

        Raises:
            DataError: it cannot be written, or the folder of the signatures is a link.
        """
        path = signature_path(bundle, manifest=self.manifest, key=self.key)
        if path.parent.is_symlink():
            raise DataError(f"{path.parent}: expected a folder of the bundle, found a link; remove it")
        with replacing(path) as file:
            file.write(self.to_text().encode())
            file.flush()
            os.fsync(file.fileno())
        flush(path.parent)
        return path


def signature_path(bundle: Path, *, manifest: str, key: str) -> Path:
    """Where the signature of a manifest by a key is kept."""
    return bundle / FOLDER / f"{manifest}-{key[:SHORT]}.json"


def signers(bundle: Path, *, manifest: str) -> tuple[str, ...]:
    """The starts of the fingerprints of the keys that seem to have signed a manifest, by the names of files alone."""
    return tuple(found[2] for path in signature_files(bundle, manifest) if (found := NAME.fullmatch(path.name)))


def _content(path: Path) -> bytes:
    """The bytes of a small file. A link is not followed, and a pipe is not waited for."""
    try:
        descriptor = os.open(
            path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(LARGEST + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError as problem:
        raise BundleError(f"{path}: expected a file with a signature, found: {problem.strerror}") from None
    if content is None or len(content) > LARGEST:
        raise BundleError(f"{path}: expected a file of at most {LARGEST} bytes, found something else")
    return content
