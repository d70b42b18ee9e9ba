"""Writing a bundle so that nobody ever sees half of one.

Files are written into a hidden folder beside the bundle. A new bundle appears by one rename. In a bundle that is there
already, the new files are added first; then the former manifest is kept in `history/`, and one rename of
`manifest.json` switches over. A build that dies at any point leaves what was there untouched.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError, UsageError
from spade_edge.runtime.bundle import sha256
from spade_edge.runtime.manifest import FILE, HISTORY, Manifest, Payload


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


def check_output(output: Path) -> None:
    """Refuse an output that would harm something.

    Raises:
        UsageError: the path is a file, or a folder that holds something other than a bundle.
    """
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise UsageError(f"{output}: expected a folder for the bundle, found a file or link; choose another --output")
    if output.is_dir() and not (output / FILE).is_file() and any(output.iterdir()):
        raise UsageError(f"{output}: expected a bundle or an empty folder, found other files; choose another --output")


@contextmanager
def staging(output: Path) -> Iterator[Staging]:
    """A place to write a bundle in; it is gone afterwards, whether or not `publish` was called.

    Raises:
        DataError: the folder of the bundle cannot be written.
    """
    check_output(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _sweep(output)
        folder = output.parent / f".{output.name}.building-{os.getpid()}"
        folder.mkdir()
    except OSError as problem:
        raise DataError(f"{output.parent}: expected a folder that can be written ({problem.strerror})") from None
    try:
        yield Staging(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(stage: Staging, output: Path) -> Path | None:
    """Make the staged bundle the one at `output`.

    Returns:
        where the manifest of the bundle that was there is kept; None if there was none.
    """
    check_output(output)
    for path in stage.folder.glob("scratch-*"):
        path.unlink()
    _flush(stage.folder)
    if not (output / FILE).is_file():
        if output.is_dir():
            output.rmdir()  # empty, as check_output has seen
        stage.folder.rename(output)
        _flush(output.parent)
        return None
    for payload in stage.files.values():
        (stage.folder / payload.name).replace(output / payload.name)
    history = output / HISTORY
    history.mkdir(exist_ok=True)
    former = history / f"{len(list(history.iterdir())) + 1:04d}-{sha256(output / FILE)[:16]}.json"
    shutil.copyfile(output / FILE, former)
    _flush(former)
    _flush(output)
    (stage.folder / FILE).replace(output / FILE)
    _flush(output)
    return former


def _sweep(output: Path) -> None:
    """Remove what builds that were killed have left."""
    for folder in output.parent.glob(f".{output.name}.building-*"):
        process = folder.name.rpartition("-")[2]
        if process.isdigit() and not Path(f"/proc/{process}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _flush(path: Path) -> None:
    """Ask the disk to keep a file or folder before anything that relies on it is written."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # a folder cannot be opened on every system
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
