"""Puts a bundle into a registry: its files, then the manifest that names them, then the tag.

Whatever a push that is killed has left, nothing points at it until all of it is there; a push that is repeated sends
only what is missing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spade_edge.galleries.signature_files import FOLDER, LARGEST, MOST, signature_files
from spade_edge.runtime.bundle.bundle import check_files
from spade_edge.runtime.bundle.manifest import FILE, Manifest
from spade_edge.runtime.bundle.manifest_file import SHORT, manifest_bytes
from spade_edge.runtime.errors import BundleError, DataError, UsageError
from spade_edge.tools.registry.artifact import BUNDLE, BYTES, CONFIG, JSON, LARGE, About, Artifact, Blob
from spade_edge.tools.registry.reference import LATEST, Reference
from spade_edge.tools.registry.registry import Registry
from spade_edge.tools.remote import MissingError
from spade_edge.tools.signing.keys import PublicKey
from spade_edge.tools.signing.signing import signed_manifest

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Pushed:
    """A bundle that is in a registry.

    Attributes:
        registry: its address.
        name: of the bundle.
        tag: that points at it.
        digest: of the artifact, 64 hexadecimal digits.
        bundle: SHA-256 of the bundle's manifest.
        files: number of its files.
        size: their bytes.
        sent: bytes that were not there yet.
    """

    registry: str
    name: str
    tag: str
    digest: str
    bundle: str
    files: int
    size: int
    sent: int

    def to_json(self) -> dict[str, Any]:
        """As `spade-edge fleet push --json` prints it."""
        return vars(self)


def push(
    bundle: str | os.PathLike[str],
    registry: Registry,
    reference: Reference,
    *,
    keys: Sequence[PublicKey] = (),
    tell: Tell = lambda line: None,
) -> Pushed:
    """Put the generation of a bundle that is in force into a registry, with its signatures.

    A tag that is there already is not moved to another bundle, except `latest`: tags name versions for good, and
    channels are moved by `promote`.

    Args:
        bundle: the folder. Every file is checked by its hash.
        registry: where to.
        reference: its name there, and a tag; without a tag the first 16 digits of the bundle's SHA-256.
        keys: public keys; the bundle must be signed with one of them. None for any bundle.
        tell: is told each larger file that is sent.

    Raises:
        BundleError: the bundle is incomplete or altered, or was not signed with one of the keys.
        UsageError: the tag points at another bundle, or at this one with signatures that it lacks here; or a digest is
            given.
        DataError: the registry cannot be read or written.
    """
    folder = Path(bundle)
    if reference.digest:
        raise UsageError(
            f"{reference}: expected NAME or NAME:TAG to push to, found a digest, which follows from the files"
        )
    raw, digest = manifest_bytes(folder)
    if keys and signed_manifest(folder, keys) != digest:
        raise DataError(f"{folder}: the bundle was changed meanwhile; push it again")
    manifest = Manifest.from_text(raw, source=str(folder / FILE))
    check_files(folder, manifest)
    artifact, contents = _artifact(folder, manifest, raw, digest)
    name, tag = reference.name, reference.tag or digest[:SHORT]
    _check_tag(registry, name, tag, artifact)
    siblings = tuple(one for one in _siblings(registry, contents) if one != name)
    sent = 0
    for blob, content in contents:
        if blob.size >= LARGE and not registry.has(name, blob):
            tell(f"{blob.title}: {blob.size / 1e6:,.1f} MB")
        sent += registry.put(name, blob, content, siblings=siblings)
    registry.put_manifest(name, artifact.to_bytes())
    _check_tag(registry, name, tag, artifact)
    registry.put_tag(name, tag, artifact.to_bytes())
    return Pushed(registry.address, name, tag, artifact.digest, digest, len(artifact.layers), artifact.size, sent)


def _artifact(
    folder: Path, manifest: Manifest, raw: bytes, digest: str
) -> tuple[Artifact, list[tuple[Blob, bytes | Path]]]:
    """A bundle as an artifact, and the content of each of its blobs, the large ones last."""
    about = About.of(manifest, raw).to_bytes()
    config = Blob.of(about, media=CONFIG)
    small: list[tuple[Blob, bytes | Path]] = [(Blob.of(raw, media=JSON, title=FILE), raw)]
    for path in signature_files(folder, digest)[:MOST]:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise BundleError(f"{path}: expected a signature of at most {LARGEST} bytes, found something else")
        content = path.read_bytes()
        small.append((Blob.of(content, media=JSON, title=f"{FOLDER}/{path.name}"), content))
    payload: list[tuple[Blob, bytes | Path]] = [
        (Blob(one.sha256, one.size, BYTES, one.name), folder / one.name)
        for one in sorted(manifest.files.values(), key=lambda one: one.name)
    ]
    layers = tuple(blob for blob, _ in (*small, *payload))
    artifact = Artifact(BUNDLE, config, layers, manifest.created)
    ordered = sorted(payload, key=lambda one: (one[0].size, one[0].title))
    return artifact, [(config, about), *small, *ordered]


def _check_tag(registry: Registry, name: str, tag: str, artifact: Artifact) -> None:
    """Refuse to let a tag that people may rely on point at another bundle.

    Raises:
        UsageError: it does already point at one.
    """
    if tag == LATEST:
        return
    source = f"{registry.address}: {name}:{tag}"
    try:
        raw = registry.manifest(name, tag)
    except MissingError:
        return
    if raw == artifact.to_bytes():
        return
    with contextlib.suppress(DataError):
        there = Artifact.from_bytes(raw, kind=BUNDLE, source=source)
        if there.bundle == artifact.bundle and tag == artifact.bundle[:SHORT]:
            lost = {layer.title for layer in there.layers} - {layer.title for layer in artifact.layers}
            if not lost:
                return  # the same bundle, with further signatures
            raise UsageError(
                f"{source}: expected a bundle with the signatures that it has there, found one without {min(lost)}; "
                "nothing needs to be pushed, unless under another tag"
            )
    raise UsageError(
        f"{source}: expected a tag that is free, found that it names another version; choose another tag, or use "
        "'spade-edge fleet promote' if it is a channel"
    )


def _siblings(registry: Registry, contents: Sequence[tuple[Blob, bytes | Path]]) -> tuple[str, ...]:
    """Other bundles that may have a large file already, such as the model; none if the registry does not list them."""
    if not any(blob.size >= LARGE for blob, _ in contents):
        return ()
    try:
        return registry.names()
    except DataError:
        return ()
