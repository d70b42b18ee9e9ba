"""Writing to disk so that power cuts, full disks and killed processes leave nothing half-written.

What an operating system lacks is left out: Windows cannot open folders and has no `fcntl`, macOS has no
`posix_fallocate`. Tests hide these on Linux; nothing has been run on Windows or macOS itself.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.lib.format import open_memmap
from numpy.typing import NDArray

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"

log = logging.getLogger(__name__)


def flush(path: Path) -> None:
    """Have the disk keep a file or folder before anything that relies on it is written."""
    if path.is_dir():
        if not hasattr(os, "O_DIRECTORY"):  # Windows
            return
        descriptor = os.open(path, os.O_RDONLY)
    else:
        descriptor = os.open(path, os.O_RDWR)  # Windows flushes only what may be written
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP):  # not supported there; a failing disk must be heard
            raise
    finally:
        os.close(descriptor)


def open_reserved(path: Path, dtype: type[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Map a new .npy file for writing, with its disk space reserved at once where the system can.

    Otherwise a disk that fills up later would end the process without a message (SIGBUS).

    Raises:
        OSError: there is not enough space.
    """
    array: NDArray[Any] = open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Mark a folder as in use, until the end of the block or of the process.

    Raises:
        OSError: another process uses it.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_abandoned(home: Path, prefix: str) -> None:
    """Remove the folders of that prefix that no process uses: what killed processes have left.

    Without `fcntl` nobody can tell which those are, so they stay.
    """
    if fcntl is None:
        return
    for folder in home.glob(f"{prefix}*"):
        try:
            with in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
        log.info("removed %s, left by a build that did not finish", folder)
