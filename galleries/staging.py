"""Writing a bundle so that nobody ever sees half of one.

Files are written into a hidden folder: inside the bundle if there is one, else beside its place. A new bundle appears
by one rename. In a bundle that is there already, the new files are added first; then the former manifest is kept in
`history/`, and one rename of `manifest.json` switches over. A build that dies at any point leaves what was there
untouched; the next one removes what it left.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from spade_edge.runtime import DataError, UsageError
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, NAME, Manifest, Payload
from spade_edge.runtime.digest import sha256

PREFIX, LOCK = ".building-", "lock"


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
        """A path for a file that is still being written, or that will not stay."""
        return self.folder / f"scratch-{name}"

    def add(self, role: str, path: Path) -> Path:
        """Take a finished file into the bundle under the name of its content; gives the new path."""
        digest = sha256(path)
        named = self.folder / f"{role}-{digest[:16]}{path.suffix}"
        _flush(path)
        path.replace(named)
        self.files[role] = Payload(name=named.name, sha256=digest, size=named.stat().st_size)
        return named

    def add_array(self, role: str, array: NDArray[np.generic]) -> Path:
        """Write an array into the bundle."""
        path = self.scratch(f"{role}.npy")
        np.save(path, array, allow_pickle=False)
        return self.add(role, path)

    def add_manifest(self, manifest: Manifest) -> None:
        """Write the manifest: from here on the folder is a bundle."""
        path = self.folder / FILE
        path.write_text(manifest.to_text(), encoding="utf-8")
        _flush(path)


def open_reserved(path: Path, dtype: type[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Map a new .npy file for writing, and take its room on the disk at once.

    A disk that fills later would end the process without a word (SIGBUS).

    Raises:
        OSError: there is no room.
    """
    array: NDArray[Any] = open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def check_output(output: Path) -> None:
    """Refuse an output that would harm something.

    Raises:
        UsageError: the path is a file, or a folder that holds something other than a bundle.
    """
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise UsageError(f"{output}: expected a folder for the bundle, found a file or link; choose another --output")
    if output.is_dir() and not _is_manifest(output / FILE):
        others = [
            path.name
            for path in output.iterdir()
            if path.name not in (FILE, HISTORY) and not path.name.startswith(PREFIX) and not NAME.fullmatch(path.name)
        ]
        if others:
            raise UsageError(
                f"{output}: expected a bundle or an empty folder, found {min(others)!r} in it; choose another --output"
            )


def _is_manifest(path: Path) -> bool:
    """Whether a file is a manifest of ours, of whatever version, and not some other program's."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and {"schema", "files", "threshold"} <= set(value)


@contextmanager
def staging(output: Path) -> Iterator[Staging]:
    """A place to write a bundle in; it is gone afterwards, whether or not `publish` was called.

    Raises:
        DataError: the bundle cannot be written.
    """
    check_output(output)
    try:
        home = output if output.is_dir() else output.parent
        home.mkdir(parents=True, exist_ok=True)
        _sweep(home)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
        lock = _lock(folder)
    except OSError as problem:
        raise DataError(f"{output}: expected a place that can be written, found: {problem.strerror}") from None
    try:
        yield Staging(folder)
    except OSError as problem:
        raise DataError(f"{output}: the bundle cannot be written: {problem.strerror or problem}") from None
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def publish(stage: Staging, output: Path) -> Path | None:
    """Make the staged bundle the one at `output`.

    Returns:
        where the manifest of the bundle that was there is kept; None if there was none.
    """
    check_output(output)
    for path in (*stage.folder.glob("scratch-*"), stage.folder / LOCK):
        path.unlink()
    _flush(stage.folder)
    if not output.exists():
        stage.folder.chmod(0o755)
        stage.folder.rename(output)
        _flush(output.parent)
        return None
    for payload in stage.files.values():
        (stage.folder / payload.name).replace(output / payload.name)
    return _switch(output, stage.folder / FILE)


def replace_manifest(bundle: Path, manifest: Manifest) -> Path:
    """Give a bundle another manifest, of the same payload, in one step; gives where the former one is kept.

    Raises:
        BundleError: there is no bundle.
        DataError: it cannot be written.
    """
    Manifest.read(bundle)
    bundle = bundle.resolve()  # a link to a bundle stays a link
    with staging(bundle) as stage:
        stage.add_manifest(manifest)
        former = _switch(bundle, stage.folder / FILE)
    assert former is not None  # noqa: S101  (one has just been read)
    return former


def _switch(output: Path, manifest: Path) -> Path | None:
    """Keep the manifest that is there in the history, and put another in its place."""
    former = None
    if (output / FILE).is_file():
        history = output / HISTORY
        history.mkdir(exist_ok=True)
        numbers = [int(path.name[:4]) for path in history.glob("[0-9][0-9][0-9][0-9]-*.json")]
        former = history / f"{max(numbers, default=0) + 1:04d}-{sha256(output / FILE)[:16]}.json"
        shutil.copyfile(output / FILE, former)
        _flush(former)
        _flush(history)
    _flush(output)
    manifest.replace(output / FILE)
    _flush(output)
    return former


def _lock(folder: Path) -> int:
    """Mark a staging folder as in use, for as long as this process lives or until the descriptor is closed."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _sweep(home: Path) -> None:
    """Remove what builds that were killed have left: staging folders that nobody holds locked."""
    for folder in home.glob(f"{PREFIX}*"):
        try:
            descriptor = _lock(folder)
        except OSError:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _flush(path: Path) -> None:
    """Have the disk keep a file or folder before anything that relies on it is written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot; a failing disk must be heard
            raise
    finally:
        os.close(descriptor)
