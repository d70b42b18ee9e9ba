"""A file that arrives in a watched folder: what tells it from others, and how long to wait until it is whole."""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spade_edge.galleries.images.completeness import is_complete
from spade_edge.galleries.images.formats import LARGEST

AGAIN = 0.04  # seconds without a change after which a whole file that was written again in place is read
QUIET = 0.25  # seconds, where the content does not say whether the file is whole
RESERVED = 1.0  # seconds, where stretches of it are zero
GIVEN_UP = 4.0  # seconds without a change after which a file that is not whole is a fault
SECTOR = 512  # bytes; so many zeros in a row may be space that has been reserved and not been filled
END = 16  # the same at the end of a file


class State(NamedTuple):
    """What tells a file from another one, and from the same file after a change.

    Attributes:
        changed: time of the last change of its content, in nanoseconds.
        size: in bytes.
        disk, number: of the file on its disk; the number is 0 where the system has none.
    """

    changed: int
    size: int
    disk: int
    number: int

    @classmethod
    def of(cls, status: os.stat_result) -> State:
        return cls(status.st_mtime_ns, status.st_size, status.st_dev, status.st_ino)

    def same_file(self, other: State) -> bool:
        """Whether the other is this file, changed or not. Some systems give a file another number now and then."""
        return self[2:] == other[2:] or self[:2] == other[:2]


@dataclass(frozen=True)
class Known:
    """A file that was there from the start, or whose shot has been given.

    Attributes:
        state: at the latest look.
        length: of the first bytes of the file, which `digest` stands for.
        digest: of them, when the shot was given; None if they have not been read.
        faulty: whether the shot was a fault.
    """

    state: State
    length: int = 0
    digest: bytes | None = None
    faulty: bool = False

    @classmethod
    def given(cls, state: State, raw: bytes | None, *, faulty: bool) -> Known:
        """A file whose shot has been given.

        Args:
            state: at that time.
            raw: its bytes; None if they could not be read.
            faulty: whether the shot was a fault. What is zero at the end may then be filled later.
        """
        raw = b"" if raw is None else raw.rstrip(b"\0") if faulty else raw
        return cls(state, len(raw), digest_of(raw), faulty)

    def is_unchanged(self, state: State) -> bool:
        """Whether a file is still this one, as far as can be told without reading it.

        A disk that is mounted again may have another number, and so may its files.
        """
        elsewhere = self.state.disk != state.disk or self.digest is None
        return self.state == state or (self.state[:2] == state[:2] and elsewhere)

    def goes_on(self, state: State, raw: bytes | None) -> bool:
        """Whether a file is still this one: unchanged but for its time, or with more bytes at its end."""
        if not self.state.same_file(state) or self.digest is None:
            return False
        raw = b"" if raw is None else raw
        return digest_of(raw[: self.length]) == self.digest


@dataclass(frozen=True)
class Unread:
    """A file that has appeared or changed, and whose shot has not been given yet.

    Attributes:
        state: at the latest scan.
        linked: whether the name is a link.
        due: when to try to read it, in seconds of the clock.
        since: when state and bytes were first as they are now.
        rest: do not try earlier than this, however often the file changes.
        digest: of the bytes at the latest try; None if they could not be read.
    """

    state: State
    linked: bool
    due: float
    since: float
    rest: float
    digest: bytes | None = None

    def seen(self, raw: bytes | None, *, now: float, rest: float) -> Unread:
        """After a look at its bytes. A mapped file can change without a change of its time."""
        digest = None if raw is None else digest_of(raw)
        since = self.since if self.digest in (None, digest) else now
        return replace(self, digest=digest, since=since, rest=rest)

    def later(self, *, now: float, wait: float) -> Unread:
        """To be tried again, after so many seconds without a change or before."""
        return replace(self, due=max(self.rest, min(self.since + wait, now + QUIET)))


def content(path: Path) -> bytes | None:
    """The bytes of a file; None if they cannot be read, or are too many for an image."""
    try:
        if path.stat().st_size > LARGEST:
            return None
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError:
        return None


def state_of(path: Path) -> State | None:
    """The state of a regular file; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return State.of(status) if stat.S_ISREG(status.st_mode) else None


def is_touched(path: Path) -> bool:
    """Whether a file was given the present time, and nothing was written since then.

    Writing changes two of its three times, and `touch` sets all three to the same. Read the file only afterwards.
    """
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_atime_ns == status.st_mtime_ns == status.st_ctime_ns


def quiet_time(path: Path, raw: bytes | None, *, again: bool) -> float:
    """For how many seconds a file must not have changed before it counts as whole; infinity if it is not whole.

    Args:
        path: the file.
        raw: its bytes; None if they could not be read.
        again: whether it has been read before, and was written again in place.
    """
    whole = None if raw is None else is_complete(raw, path.suffix.lower())
    if raw is None or whole is False:
        return math.inf
    if _has_holes(path) or (not again and _has_zeros(raw)):
        return RESERVED
    if whole is None:
        return QUIET
    return AGAIN if again else 0.0


def digest_of(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=16).digest()


def _has_holes(path: Path) -> bool:
    """Whether parts of a file have a place, but nothing was ever written there."""
    if not hasattr(os, "SEEK_HOLE"):
        return False
    try:
        with path.open("rb", buffering=0) as file:
            return file.seek(0, os.SEEK_HOLE) < file.seek(0, os.SEEK_END)
    except OSError:  # this disk cannot say
        return False


def _has_zeros(raw: bytes) -> bool:
    """Whether a whole sector of a file is zero, or its end."""
    sectors = np.frombuffer(raw, np.uint64, len(raw) // SECTOR * (SECTOR // 8)).reshape(-1, SECTOR // 8)
    return not sectors.any(axis=1).all() or not any(raw[-END:])
