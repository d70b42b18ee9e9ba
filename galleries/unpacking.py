"""Unpacking a bundle from the file that `packing` wrote. The file may come from anywhere, so nothing in it is believed.

The manifest comes first and says which files may follow, how large they are and which hashes they have. What else may
follow, the log, former manifests and signatures, has names of fixed forms and bounded sizes. Files are written beside
the bundle, and only when all are there and whole is the bundle published, as every new generation is.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

from spade_edge.galleries.disk import flush
from spade_edge.galleries.generation_log import LARGEST as LARGEST_LOG
from spade_edge.galleries.generation_log import LOG, Change, GenerationLog, read_log
from spade_edge.galleries.output import check_output
from spade_edge.galleries.signature_files import FOLDER, MOST, NAME
from spade_edge.galleries.signature_files import LARGEST as LARGEST_SIGNATURE
from spade_edge.galleries.staging import Staging, publish, staging
from spade_edge.galleries.tar import Member, TarReader
from spade_edge.runtime import BundleError, DataError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, Manifest, Payload
from spade_edge.runtime.bundle.manifest_file import LARGEST as LARGEST_MANIFEST

UNPACK = "unpack"
_SIGNATURE = re.compile(f"{FOLDER}/{NAME.pattern}")
_FORMER = re.compile(rf"{HISTORY}/(?!0+-)[0-9]{{4,9}}-([0-9a-f]{{16}})\.json")
_BLOCK = 4 << 20


@dataclass(frozen=True)
class Unpacked:
    """A bundle that was unpacked.

    Attributes:
        path: the bundle folder.
        manifest: the one in force.
        former: where the manifest of the bundle that was there before is kept; None if there was none.
        history: whether the former generations of the packed bundle came with it.
        left_out: whether former generations were packed and not taken, because a folder was there already.
    """

    path: Path
    manifest: Manifest
    former: Path | None
    history: bool
    left_out: bool


def unpack(file: str | os.PathLike[str], bundle: str | os.PathLike[str]) -> Unpacked:
    """Unpack a bundle, in one step. A bundle that is there gets a new generation, and keeps its own history.

    Args:
        file: what `pack` wrote.
        bundle: the bundle folder, which need not exist.

    Raises:
        DataError: the file cannot be read, is no packed bundle, is cut off, or holds something that does not belong in
            one; or the bundle cannot be written.
        BundleError: a file in it is damaged, or of another version.
        UsageError: something other than a bundle is at `bundle`.
    """
    file, bundle = Path(file), Path(bundle)
    check_output(bundle)
    bundle = bundle.resolve()  # a link to a bundle stays a link
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise DataError(f"{file}: expected a file that 'spade-edge pack' wrote, found a folder, pipe or device")
        source = file.open("rb")
    except (OSError, ValueError) as problem:  # ValueError for a path with a NUL
        found = problem.strerror if isinstance(problem, OSError) else problem
        raise DataError(f"{file}: expected a file that 'spade-edge pack' wrote, found: {found}") from None
    with source, staging(bundle) as stage:
        history = not bundle.exists()
        size = os.fstat(source.fileno()).st_size
        contents = _Contents(stage, TarReader(source, source=str(file)), source=str(file), size=size, history=history)
        manifest = contents.unpacked()
        _check_opens(stage, file)
        former = publish(stage, bundle, Change(UNPACK, f"from {file.name}"))
    packed = bool(contents.named)
    return Unpacked(bundle, manifest, former, history=history and packed, left_out=packed and not history)


@dataclass
class _Contents:
    """What a packed bundle may hold, as far as it is known from what has been read of it.

    Attributes:
        stage: where the files are written.
        tar: the packed bundle.
        source: what messages call it.
        size: bytes of the packed bundle.
        history: whether log and former generations are written too.
        wanted: the files of the generation in force, by name, and with `history` those of all.
        payload: the files of all generations.
        manifests: SHA-256 of each manifest that was read.
        named: SHA-256 of each manifest that the log names.
        names: of the files that were read.
    """

    stage: Staging
    tar: TarReader
    source: str
    size: int
    history: bool
    wanted: dict[str, Payload] = field(default_factory=dict)
    payload: dict[str, Payload] = field(default_factory=dict)
    manifests: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def unpacked(self) -> Manifest:
        """Write every file that belongs there; returns the manifest in force."""
        first = next(self.tar, None)
        if first is None or first.name != FILE:
            raise self._wrong(f"{FILE} as the first file", "none" if first is None else repr(first.name))
        self.names.add(FILE)
        raw = self._small(first, LARGEST_MANIFEST)
        manifest = self._manifest(raw, first.name, in_force=True)
        self.stage.add_manifest_bytes(raw)
        for member in self.tar:
            if member.name in self.names:
                raise self._wrong("each file once", f"{member.name!r} twice")
            self.names.add(member.name)
            self._take(member)
        if missing := [name for name in self.payload if name not in self.names]:
            raise self._wrong("all files of the bundle", f"none with the name {missing[0]!r}")
        self.stage.files.update(manifest.files)
        return manifest

    def _take(self, member: Member) -> None:
        """Write a file where it belongs, if it belongs anywhere."""
        name = member.name
        if name in self.payload:
            self._take_payload(member)
        elif name == LOG:
            (self.stage.folder / LOG).write_bytes(self._small(member, LARGEST_LOG))
            self.named = {line.manifest for line in self._log().lines}
            if not self.history:
                (self.stage.folder / LOG).unlink()
        elif former := _FORMER.fullmatch(name):
            raw = self._small(member, LARGEST_MANIFEST)
            digest = hashlib.sha256(raw).hexdigest()
            if digest not in self.named or not digest.startswith(former[1]):
                raise self._wrong("manifests that the log names", f"another in {name!r}")
            self._manifest(raw, name, in_force=False)
            if self.history:
                self._write(name, raw)
        elif signature := _SIGNATURE.fullmatch(name):
            raw = self._small(member, LARGEST_SIGNATURE)
            same = sum(known.startswith(f"{FOLDER}/{signature[1]}") for known in self.names)
            if signature[1] not in self.manifests or same > MOST:
                raise self._wrong(f"up to {MOST} signatures of each manifest", f"another, {name!r}")
            self._write(name, raw)
            self.stage.beside.append(name)
        else:
            raise self._wrong("the files of a bundle, and each manifest before its files", repr(name))

    def _manifest(self, raw: bytes, name: str, *, in_force: bool) -> Manifest:
        """Parse a manifest: its files may follow."""
        manifest = Manifest.from_text(raw, source=f"{self.source}: {name}")
        self.manifests.add(hashlib.sha256(raw).hexdigest())
        for payload in manifest.files.values():
            if self.payload.setdefault(payload.name, payload) != payload:
                raise self._wrong("one size and hash for each file", f"two for {payload.name!r}")
            if in_force or self.history:
                self.wanted[payload.name] = payload
        if sum(payload.size for payload in self.payload.values()) > self.size:
            raise self._wrong("a whole file", "one that is cut off; copy it again")
        free = shutil.disk_usage(self.stage.folder).free
        needed = sum(payload.size for payload in self.wanted.values() if payload.name not in self.names)
        if needed > free:
            raise DataError(
                f"{self.stage.folder.parent}: expected {needed / 1e6:,.0f} MB of free disk space, found "
                f"{free / 1e6:,.0f} MB; free some, or unpack elsewhere"
            )
        return manifest

    def _take_payload(self, member: Member) -> None:
        payload = self.payload[member.name]
        if member.size != payload.size:
            raise self._wrong(f"{payload.size} bytes in {member.name!r}", str(member.size))
        digest = hashlib.sha256()
        path = self.stage.folder / member.name
        with path.open("xb") as target:
            while block := self.tar.read(_BLOCK):
                digest.update(block)
                if member.name in self.wanted:
                    target.write(block)
        if digest.hexdigest() != payload.sha256:
            raise self._wrong(
                f"{member.name!r} with SHA-256 {payload.sha256[:16]}…", "another, so it was altered; copy it again"
            )
        if member.name in self.wanted:
            flush(path)
        else:
            path.unlink()  # of a former generation, which is checked and not kept

    def _small(self, member: Member, largest: int) -> bytes:
        """The content of a file that is not payload."""
        if member.size > largest:
            raise self._wrong(f"at most {largest} bytes in {member.name!r}", str(member.size))
        return b"".join(iter(lambda: self.tar.read(_BLOCK), b""))

    def _log(self) -> GenerationLog:
        try:
            return read_log(self.stage.folder)
        except BundleError as problem:
            raise BundleError(str(problem).replace(str(self.stage.folder), self.source)) from None

    def _write(self, name: str, raw: bytes) -> None:
        """Write a small file; its name has one of the fixed forms."""
        path = self.stage.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(raw)
        flush(path)

    def _wrong(self, expected: str, found: str) -> DataError:
        return DataError(f"{self.source}: expected {expected}, found {found}")


def _check_opens(stage: Staging, file: Path) -> None:
    """Refuse a bundle that no scorer would open.

    Raises:
        BundleError: as for `Scorer.open`.
    """
    try:
        Bundle.open(stage.folder)
    except BundleError as problem:
        raise BundleError(str(problem).replace(str(stage.folder), str(file))) from None
