"""Writing a bundle so that nobody ever sees half of one.

Files are written into a hidden folder: inside the bundle if there is one, else beside its place. A new bundle appears
by one rename. In an existing bundle the new files are added first; then the new manifest is kept in `history/`, a line
is appended to the log, and one rename of `manifest.json` switches over. A change that dies at any point leaves in force
what was in force; the next one removes what it left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.disk import LOCK, flush, own_folder
from spade_edge.galleries.generation_log import LOG, Change, GenerationLog, LogLine, changing
from spade_edge.galleries.history import adopt, keep, kept_path, make_folder, next_number, sweep, threshold_of
from spade_edge.galleries.output import STAGING, check_output
from spade_edge.runtime import BundleError, DataError
from spade_edge.runtime.bundle.manifest import FILE, Manifest, Payload
from spade_edge.runtime.digest import sha256


@dataclass
class Staging:
    """A bundle being written.

    Attributes:
        folder: where its files are until it is finished.
        log: of the bundle that is there, which nobody else changes meanwhile; None if there is none.
        before: the manifest that the new one is made from; None if it does not depend on a former one.
        files: the payload added so far, by role.
        beside: further files of the bundle, by their names below it: signatures.
    """

    folder: Path
    log: GenerationLog | None = None
    before: Manifest | None = None
    files: dict[str, Payload] = field(default_factory=dict)
    beside: list[str] = field(default_factory=list)

    def scratch(self, name: str) -> Path:
        """A path for a file that is still being written, or that is not part of the bundle."""
        return self.folder / f"scratch-{name}"

    def add(self, role: str, path: Path) -> Path:
        """Add a finished file, named after its content; returns the new path."""
        digest = sha256(path)
        named = self.folder / f"{role}-{digest[:16]}{path.suffix}"
        flush(path)
        path.replace(named)
        self.files[role] = Payload(name=named.name, sha256=digest, size=named.stat().st_size)
        return named

    def add_array(self, role: str, array: NDArray[np.generic]) -> Path:
        """Add an array; returns the path of its file."""
        path = self.scratch(f"{role}.npy")
        np.save(path, array, allow_pickle=False)
        return self.add(role, path)

    def add_manifest(self, manifest: Manifest) -> None:
        """Write the manifest: from here on the folder is a bundle."""
        self.add_manifest_bytes(manifest.to_text().encode())

    def add_manifest_bytes(self, raw: bytes) -> None:
        """Write a manifest that exists already, byte for byte."""
        path = self.folder / FILE
        path.write_bytes(raw)
        flush(path)


@contextmanager
def staging(output: Path, *, before: Manifest | None = None) -> Iterator[Staging]:
    """A place to write the bundle for `output` in; it is removed afterwards, whether or not it was published.

    Args:
        output: the bundle folder, which need not exist.
        before: the manifest that the new one is made from; None if it does not depend on a former one.

    Raises:
        DataError: the bundle cannot be written, is being changed, or has been changed since `before` was read.
    """
    with ExitStack() as held:
        try:
            home = output if output.is_dir() else output.parent
            home.mkdir(parents=True, exist_ok=True)
            is_bundle = (output / FILE).exists() or (output / LOG).exists()
            log = held.enter_context(changing(output)) if is_bundle else None
            folder = held.enter_context(own_folder(home, STAGING))
        except OSError as problem:
            raise DataError(f"{output}: expected a place that can be written, found: {problem.strerror}") from None
        try:
            if before is not None:
                _check_unchanged(output, before)
            if log is not None:
                sweep(output, log)
            yield Staging(folder, log, before)
        except OSError as problem:
            raise DataError(f"{output}: the bundle cannot be written: {problem.strerror or problem}") from None


def publish(stage: Staging, output: Path, change: Change) -> Path | None:
    """Make the staged bundle the one at `output`.

    No file of the stage may be open or mapped any more: Windows does not move such files.

    Args:
        stage: holds the new files.
        output: the bundle folder.
        change: what the log says of it.

    Returns:
        where the manifest of the former bundle is kept; None if there was none.

    Raises:
        UsageError: meanwhile something other than a bundle has appeared there.
    """
    check_output(output)
    for path in stage.folder.glob("scratch-*"):
        path.unlink()
    if not output.exists():
        _enter_first(stage.folder, change)
        (stage.folder / LOCK).unlink(missing_ok=True)
        flush(stage.folder)
        stage.folder.chmod(0o755)
        stage.folder.rename(output)
        flush(output.parent)
        return None
    flush(stage.folder)
    with ExitStack() as held:
        log = stage.log or held.enter_context(changing(output))
        if stage.before is not None:
            _check_unchanged(output, stage.before)  # once more: a file may be put in place by hand, whatever is locked
        for payload in stage.files.values():
            _move(stage.folder / payload.name, output / payload.name, payload.sha256)
        for name in stage.beside:
            make_folder((output / name).parent)
            (stage.folder / name).replace(output / name)
            flush((output / name).parent)
        former = _enter(output, log, stage, change)
        switch(output, stage.folder / FILE)
    return former


def replace_manifest(bundle: Path, manifest: Manifest, change: Change, *, before: Manifest) -> Path:
    """Give an existing bundle another manifest for the same payload, in one step.

    Args:
        bundle: the bundle folder.
        manifest: the new one.
        change: what the log says of it.
        before: the manifest that the new one was made from.

    Returns:
        where the former manifest is kept.

    Raises:
        DataError: it cannot be written, is being changed, or has been changed since `before` was read.
    """
    bundle = bundle.resolve()  # a link to a bundle stays a link
    with staging(bundle, before=before) as stage:
        stage.add_manifest(manifest)
        former = publish(stage, bundle, change)
    assert former is not None  # noqa: S101  (its manifest was read)
    return former


def switch(bundle: Path, manifest: Path) -> None:
    """Put another manifest in force."""
    flush(bundle)
    manifest.replace(bundle / FILE)
    flush(bundle)


def _check_unchanged(bundle: Path, before: Manifest) -> None:
    """Refuse to change a bundle that is not the one that the change was worked out from.

    Raises:
        DataError: it has another manifest.
    """
    try:
        same = Manifest.read(bundle) == before
    except BundleError:
        same = False
    if not same:
        raise DataError(
            f"{bundle}: expected the bundle as it was read, found that it has been changed meanwhile; run this again"
        )


def _move(path: Path, place: Path, digest: str) -> None:
    """Move a payload into a bundle. The name stands for the content, so one that is there already may stay."""
    try:
        path.replace(place)
    except PermissionError:  # on Windows, where a running scorer has the file mapped
        if not place.is_file() or sha256(place) != digest:
            raise


def _enter_first(folder: Path, change: Change) -> None:
    """Keep the manifest of a new bundle, and begin its log; the folder does not have its name yet."""
    raw = (folder / FILE).read_bytes()
    scratch = folder / "scratch-manifest"
    with changing(folder) as log:
        if log.lines:  # unpacked with its history
            adopt(folder, log, scratch=scratch)
            former = log.lines[-1]
            number, before = former.number, former.threshold
        else:
            keep(folder, 1, raw, scratch=scratch)
            number, before = 1, None
        line = LogLine.of(
            change,
            number=number,
            manifest=sha256(folder / FILE),
            came_from=number if log.lines else None,
            thresholds=(before, threshold_of(raw)),
        )
        log.append([line])


def _enter(bundle: Path, log: GenerationLog, stage: Staging, change: Change) -> Path | None:
    """Keep the staged manifest, and write a line about it; returns where the one in force is kept."""
    scratch = stage.scratch("manifest")
    adopt(bundle, log, scratch=scratch)
    former = log.lines[-1] if log.lines else None
    raw = (stage.folder / FILE).read_bytes()
    number = next_number(bundle, log)
    kept = keep(bundle, number, raw, scratch=scratch)
    line = LogLine.of(
        change,
        number=number,
        manifest=sha256(kept),
        came_from=None if former is None else former.number,
        thresholds=(None if former is None else former.threshold, threshold_of(raw)),
    )
    log.append([line])
    return None if former is None else kept_path(bundle, former.number, former.manifest)
