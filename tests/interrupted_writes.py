"""Operations on files that stop at the n-th: a process that is killed there, or a disk that is full or read-only.

Counted is what changes the disk: opening a file to write it, writing with a file descriptor, halves of `write_bytes`,
fsync, truncating, reserving, renaming, deleting, making and removing folders. A process that is killed changes nothing
from then on, so the n-th operation and all later ones raise. Audit hooks see most of them, whoever calls.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPACE = frozenset(["open", "os.mkdir", "os.rename", "write", "fsync", "reserve"])  # what a full disk refuses
_PATHS = frozenset(["os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "shutil.rmtree"])


class Killed(BaseException):
    """The process is gone: nothing catches this."""


@dataclass
class Shim:
    """What is counted, and what happens.

    Attributes:
        root: operations below this folder count.
        at: the first operation that fails, from 1.
        error: what it raises: `Killed`, or the number of an OSError.
        only: the kinds that count; None for all.
        count: operations so far.
    """

    root: str
    at: int
    error: type[Killed] | int
    only: frozenset[str] | None = None
    count: int = 0

    def step(self, kind: str) -> None:
        if self.only is not None and kind not in self.only:
            return
        self.count += 1
        if self.count >= self.at:
            if isinstance(self.error, int):
                raise OSError(self.error, os.strerror(self.error))
            raise self.error


_active: Shim | None = None
_hooked = False


@contextmanager
def stopping(root: Path, *, at: int, error: type[Killed] | int, only: frozenset[str] | None = None) -> Iterator[Shim]:
    """Count the operations below a folder in this block, and fail from the `at`-th on."""
    global _active, _hooked  # noqa: PLW0603  (audit hooks cannot be removed)
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    originals = {name: getattr(os, name) for name in ("fsync", "write", "posix_fallocate") if hasattr(os, name)}
    write_bytes = Path.write_bytes
    shim = Shim(str(root.resolve()), at, error, only)

    def fsync(descriptor: int) -> None:
        shim.step("fsync")
        originals["fsync"](descriptor)

    def write(descriptor: int, data: Any) -> int:
        half = len(data) // 2
        written = originals["write"](descriptor, data[:half])
        shim.step("write")
        return int(written + originals["write"](descriptor, data[half:]))

    def reserve(*arguments: Any) -> None:
        shim.step("reserve")
        originals["posix_fallocate"](*arguments)

    def write_halves(path: Path, data: Any) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            shim.step("write")
            file.write(data[len(data) // 2 :])
        return len(data)

    os.fsync, os.write, Path.write_bytes = fsync, write, write_halves  # type: ignore[assignment,method-assign]
    if "posix_fallocate" in originals:
        os.posix_fallocate = reserve
    _active = shim
    try:
        yield shim
    finally:
        _active = None
        for name, original in originals.items():
            setattr(os, name, original)
        Path.write_bytes = write_bytes  # type: ignore[method-assign]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    shim = _active
    if shim is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = any(letter in mode for letter in "wax+") if mode else flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not writes:
            return
    elif event in _PATHS:
        path = arguments[0]
    else:
        return
    if isinstance(path, (str, bytes, os.PathLike)):
        place = Path(os.fsdecode(path))
        if place.is_absolute() and not place.parent.resolve().is_relative_to(shim.root):
            return
    shim.step(event)


def full() -> int:
    """The number of the error of a full disk."""
    return errno.ENOSPC
