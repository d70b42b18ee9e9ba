"""Fetches a bundle from a registry into a folder beside the one in force. Nothing that a registry says is believed.

The registry's manifest names files by hash and size, and the bundle's own manifest must name the same ones: no other
file is fetched, and each is held against both while it is written. Files that the device has already are not fetched
again: those of its bundle, and those that an earlier try has left. What a try leaves is never more than one bundle, as
files that the present one does not need are removed first.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spade_edge.galleries.disk import LOCK, in_use
from spade_edge.galleries.output import PULLING
from spade_edge.galleries.signature_files import FOLDER, LARGEST, MOST, NAME
from spade_edge.runtime.bundle.manifest import FILE, Manifest, Payload
from spade_edge.runtime.bundle.manifest_file import LARGEST as LARGEST_MANIFEST
from spade_edge.runtime.digest import sha256
from spade_edge.runtime.errors import DataError
from spade_edge.tools.registry import Artifact, Blob, Registry
from spade_edge.tools.registry.artifact import LARGE

Tell = Callable[[str], None]


@contextmanager
def arriving(bundle: Path) -> Iterator[Path]:
    """The folder that a bundle is fetched into, for this process alone. It stays for the next try.

    Raises:
        DataError: it cannot be written, or another process is pulling this bundle.
    """
    inside, beside = bundle / PULLING, bundle.parent / f"{PULLING}-{bundle.name}"
    folder = inside if (bundle / FILE).is_file() else beside
    try:
        if folder is inside and beside.is_dir():  # left by the try that brought the first bundle
            shutil.rmtree(beside, ignore_errors=True)
        if folder.is_symlink():
            folder.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        with in_use(folder):
            yield folder
    except BlockingIOError:
        raise DataError(
            f"{bundle}: expected a bundle that nobody else pulls, found that it is being pulled; wait for the other "
            "command to end"
        ) from None
    except OSError as problem:
        raise DataError(
            f"{bundle}: expected a place that can be written, found: {problem.strerror or problem}; free some "
            "space, or choose another"
        ) from None


def fetch_manifest(
    registry: Registry, name: str, artifact: Artifact, folder: Path, *, source: str
) -> tuple[Manifest, int]:
    """Fetch the manifest and its signatures, and remove what an earlier try of another bundle has left.

    Args:
        registry: where the bundle is.
        name: of the bundle.
        artifact: what was found there.
        folder: where the files go.
        source: what messages call the bundle.

    Returns:
        the manifest, and the bytes that came.

    Raises:
        BundleError: the manifest cannot be read, or is of another version.
        DataError: the registry cannot be read, gives something else than it says, or something that belongs in no
            bundle; or a file cannot be written.
    """
    _clear(folder, but={layer.title for layer in artifact.layers})
    first = artifact.layers[0]
    if first.size > LARGEST_MANIFEST:
        raise DataError(
            f"{source}: expected a manifest of at most {LARGEST_MANIFEST >> 20} MB, found {first.size} bytes"
        )
    fetched = _fetch(registry, name, first, folder / FILE)
    manifest = Manifest.from_text((folder / FILE).read_bytes(), source=f"{source}: {FILE}")
    for layer in _signatures(artifact, manifest, source=source):
        fetched += _fetch(registry, name, layer, folder / layer.title)
    return manifest, fetched


def fetch_payload(
    registry: Registry, name: str, manifest: Manifest, folder: Path, *, bundle: Path, source: str, tell: Tell
) -> int:
    """Fetch the files that the manifest names, as far as this device does not have them; returns the bytes that came.

    Args:
        registry: where the bundle is.
        name: of the bundle.
        manifest: of the bundle that is fetched.
        folder: where the files go.
        bundle: the one in force, whose files are linked.
        source: what messages call the bundle that is fetched.
        tell: is told each larger file.

    Raises:
        DataError: as for `fetch_manifest`, or the disk has too little space.
    """
    lacking: list[Payload] = []
    for payload in manifest.files.values():
        place, own = folder / payload.name, bundle / payload.name
        if _is_whole(place, payload.sha256, payload.size):
            continue
        if _is_whole(own, payload.sha256, payload.size):
            link(own, place)
        else:
            lacking.append(payload)
    needed, free = sum(payload.size for payload in lacking), shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{bundle}: expected {needed / 1e6:,.0f} MB of free disk space for {source}, found {free / 1e6:,.0f} MB; "
            "free some, for example with 'spade-edge gallery prune'"
        )
    for payload in sorted(lacking, key=lambda one: (one.size, one.name)):
        if payload.size >= LARGE:
            tell(f"{payload.name}: {payload.size / 1e6:,.1f} MB")
        registry.fetch(name, Blob(payload.sha256, payload.size, "", payload.name), folder / payload.name)
    return needed


def link(source: Path, place: Path) -> None:
    """Give a file a second name, or copy it where the disk has no such names. Payload never changes."""
    place.unlink(missing_ok=True)
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def clear(folder: Path) -> None:
    """Remove everything that was fetched."""
    _clear(folder, but=set())


def discard(folder: Path) -> None:
    """Remove the folder, within its `arriving`: as soon as that has ended, another process may fetch into it."""
    with suppress(OSError):
        clear(folder)
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()


def _fetch(registry: Registry, name: str, blob: Blob, place: Path) -> int:
    """Fetch a file if it is not there; returns the bytes that came."""
    if _is_whole(place, blob.sha256, blob.size):
        return 0
    registry.fetch(name, blob, place)
    return blob.size


def _signatures(artifact: Artifact, manifest: Manifest, *, source: str) -> list[Blob]:
    """The signatures among the layers, which must be those of this manifest; the others must be its files.

    Raises:
        DataError: some are something else, or a file is missing.
    """
    payload = {(one.name, one.sha256, one.size) for one in manifest.files.values()}
    signatures = []
    for layer in artifact.layers[1:]:
        folder, _, name = layer.title.partition("/")
        found = NAME.fullmatch(name) if folder == FOLDER else None
        if (layer.title, layer.sha256, layer.size) in payload:
            payload.remove((layer.title, layer.sha256, layer.size))
        elif found is not None and found[1] == artifact.bundle and layer.size <= LARGEST:
            signatures.append(layer)
        else:
            raise DataError(
                f"{source}: expected the files that its {FILE} names, and signatures of it, found {layer.title[:80]!r}"
            )
    if payload or len(signatures) > MOST:
        raise DataError(
            f"{source}: expected every file that its {FILE} names, and up to {MOST} signatures, found others; "
            "push it again"
        )
    return signatures


def _is_whole(path: Path, digest: str, size: int) -> bool:
    """Whether a file is there with this content."""
    try:
        return not path.is_symlink() and path.is_file() and path.stat().st_size == size and sha256(path) == digest
    except OSError:
        return False


def _clear(folder: Path, *, but: set[str]) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        if path.is_symlink() or not path.is_dir():
            if path != folder / LOCK and path.relative_to(folder).as_posix() not in but:
                path.unlink()
        elif not any(name.startswith(f"{path.relative_to(folder).as_posix()}/") for name in but):
            shutil.rmtree(path)
