"""Writing to disk so that power cuts, full disks and killed processes leave nothing half-written.

What an operating system lacks is left out: Windows cannot open folders and has no `fcntl`, macOS has no
`posix_fallocate`. Tests hide these on Linux; nothing has been run on Windows or macOS itself.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]
msvcrt: Any
try:
    import msvcrt
except ModuleNotFoundError:  # everywhere else
    msvcrt = None

LOCK = "lock"
TRIES = 20  # to make a folder that others take for abandoned
LOCKED_BYTE = (1 << 31) - 2  # where Windows locks a file, as far behind its end as `locking` can reach

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


def open_reserved(path: Path, dtype: type[Any] | np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
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
        lock(descriptor)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def own_folder(home: Path, prefix: str) -> Iterator[Path]:
    """A new folder that is marked as in use, and removed at the end of the block, if it is still there.

    What killed processes have left under that prefix is removed first.

    Args:
        home: the folder that it lies in.
        prefix: of its name.

    Raises:
        OSError: it cannot be written.
    """
    remove_abandoned(home, prefix)
    with ExitStack() as mark:
        folder = _marked(home, prefix, mark)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _marked(home: Path, prefix: str, mark: ExitStack) -> Path:
    """A new folder, marked as in use.

    Another process that starts at the same moment may take it for abandoned as long as it is not marked.

    Raises:
        OSError: it cannot be written.
    """
    for number in range(1, TRIES + 1):
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=home))
        with ExitStack() as own:
            try:
                own.enter_context(in_use(folder))
            except (BlockingIOError, FileNotFoundError):
                if number == TRIES:
                    raise
                continue
            if fcntl is None or (folder / LOCK).exists():  # without `fcntl` nothing is taken for abandoned
                mark.push(own.pop_all())
                return folder
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def lock(descriptor: int) -> None:
    """Lock an open file until it is closed.

    Raises:
        BlockingIOError: it is locked already, by another process or elsewhere in this one.
    """
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif msvcrt is not None:  # one byte, far behind the end: others may not even read what is locked there
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
        finally:
            os.lseek(descriptor, place, os.SEEK_SET)


def remove_abandoned(home: Path, prefix: str) -> None:
    """Remove the files and folders of that prefix that no process uses: what killed processes have left.

    Without `fcntl` nobody can tell which those are, so they stay.
    """
    if fcntl is None:
        return
    for path in home.glob(f"{prefix}*"):
        try:
            if path.is_symlink() or not path.is_dir():
                _remove_unlocked(path)
            else:
                with in_use(path):
                    shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue
        log.info("removed %s, left by a command that did not finish", path)


def _remove_unlocked(path: Path) -> None:
    """Remove a file.

    Raises:
        OSError: it is locked, or no regular file that may be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)  # a pipe is not waited for
    try:
        lock(descriptor)
        path.unlink()
    finally:
        os.close(descriptor)
