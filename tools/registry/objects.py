"""A registry in a folder or an object store, with the same artifacts as an OCI registry.

    blobs/sha256/<SHA-256>                       files of bundles; one that several bundles have is there once
    bundles/NAME/manifests/<SHA-256>.json        the manifest of each version
    bundles/NAME/tags/TAG                        the digest that a tag points at

Blobs are written first, then the manifest, then the tag, and each appears whole or not at all. So whatever is there
under a tag is complete, whenever a writer was killed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

from spade_edge.runtime.bundle.manifest import HASH
from spade_edge.runtime.errors import DataError
from spade_edge.tools.registry.artifact import ALGORITHM, LARGEST, Blob
from spade_edge.tools.registry.reference import is_name, is_tag
from spade_edge.tools.remote import MissingError, Store, joined

BUNDLES = "bundles"


class ObjectRegistry:
    """See `registry.Registry`.

    Args:
        address: of a folder, as `Store` takes it.

    Attributes:
        address: as messages repeat it, without secrets.

    Raises:
        UsageError, DeviceError: as for `Store`.
    """

    def __init__(self, address: str) -> None:
        self._given = address
        self._store = Store(address)
        self._folders: dict[str, Store] = {}  # below it, as connecting takes longer than listing
        self.address = self._store.address

    def names(self) -> tuple[str, ...]:
        with contextlib.suppress(MissingError):
            parts = (found.name.split("/") for found in self._folder(BUNDLES).listed())
            names = {"/".join(part[:-2]) for part in parts if len(part) > 2 and part[-2] == "tags"}
            return tuple(sorted(filter(is_name, names)))
        return ()

    def tags(self, name: str) -> tuple[str, ...]:
        found = self._folder(f"{BUNDLES}/{name}/tags").listed()
        tags = tuple(one.name for one in found if is_tag(one.name))
        if not tags:
            raise MissingError(f"{self.address}: {name}: expected tags, found none")
        return tags

    def manifest(self, name: str, reference: str) -> bytes:
        digest = reference if HASH.fullmatch(reference) else self._pointed(name, reference)
        raw = self._store.read(_manifest(name, digest), most=LARGEST)
        return _checked(raw, digest, source=f"{self.address}: {name}")

    def has(self, name: str, blob: Blob) -> bool:
        return self._store.exists(_blob(blob))

    def read(self, name: str, blob: Blob, *, most: int) -> bytes:
        return _checked(self._store.read(_blob(blob), most=most), blob.sha256, source=f"{self.address}: {name}")

    def fetch(self, name: str, blob: Blob, path: Path) -> None:
        self._store.fetch(_blob(blob), path, sha256=blob.sha256, size=blob.size)

    def put(self, name: str, blob: Blob, content: bytes | Path, *, siblings: Sequence[str] = ()) -> int:
        if self._store.exists(_blob(blob)):
            return 0
        self._store.put(_blob(blob), content)
        return blob.size

    def put_manifest(self, name: str, raw: bytes) -> None:
        place = _manifest(name, hashlib.sha256(raw).hexdigest())
        if not self._store.exists(place):
            self._store.put(place, raw)

    def put_tag(self, name: str, tag: str, raw: bytes) -> None:
        digest = hashlib.sha256(raw).hexdigest()
        self._store.put(f"{BUNDLES}/{name}/tags/{tag}", f"{ALGORITHM}{digest}\n".encode())

    def _folder(self, name: str) -> Store:
        """A folder whose files are listed."""
        if name not in self._folders:
            self._folders[name] = Store(joined(self._given, name))
        return self._folders[name]

    def _pointed(self, name: str, tag: str) -> str:
        """The digest that a tag points at."""
        raw = self._store.read(f"{BUNDLES}/{name}/tags/{tag}", most=1000)
        digest = raw.decode(errors="replace").strip().removeprefix(ALGORITHM)
        if not HASH.fullmatch(digest):
            raise DataError(f"{self.address}: {name}:{tag}: expected a digest in the file of the tag, found other text")
        return digest


def _blob(blob: Blob) -> str:
    return f"blobs/sha256/{blob.sha256}"


def _manifest(name: str, digest: str) -> str:
    return f"{BUNDLES}/{name}/manifests/{digest}.json"


def _checked(raw: bytes, digest: str, *, source: str) -> bytes:
    """Bytes that have the hash by which they were asked for.

    Raises:
        DataError: they have another one.
    """
    found = hashlib.sha256(raw).hexdigest()
    if found != digest:
        raise DataError(
            f"{source}: expected content with the SHA-256 {digest[:16]}…, found {found[:16]}…; remove the file of that "
            "name there, and push again"
        )
    return raw
