"""Writing a bundle so that nobody ever sees half of one.

Files are written into a hidden folder: inside the bundle if there is one, else beside its place. A new bundle appears
by one rename. In an existing bundle the new files are added first; then the former manifest is kept in `history/`, and
one rename of `manifest.json` switches over. A build that dies at any point leaves what was there untouched; the next
one removes what it left.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.disk import LOCK, flush, in_use, remove_abandoned
from spade_edge.galleries.output import STAGING, check_output
from spade_edge.runtime import DataError
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, Manifest, Payload
from spade_edge.runtime.digest import sha256


@dataclass
class Staging:
    """A bundle being written.

    Attributes:
        folder: where its files are until it is finished.
        files: the payload added so far, by role.
    """

    folder: Path
    files: dict[str, Payload] = field(default_factory=dict)

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
        path = self.folder / FILE
        path.write_text(manifest.to_text(), encoding="utf-8")
        flush(path)


@contextmanager
def staging(output: Path) -> Iterator[Staging]:
    """A place to write the bundle for `output` in; it is removed afterwards, whether or not it was published.

    Raises:
        DataError: the bundle cannot be written.
    """
    try:
        home = output if output.is_dir() else output.parent
        home.mkdir(parents=True, exist_ok=True)
        remove_abandoned(home, STAGING)
        folder = Path(tempfile.mkdtemp(prefix=STAGING, dir=home))
    except OSError as problem:
        raise DataError(f"{output}: expected a place that can be written, found: {problem.strerror}") from None
    try:
        with in_use(folder):
            yield Staging(folder)
    except OSError as problem:
        raise DataError(f"{output}: the bundle cannot be written: {problem.strerror or problem}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(stage: Staging, output: Path) -> Path | None:
    """Make the staged bundle the one at `output`.

    No file of the stage may be open or mapped any more: Windows does not move such files.

    Returns:
        where the manifest of the former bundle is kept; None if there was none.

    Raises:
        UsageError: meanwhile something other than a bundle has appeared there.
    """
    check_output(output)
    for path in stage.folder.glob("scratch-*"):
        path.unlink()
    (stage.folder / LOCK).unlink(missing_ok=True)
    flush(stage.folder)
    if not output.exists():
        stage.folder.chmod(0o755)
        stage.folder.rename(output)
        flush(output.parent)
        return None
    for payload in stage.files.values():
        _move(stage.folder / payload.name, output / payload.name, payload.sha256)
    former = _kept(output) if (output / FILE).is_file() else None
    _switch(output, stage.folder / FILE)
    return former


def replace_manifest(bundle: Path, manifest: Manifest) -> Path:
    """Give an existing bundle another manifest for the same payload, in one step.

    Returns:
        where the former manifest is kept.

    Raises:
        DataError: it cannot be written.
    """
    bundle = bundle.resolve()  # a link to a bundle stays a link
    with staging(bundle) as stage:
        stage.add_manifest(manifest)
        former = _kept(bundle)
        _switch(bundle, stage.folder / FILE)
    return former


def _move(path: Path, place: Path, digest: str) -> None:
    """Move a payload into a bundle. The name stands for the content, so one that is there already may stay."""
    try:
        path.replace(place)
    except PermissionError:  # on Windows, where a running scorer has the file mapped
        if not place.is_file() or sha256(place) != digest:
            raise


def _kept(bundle: Path) -> Path:
    """Copy the manifest of a bundle into its history; returns the copy."""
    history = bundle / HISTORY
    history.mkdir(exist_ok=True)
    numbers = [int(path.name[:4]) for path in history.glob("[0-9][0-9][0-9][0-9]-*.json")]
    copy = history / f"{max(numbers, default=0) + 1:04d}-{sha256(bundle / FILE)[:16]}.json"
    shutil.copyfile(bundle / FILE, copy)
    flush(copy)
    flush(history)
    return copy


def _switch(bundle: Path, manifest: Path) -> None:
    """Put another manifest in place."""
    flush(bundle)
    manifest.replace(bundle / FILE)
    flush(bundle)
