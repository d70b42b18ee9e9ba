"""Keeps frames and results within a budget of disk space; the oldest go first.

An entry is written to a folder with a temporary name, flushed to the disk, and then renamed: it is whole or not there.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import re
import secrets
from collections import Counter, deque
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.disk import flush
from spade_edge.runtime.errors import SpadeError
from spade_edge.runtime.result import GOOD
from spade_edge.tools.drawing.overlay import overlay
from spade_edge.tools.line.configuration.options import PASS, EvidenceOptions
from spade_edge.tools.line.decision import Inspection
from spade_edge.tools.line.evidence.entry import (
    DAY,
    DECISION,
    FORMAT,
    FRAME,
    HOUR,
    KILO,
    NAME,
    OVERLAY,
    VERSION,
    in_order,
    path_of,
    subfolders,
)
from spade_edge.tools.line.outputs.output import MissedError, OutputError
from spade_edge.tools.line.state import LineState

BLOCK = 4096  # bytes; what a file or folder takes on a disk is a multiple of it
QUALITY = 90  # of the overlays, as JPEG
UNFINISHED = re.compile(r"\.part-[0-9a-f]{16}")
FILES = (DECISION, FRAME, OVERLAY)
CROWD = 1000  # entries in one millisecond of one camera


class EvidenceRing:
    """Keeps every part that was rejected or has no clear verdict, and a random sample of the others.

    A courier calls all methods from one thread; give it a short queue, because frames are large. What other programs
    have put into the folder is neither touched nor counted.

    Args:
        options: the folder, its budget and the share of good parts.
        line: name of the line.
        seed: of the sample; None for another one at each start.
    """

    def __init__(self, options: EvidenceOptions, *, line: str, seed: int | None = None) -> None:
        self._options, self._line = options, line
        self._random = random.Random(seed)  # noqa: S311
        self._chosen: Inspection | None = None  # from the sample, and not written yet
        self._lock: int | None = None  # descriptor of the folder
        self._used = 0  # bytes
        self._used_in: Counter[str] = Counter()  # hour to bytes, of which `_used` is the sum
        self._hours: deque[str] = deque()  # in the order in which they were begun
        self._oldest: deque[str] = deque()  # names of entries of the first hour that are to go next

    def open(self) -> None:
        """Find out what is there, and remove what a power failure has left unfinished.

        Raises:
            OutputError: the folder cannot be used, or another service uses it.
        """
        folder = self._options.folder
        try:
            folder.mkdir(exist_ok=True)  # not its parents: they may be a disk that is not mounted
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"{folder}: expected a folder of its own, found that another service uses it") from None
        except OSError as problem:
            if self._lock is None or problem.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                raise self._fault(problem) from None
        self._used = 0
        self._used_in.clear()
        self._hours.clear()
        self._oldest.clear()
        for name in subfolders(folder, UNFINISHED):
            _remove(folder / name)
        for day in subfolders(folder, DAY):
            for hour in subfolders(folder / day, HOUR):
                names = subfolders(folder / day / hour, NAME)
                if names:
                    self._hours.append(f"{day}/{hour}")
                    self._count(f"{day}/{hour}", sum(map(_size, names)))
                else:
                    _remove_if_empty(folder / day / hour)
            _remove_if_empty(folder / day)
        gone = self._look_at_oldest()
        if gone:
            self._count(self._hours[0], -gone)

    def send(self, inspection: Inspection) -> None:
        """Keep a part, if it is one to keep.

        Raises:
            MissedError: this one cannot be kept: it is larger than the budget, or no picture. Others can.
            OutputError: it cannot be written.
        """
        if not self._keeps(inspection):
            return
        files = _files(inspection, line=self._line)
        size = BLOCK + sum(BLOCK * -(-len(content) // BLOCK) for content in files.values())
        budget, folder = self._options.budget, self._options.folder
        if size > budget:
            raise MissedError(f"{folder}: expected a budget for at least one part, {size} bytes; found {budget}")
        try:
            while self._used + size > budget:
                self._forget_oldest()
            self._write(inspection, files, size)
        except OSError as problem:
            raise self._fault(problem) from None
        self._chosen = None

    def stale(self, inspection: Inspection) -> bool:
        """Never: this is a record."""
        return False

    def beat(self, state: LineState) -> None:
        """See whether the folder is still there.

        Raises:
            OutputError: it is gone, or is another one.
        """
        folder = self._options.folder
        try:
            now = folder.stat()
            before = now if self._lock is None else os.fstat(self._lock)
        except OSError as problem:
            raise self._fault(problem) from None
        if (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino):
            raise OutputError(f"{folder}: expected the folder that was opened, found another one")

    def close(self) -> None:
        """Let another service use the folder."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    @property
    def used(self) -> int:
        """Bytes of the budget that are used."""
        return self._used

    def _keeps(self, inspection: Inspection) -> bool:
        decision = inspection.decision
        if decision.gate != PASS or decision.verdict != GOOD or inspection is self._chosen:
            return True
        if self._random.random() < self._options.good_share:
            self._chosen = inspection  # it is asked for again if it could not be written
            return True
        return False

    def _write(self, inspection: Inspection, files: dict[str, bytes], size: int) -> None:
        """Write the files of an entry."""
        folder = self._options.folder
        part = folder / f".part-{secrets.token_hex(8)}"
        try:
            part.mkdir()
            for name, content in files.items():
                _write_file(part / name, content)
            flush(part)
            self._place(part, inspection, files[DECISION], size)
        except OSError:
            with suppress(OSError):
                _remove(part)
            raise

    def _place(self, part: Path, inspection: Inspection, decision: bytes, size: int) -> None:
        """Rename a finished folder to its name."""
        folder, made = self._options.folder, inspection.decision
        trigger = made.trigger
        for later in range(CROWD):
            day, hour, name = path_of(
                trigger.time + later / 1000,
                camera=trigger.camera,
                number=trigger.number,
                verdict=made.verdict,
                kilobytes=-(-size // KILO),
            )
            for above in (folder / day, folder / day / hour):
                _make(above)
            place = folder / day / hour / name
            try:
                part.rename(place)
            except OSError as problem:
                if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                if _same(place / DECISION, decision):  # it was written, and the disk said so too late
                    _remove(part)
                    return
                continue
            if f"{day}/{hour}" not in self._hours:
                self._hours.append(f"{day}/{hour}")
            self._count(f"{day}/{hour}", _size(name))
            flush(place.parent)
            return
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _forget_oldest(self) -> None:
        """Remove the oldest entry, and its hour and day if they are empty."""
        folder = self._options.folder
        while self._hours:
            hour = folder / self._hours[0]
            if not self._oldest:
                self._look_at_oldest()
            if self._oldest:
                name = self._oldest[0]
                _remove(hour / name)
                self._oldest.popleft()
                self._count(self._hours[0], -_size(name))
                return
            former = self._hours.popleft()
            self._used -= self._used_in.pop(former, 0)  # of entries that somebody else has removed
            _remove_if_empty(hour)
            _remove_if_empty(hour.parent)
        self._used = 0  # whatever was counted is gone

    def _count(self, hour: str, size: int) -> None:
        """Add to the bytes that are used."""
        self._used += size
        self._used_in[hour] += size

    def _look_at_oldest(self) -> int:
        """List the entries of the first hour. Returns the bytes of those of which nothing is left to remove."""
        gone = 0
        if self._hours:
            hour = self._options.folder / self._hours[0]
            for name in in_order(subfolders(hour, NAME)):
                if _is_ours(hour / name):
                    self._oldest.append(name)
                else:
                    gone += _size(name)
                    _remove_if_empty(hour / name)
        return gone

    def _fault(self, problem: OSError) -> OutputError:
        return OutputError(
            f"{self._options.folder}: expected to keep evidence there, found: {problem.strerror}; is it mounted, "
            "writable and not full?"
        )


def _files(inspection: Inspection, *, line: str) -> dict[str, bytes]:
    """Name to content of the files of an entry; the decision comes last."""
    files: dict[str, bytes] = {}
    frame, result = inspection.frame, inspection.result
    if frame is not None:
        # As fast as this package's own writer on one core, and a grey frame stays grey.
        files[FRAME] = _encoded(".png", frame, [])
        if result is not None:
            with suppress(SpadeError, cv2.error):  # the frame is what matters
                drawn = overlay(frame, result, pixel_threshold=result.pixel_threshold)
                files[OVERLAY] = _encoded(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    about = {
        "format": FORMAT,
        "version": VERSION,
        "line": line,
        "frame_sha256": sha256(files[FRAME]).hexdigest() if FRAME in files else "",
        "decision": inspection.decision.to_json(),
    }
    files[DECISION] = json.dumps(about, allow_nan=False).encode() + b"\n"
    return files


def _encoded(suffix: str, picture: NDArray[np.uint8], options: list[int]) -> bytes:
    try:
        well, content = cv2.imencode(suffix, picture, options)
    except cv2.error:  # no such number of channels, for example
        well = False
    if not well:
        raise MissedError(f"expected a frame that can be stored, found {picture.shape} {picture.dtype}")
    return bytes(content)


def _write_file(path: Path, content: bytes) -> None:
    """Write a new file and flush it to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make(folder: Path) -> None:
    """Make a folder, and flush the one above it, so that it is still there after a power failure."""
    try:
        folder.mkdir()
    except FileExistsError:
        if folder.is_symlink() or not folder.is_dir():
            raise
    else:
        flush(folder.parent)


def _remove(place: Path) -> None:
    """Remove what the service has written of an entry; a folder with something else in it stays."""
    for name in FILES:  # the decision first: without it, what is left is no entry
        with suppress(FileNotFoundError, IsADirectoryError):
            (place / name).unlink()
    try:
        place.rmdir()
    except OSError as problem:
        if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # there is something in it, perhaps of another program
        folder.rmdir()


def _is_ours(place: Path) -> bool:
    """Whether there is something in a folder that `_remove` would remove."""
    return any((place / name).is_symlink() or (place / name).is_file() for name in FILES)


def _same(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _size(name: str) -> int:
    """Bytes that an entry takes, by its name."""
    match = NAME.fullmatch(name)
    return 0 if match is None else KILO * int(match["size"])
