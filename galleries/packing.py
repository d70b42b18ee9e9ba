"""Packing a bundle into one file, a plain tar, for transport.

The manifest comes first, with history then the log and all manifests; then signatures, then payload by name. The same
bundle gives the same bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from spade_edge.galleries.disk import flush, lock, remove_abandoned
from spade_edge.galleries.generation_log import LOG, read_log
from spade_edge.galleries.history import KeptManifest, kept_manifests, read_manifest
from spade_edge.galleries.signature_files import FOLDER, LARGEST, MOST, signature_files
from spade_edge.galleries.tar import END, Member, header, padding
from spade_edge.runtime import BundleError, DataError, UsageError
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, Manifest, Payload
from spade_edge.runtime.bundle.manifest_file import manifest_bytes

PACKING = ".packing-"  # prefix of a file that is not finished
_BLOCK = 4 << 20


@dataclass(frozen=True)
class Packed:
    """A bundle in one file.

    Attributes:
        path: the file.
        size: its bytes.
        files: how many files are in it.
        generations: how many generations they are.
    """

    path: Path
    size: int
    files: int
    generations: int


def pack(bundle: str | os.PathLike[str], file: str | os.PathLike[str], *, history: bool = False) -> Packed:
    """Pack a bundle into one file. Every byte is checked by its hash on the way.

    Args:
        bundle: the bundle folder.
        file: the tar file; one that `pack` wrote is replaced, in one step.
        history: take the log and the former generations too; else only the generation in force, with its signatures.

    Raises:
        UsageError: something else than a packed bundle is at `file`, or `file` is inside the bundle.
        BundleError: there is no bundle, or a file of it is damaged.
        DataError: the file cannot be written.
    """
    bundle, file = Path(bundle), Path(file)
    raw, digest = manifest_bytes(bundle)
    manifest = Manifest.from_text(raw, source=str(bundle / FILE))
    _check_place(bundle, file)
    small = [(FILE, raw)]
    payload = {one.name: one for one in manifest.files.values()}
    digests = [digest]
    if history:
        log = read_log(bundle)
        if log.lines:
            small.append((LOG, log.path.read_bytes()[: log.end]))
        known = {line.number: line.manifest for line in log.lines}
        for kept in kept_manifests(bundle):
            # One without a line of the log, as of bundles before there was one, is not among what `unpack` takes.
            if kept.number not in log.pruned and known.get(kept.number, "").startswith(kept.short):
                own = _kept(kept)
                try:
                    former = Manifest.from_text(own, source=str(kept.path))
                except BundleError:
                    continue  # of a version that can no longer be read
                digests.append(hashlib.sha256(own).hexdigest())
                small.append((f"{HISTORY}/{kept.path.name}", own))
                payload |= {one.name: one for one in former.files.values()}
    for one in dict.fromkeys(digests):
        small += _signatures(bundle, one)
    files = len(small) + len(payload)
    with _written(file) as target:
        for name, own in small:
            target.write(header(Member(name, len(own))) + own + bytes(padding(len(own))))
        for name in sorted(payload):
            _copy(bundle / name, payload[name], target)
        target.write(END)
        size = target.tell()
    return Packed(file, size, files, max(1, sum(name.startswith(f"{HISTORY}/") for name, _ in small)))


def _check_place(bundle: Path, file: Path) -> None:
    """Refuse to replace what `pack` did not write.

    Raises:
        UsageError: see `pack`.
    """
    if file.resolve().is_relative_to(bundle.resolve()):
        raise UsageError(f"{file}: expected a file outside the bundle, found it inside; choose another place")
    if not os.path.lexists(file):
        return
    if file.is_file() and not file.is_symlink():
        with file.open("rb") as old:
            begin = old.read(512)
        if begin[:100].rstrip(b"\0") == FILE.encode() and begin[257:262] == b"ustar":
            return
    raise UsageError(f"{file}: expected a packed bundle or a free name, found something else; choose another name")


def _kept(kept: KeptManifest) -> bytes:
    raw = read_manifest(kept.path)
    if not hashlib.sha256(raw).hexdigest().startswith(kept.short):
        raise BundleError(f"{kept.path}: expected the manifest that its name says, found another; delete it")
    return raw


def _signatures(bundle: Path, manifest: str) -> list[tuple[str, bytes]]:
    """Name below the bundle, and content, of each signature of a manifest."""
    paths = [path for path in signature_files(bundle, manifest) if path.is_file()]
    if len(paths) > MOST:
        raise BundleError(
            f"{bundle / FOLDER}: expected up to {MOST} signatures of each manifest, found {len(paths)}; delete some"
        )
    for path in paths:
        if path.stat().st_size > LARGEST:
            raise BundleError(f"{path}: expected a signature of at most {LARGEST} bytes, found a larger file")
    return [(f"{FOLDER}/{path.name}", path.read_bytes()) for path in paths]


def _copy(path: Path, payload: Payload, target: BinaryIO) -> None:
    digest, size = hashlib.sha256(), 0
    try:
        if not path.is_file():
            raise BundleError(f"{path}: expected a file of the bundle, found none")
        source = path.open("rb")
    except OSError as problem:
        raise BundleError(f"{path}: expected a file of the bundle, found: {problem.strerror}") from None
    with source:
        target.write(header(Member(payload.name, payload.size)))
        while (block := source.read(_BLOCK)) and size <= payload.size:
            digest.update(block)
            size += len(block)
            target.write(block)
    if size != payload.size or digest.hexdigest() != payload.sha256:
        raise BundleError(
            f"{path}: expected {payload.size} bytes with SHA-256 {payload.sha256[:16]}…, found others; "
            "the file was altered: copy the bundle again, or build it anew"
        )
    target.write(bytes(padding(size)))


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    """A new file that takes its place at the end of the block, or is removed if the block fails."""
    part = file.with_name(f"{PACKING}{token_hex(8)}")
    try:
        remove_abandoned(file.parent, PACKING)
        try:
            with part.open("xb") as target:
                lock(target.fileno())
                yield target
            flush(part)
            part.replace(file)
            flush(file.resolve().parent)
        finally:
            part.unlink(missing_ok=True)
    except OSError as problem:
        raise DataError(
            f"{file}: expected a place that can be written, found: {problem.strerror or problem}; "
            "choose another, or free some space"
        ) from None
