"""What a registry does: it keeps blobs by their hash, manifests by theirs, and tags that point at manifests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.tools.registry.artifact import BUNDLE, Artifact, Blob
from spade_edge.tools.registry.reference import RECORD, Reference
from spade_edge.tools.remote import MissingError

SHORT = 16  # digits of a digest in messages and in the tags that `push` makes


class Registry(Protocol):
    """Blobs, manifests and tags. Names of bundles, tags and digests were checked before; see `reference`.

    What is read is held against its hash and size. Every verb raises MissingError where there is no such thing,
    UnreachableError where nothing answers after some tries, and DataError for other faults.

    Attributes:
        address: as messages repeat it, without secrets.
    """

    address: str

    def names(self) -> tuple[str, ...]:
        """The names of the bundles, sorted."""
        ...

    def tags(self, name: str) -> tuple[str, ...]:
        """The tags of a bundle, sorted; those of records too. Raises MissingError if there is no such bundle."""
        ...

    def manifest(self, name: str, reference: str) -> bytes:
        """A manifest by its tag, or by its digest, 64 hexadecimal digits."""
        ...

    def has(self, name: str, blob: Blob) -> bool:
        """Whether a blob is there."""
        ...

    def read(self, name: str, blob: Blob, *, most: int) -> bytes:
        """A small blob, of at most so many bytes."""
        ...

    def fetch(self, name: str, blob: Blob, path: Path) -> None:
        """Copy a blob to a file, whole or not at all."""
        ...

    def put(self, name: str, blob: Blob, content: bytes | Path, *, siblings: Sequence[str] = ()) -> int:
        """Store a blob if it is not there; returns the bytes that were sent.

        Args:
            name: of the bundle.
            blob: what the content is.
            content: bytes or a file.
            siblings: names of other bundles that may have it already.
        """
        ...

    def put_manifest(self, name: str, raw: bytes) -> None:
        """Store a manifest under its digest. Its blobs are there already."""
        ...

    def put_tag(self, name: str, tag: str, raw: bytes) -> None:
        """Let a tag point at a manifest that is there, in one step."""
        ...


def digest_of(registry: Registry, reference: Reference) -> str:
    """The whole digest of the version that is meant.

    Raises:
        MissingError: there is no such version.
        DataError: the registry cannot be read, or a short digest fits several versions.
        UsageError: neither tag nor digest is given.
    """
    return artifact_of(registry, reference).digest


def artifact_of(registry: Registry, reference: Reference) -> Artifact:
    """The artifact that is meant.

    Raises:
        MissingError, DataError, UsageError: as for `digest_of`, or it is no bundle of spade-edge.
    """
    source = f"{registry.address}: {reference}"
    if not (reference.tag or reference.digest):
        raise UsageError(f"{source}: expected NAME:TAG or NAME@DIGEST, found a name alone; see 'spade-edge fleet list'")
    try:
        pointer = reference.tag or _whole(registry, reference)
        raw = registry.manifest(reference.name, pointer)
    except MissingError:
        raise MissingError(
            f"{source}: expected a bundle that was pushed, found none; see 'spade-edge fleet list'"
        ) from None
    artifact = Artifact.from_bytes(raw, kind=BUNDLE, source=source)
    if artifact.to_bytes() != raw:
        raise DataError(f"{source}: expected a manifest as spade-edge writes it, found other bytes")
    return artifact


def _whole(registry: Registry, reference: Reference) -> str:
    """A whole digest from its beginning, by the versions that have tags."""
    if len(reference.digest) == 64:
        return reference.digest
    found = set()
    for tag in registry.tags(reference.name):
        if not tag.endswith(RECORD):
            digest = _digest(registry, reference.name, tag)
            found |= {digest} if digest.startswith(reference.digest) else set()
    if len(found) > 1:
        raise DataError(f"{registry.address}: {reference}: expected one version, found {len(found)}; give more digits")
    if not found:
        raise MissingError(f"{registry.address}: {reference}: expected a version, found none")
    return found.pop()


def _digest(registry: Registry, name: str, tag: str) -> str:
    return hashlib.sha256(registry.manifest(name, tag)).hexdigest()
