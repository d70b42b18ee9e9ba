"""`log.jsonl`: who changed a bundle, when, why and how.

One JSON object on each line. A line holds the SHA-256 of the line before it, so a line that is altered, taken out or
put in between is found, unless it is the last; lines taken off the end are not. Lines are only ever appended. One that
was not written to its end has no newline; it is overwritten by the next.

The open log is also the lock of the bundle: whoever changes a bundle holds it.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from spade_edge.galleries.disk import lock
from spade_edge.galleries.free_text import storable
from spade_edge.runtime import BundleError, DataError
from spade_edge.runtime.fields import Fields, parse
from spade_edge.runtime.legible import legible

LOG = "log.jsonl"
LARGEST = 16 << 20  # bytes of the log, which is some ten thousand changes
LONGEST = 4 << 20  # bytes of a line; 100,000 names of images are less
FIRST = "0" * 64  # stands for the line before the first
FOUND = "found"  # verb of a line about a manifest that was there without one
PRUNE = "prune"
MOST = 999_999_999  # generations
LONGEST_NAME = 100  # characters of user and host

_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Change:
    """Why a new generation of a bundle is published.

    Attributes:
        verb: what is done, as the command line calls it: "build", "exclude", "threshold" and so on.
        reason: why, in the words of whoever does it; "" where no reason is asked for.
        names: of the good images that it is about.
        who: does it; "" for user and host of this process.
    """

    verb: str
    reason: str
    names: tuple[str, ...] = ()
    who: str = ""


@dataclass(frozen=True)
class LogLine:
    """A line of the log: a generation came into force.

    Attributes:
        number: of that generation, from 1. One that comes back into force has its former number.
        manifest: SHA-256 of its `manifest.json`.
        came_from: number of the generation that was in force before; None if there was none.
        when: UTC, ISO 8601, by the clock of the machine.
        who: user and host.
        verb: what was done: "build", "exclude", "undo" and so on; "found" for a manifest that was there without a line.
        reason: why, in the words of whoever did it.
        names: of the good images that it is about.
        former_threshold: score threshold before; None if unknown.
        threshold: score threshold from then on; None if unknown.
        pruned: numbers of the generations that were deleted by it.
    """

    number: int
    manifest: str
    came_from: int | None
    when: str
    who: str
    verb: str
    reason: str
    names: tuple[str, ...]
    former_threshold: float | None
    threshold: float | None
    pruned: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The line as JSON values, without the hash of the line before."""
        return {
            "generation": self.number,
            "manifest": self.manifest,
            "from": self.came_from,
            "when": self.when,
            "who": self.who,
            "verb": self.verb,
            "why": self.reason,
            "names": list(self.names),
            "former_threshold": self.former_threshold,
            "threshold": self.threshold,
            "pruned": list(self.pruned),
        }

    @classmethod
    def of(
        cls,
        change: Change,
        *,
        number: int,
        manifest: str,
        came_from: int | None,
        thresholds: tuple[float | None, float | None],
        pruned: tuple[int, ...] = (),
    ) -> LogLine:
        """The line of a change that happens now."""
        return cls(
            number=number,
            manifest=manifest,
            came_from=came_from,
            when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            who=storable(change.who or user_and_host()),
            verb=change.verb,
            reason=storable(change.reason),
            names=tuple(map(storable, change.names)),
            former_threshold=thresholds[0],
            threshold=thresholds[1],
            pruned=pruned,
        )

    @classmethod
    def from_fields(cls, fields: Fields) -> LogLine:
        """Take all fields but `previous`."""
        return cls(
            number=fields.integer("generation", least=1, most=MOST),
            manifest=fields.text("manifest"),
            came_from=fields.integer_or_none("from"),
            when=fields.text("when"),
            who=fields.text("who"),
            verb=fields.text("verb"),
            reason=fields.text("why"),
            names=fields.texts("names"),
            former_threshold=fields.number_or_none("former_threshold"),
            threshold=fields.number_or_none("threshold"),
            pruned=fields.integers("pruned", least=1, most=MOST),
        )


