"""Copies of images whose hash is known, so that a second build fetches nothing.

    $XDG_CACHE_HOME or ~/.cache/spade-edge/images/3f/3fa9…   the file with that SHA-256
                                                rooms/…      what a running command works with

Several processes may use it at once: a file appears whole, is held against its hash whenever it is taken, and one that
is in use stays there for its user when another process removes it, because both names stand for the same file.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from spade_edge.runtime.digest import sha256
from spade_edge.runtime.errors import DataError, UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SIZE = "SPADE_EDGE_IMAGE_CACHE_GB"  # the environment variable that sets the bound; 0 keeps nothing
USUAL = 20.0  # GB
LOCK = ".lock"
FORGOTTEN = 7 * 86_400  # seconds after which a room is removed where nothing can be locked
SLACK = 0.1  # of the bound, by which it may be exceeded while a room is in use
NEW = 60  # seconds in which a room may be without its lock: it is just being made


class ImageCache:
    """The files of a cache folder.

    Args:
        folder: None for the usual one.
        most: bytes that it keeps; None for what the environment says.

    Raises:
        UsageError: the environment says no number.
        DataError: there is no home folder.
    """

    def __init__(self, folder: Path | None = None, *, most: int | None = None) -> None:
        self.folder = _usual_folder() if folder is None else folder
        self.most = _usual_size() if most is None else most
        self._new, self._lock = 0, Lock()  # bytes since the last look at what is held

    @contextmanager
    def room(self) -> Iterator[Path]:
        """A folder of the caller's own on the same disk, which is removed at the end. What was used last is kept.

        Raises:
            DataError: it cannot be made.
        """
        rooms = self.folder / "rooms"
        try:
            room, lock = _new_room(rooms)
        except OSError as problem:
            raise DataError(
                f"{self.folder}: expected a folder for copies of images that can be written, found: "
                f"{problem.strerror}; set XDG_CACHE_HOME to another place"
            ) from None
        with lock:
            _remove_forgotten(rooms)
            try:
                yield room.resolve()
            finally:
                shutil.rmtree(room, ignore_errors=True)
                self._trim()

    def take(self, digest: str, target: Path) -> bool:
        """Give a file a name in a room; returns whether there is one with that hash.

        Raises:
            OSError: as for `place`.
        """
        kept = self._place(digest)
        try:
            place(kept, target)
        except FileNotFoundError:
            return False
        if sha256(target) != digest:  # a disk that forgets, or a power failure
            target.unlink()
            kept.unlink(missing_ok=True)
            return False
        stamp(target, digest)
        return True

    def keep(self, digest: str, path: Path) -> None:
        """Keep a whole file of a room, which has that hash. What was not used for the longest time makes room."""
        if not self.most:
            return
        try:
            place(path, self._place(digest))
        except FileExistsError:
            return
        with self._lock:
            self._new += path.stat().st_size
            if self._new <= SLACK * self.most:
                return
            self._new = 0
        self._trim()

    def _place(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest

    def _trim(self) -> None:
        """Remove what was not used for the longest time, until the rest is small enough."""
        found = []
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            with suppress(OSError):
                status = path.stat()
                found.append((status.st_atime, status.st_size, path))
        held = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if held <= self.most:
                return
            with suppress(OSError):  # another process was faster
                path.unlink()
            held -= size


def stamp(path: Path, digest: str) -> None:
    """Give a copy a time of change that depends on its content alone, because programs tell files by size and time.

    The time of its last use becomes now.
    """
    with suppress(OSError):
        os.utime(path, (time.time(), int(digest[:7], 16)))


def place(source: Path, target: Path) -> None:
    """Give a file another name, whose folder is made; a copy where a disk knows no other names.

    Raises:
        FileExistsError: something has the name.
        FileNotFoundError: the file is gone.
        OSError: the name cannot be given.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        if target.exists():
            raise
        part = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            shutil.copyfile(source, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def _new_room(rooms: Path) -> tuple[Path, BinaryIO]:
    """A new folder and the open lock in it, which tells other processes that it is in use."""
    while True:
        room = rooms / secrets.token_hex(8)
        room.mkdir(parents=True)
        lock = (room / LOCK).open("xb")
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        if (room / LOCK).exists():  # else another process took it for forgotten just before it was locked
            return room, lock
        lock.close()


def _remove_forgotten(rooms: Path) -> None:
    """Remove the rooms of processes that were killed."""
    for room in rooms.iterdir():
        with suppress(OSError):
            if fcntl is not None and (room / LOCK).exists():
                with (room / LOCK).open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(room, ignore_errors=True)
            elif time.time() - room.stat().st_mtime > (FORGOTTEN if fcntl is None else NEW):
                shutil.rmtree(room, ignore_errors=True)


def _usual_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # noqa: PTH117  (the standard says to ignore a relative path)
        return Path(base, "spade-edge", "images")
    try:
        return Path.home() / ".cache" / "spade-edge" / "images"
    except RuntimeError:
        raise DataError("expected a home folder for copies of images, found none; set XDG_CACHE_HOME") from None


def _usual_size() -> int:
    text = os.environ.get(SIZE, "")
    try:
        gigabytes = float(text) if text else USUAL
        if not 0 <= gigabytes < 1e6:
            raise ValueError
    except ValueError:
        raise UsageError(f"{SIZE}: expected gigabytes from 0 on, found {text[:20]!r}; correct or unset it") from None
    return int(gigabytes * 1e9)