@dataclass
class GenerationLog:
    """The log of a bundle, as it was read.

    Attributes:
        path: the file, which need not exist.
        lines: all whole lines, the oldest first.
        end: bytes of the whole lines.
        last: SHA-256 of the last line; `FIRST` if there is none.
        descriptor: of the file, while the bundle is locked; None if it was only read.
    """

    path: Path
    lines: list[LogLine]
    end: int
    last: str
    descriptor: int | None = None

    @property
    def pruned(self) -> frozenset[int]:
        """Numbers of the generations that were deleted."""
        return frozenset(number for line in self.lines for number in line.pruned)

    def first_line_of(self, number: int) -> LogLine | None:
        """The line with which a generation came into being; None if there is no such generation."""
        return next((line for line in self.lines if line.number == number), None)

    def append(self, lines: Sequence[LogLine]) -> None:
        """Write lines at the end, and have the disk keep them.

        Raises:
            DataError: the log would become too long.
            OSError: they cannot be written; then none of them is in the log.
        """
        assert self.descriptor is not None  # noqa: S101  (the caller holds the lock)
        raw, last = b"", self.last
        for line in lines:
            own = json.dumps({**line.to_json(), "previous": last}, allow_nan=False).encode()
            if len(own) > LONGEST:
                raise DataError(
                    f"{self.path}: expected a line of at most {LONGEST >> 20} MB, found {len(own) / 2**20:.1f} MB; "
                    "give a shorter reason, or fewer images at once"
                )
            last = hashlib.sha256(own).hexdigest()
            raw += own + b"\n"
        if self.end + len(raw) > LARGEST:
            raise DataError(
                f"{self.path}: expected a log of at most {LARGEST >> 20} MB, found one that is full; move it away, and "
                "the next change begins a new one"
            )
        try:
            os.ftruncate(self.descriptor, self.end)  # what an interrupted change has left
            os.lseek(self.descriptor, self.end, os.SEEK_SET)
            left = memoryview(raw)
            while left:
                left = left[os.write(self.descriptor, left) :]
            os.fsync(self.descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self.descriptor, self.end)
            raise
        self.lines.extend(lines)
        self.end, self.last = self.end + len(raw), last


def read_log(bundle: Path) -> GenerationLog:
    """Read the log of a bundle; it is empty if there is none.

    Raises:
        BundleError: it cannot be read, or a line is damaged, or not the one that the next line was written after.
    """
    path = bundle / LOG
    if not os.path.lexists(path):
        return GenerationLog(path, [], 0, FIRST)
    _check_file(path)
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as problem:
        raise BundleError(f"{path}: expected the log of the bundle, found: {problem.strerror}") from None
    return _parsed(path, raw)


@contextmanager
def changing(bundle: Path) -> Iterator[GenerationLog]:
    """The log of a bundle that nobody else changes until the end of the block.

    A file is created if there is none, and removed at the end if it is still empty.

    Raises:
        DataError: the bundle is being changed.
        BundleError: as for `read_log`.
        OSError: the log cannot be written.
    """
    path = bundle / LOG
    if os.path.lexists(path):
        _check_file(path)
    binary = getattr(os, "O_BINARY", 0)  # Windows
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | binary, 0o644)
    locked = False
    try:
        try:
            lock(descriptor)
            locked = path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor))
        except BlockingIOError:
            pass
        if not locked:  # by this process, or another has removed the file meanwhile
            raise DataError(
                f"{bundle}: expected a bundle that nobody changes, found that it is being changed; "
                "wait for the other command to end, and run this one again"
            )
        with open(descriptor, "rb", closefd=False) as file:
            log = _parsed(path, file.read(LARGEST + 1))
        log.descriptor = descriptor
        yield log
    finally:
        empty = os.fstat(descriptor).st_size == 0
        if locked and empty and not hasattr(os, "O_BINARY"):
            path.unlink(missing_ok=True)  # still locked, so it is nobody else's
        os.close(descriptor)


def _check_file(path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path}: expected a file, found a link, folder, pipe or device; remove it")


def _parsed(path: Path, raw: bytes) -> GenerationLog:
    """Check a log line by line.

    Raises:
        BundleError: see `read_log`.
    """
    if len(raw) > LARGEST:
        raise BundleError(f"{path}: expected a log of at most {LARGEST >> 20} MB, found a larger one; move it away")
    end = raw.rfind(b"\n") + 1
    lines: list[LogLine] = []
    last = FIRST
    for number, own in enumerate(raw[:end].split(b"\n")[:-1], 1):
        where = f"{path}: line {number}"
        if len(own) > LONGEST:
            raise BundleError(f"{where}: expected at most {LONGEST >> 20} MB, found {len(own) / 2**20:.1f} MB")
        fields = parse(own, where=where, error=BundleError)
        previous = fields.text("previous")
        line = LogLine.from_fields(fields)
        fields.done()
        if previous != last:
            raise BundleError(
                f"{where}: expected the SHA-256 of the line before, {last[:16]}…, found {previous[:16]}: the log was "
                "altered; restore it from a copy, or move it away, and the next change begins a new one"
            )
        if not _HASH.fullmatch(line.manifest):
            raise BundleError(f"{where}: expected the SHA-256 of a manifest, found {line.manifest[:16]!r}")
        lines.append(line)
        last = hashlib.sha256(own).hexdigest()
    return GenerationLog(path, lines, end, last)


def user_and_host() -> str:
    """User and host of this process; a container may know neither."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        user = ""
    return "@".join(legible(name)[:LONGEST_NAME] or "unknown" for name in (user, platform.node()))
