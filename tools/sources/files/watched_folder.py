"""A folder that a camera writes to. Every image file that appears is a frame as soon as it is complete."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from spade_edge.galleries.images import read_image
from spade_edge.galleries.images.completeness import JUDGED, is_complete
from spade_edge.galleries.images.formats import SUFFIXES
from spade_edge.runtime import DataError, DeviceError
from spade_edge.tools.sources.outage import Outage, Pause
from spade_edge.tools.sources.shot import Shot

PERIOD = 0.05  # seconds between two scans of the folder; more where a scan takes long
QUIET = 0.25  # seconds without a change after which a file without an end mark counts as complete
GIVEN_UP = 2.0  # seconds without a change after which an unreadable file is a fault

State = tuple[int, int]  # nanoseconds of the last change, size; with another state, a file was rewritten


@dataclass(frozen=True)
class Unread:
    """A file that has appeared or changed, and has not been read yet.

    Attributes:
        state: at the latest scan.
        since: when this state was first seen, in seconds of the clock.
        due: when to try to read it.
    """

    state: State
    since: float
    due: float


class WatchedFolder:
    """The files that appear in a folder, or below it, after this object was created. No file is dropped.

    Hidden files and other suffixes are ignored. A file that is rewritten is a new frame. A file that is deleted before
    it could be read is ignored. A folder that disappears, such as an unmounted share, is one shot of news.

    Args:
        folder: the folder to watch.
        tries: how often to look for a folder that has disappeared; math.inf never gives up.
        pause: waits so many seconds; returns true if the source is to end.
        clock: returns seconds.

    Raises:
        DataError: the folder does not exist, or cannot be read.
    """

    def __init__(
        self, folder: Path, *, tries: float, pause: Pause, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not folder.is_dir():
            raise DataError(f"{folder}: expected a folder to watch, found {'a file' if folder.exists() else 'nothing'}")
        self.folder = folder
        self.pause = pause
        self.clock = clock
        self._outage = Outage(f"watch:{folder}", tries=tries, pause=pause, clock=clock)
        self._disk: int | None = None
        self._unread: dict[str, Unread] = {}
        try:
            self._known = self._scan()
        except DeviceError as problem:
            raise DataError(str(problem)) from None
        self.left_out = len(self._known)  # files that existed before

    def __iter__(self) -> Iterator[Shot]:
        while True:
            began = self.clock()
            try:
                found = self._scan()
            except DeviceError as problem:
                news = self._outage.news(problem)
                if news is not None:
                    yield news
                if self._outage.wait(problem):
                    return
                continue
            scanning = self.clock() - began
            self._outage.over()
            self._compare(found)
            yield from self._due_shots()
            if self.pause(max(PERIOD, 10 * scanning)):
                return

    def _scan(self) -> dict[str, State]:
        """The image files in the folder now.

        Raises:
            DeviceError: the folder does not exist, or cannot be read.
        """
        found: dict[str, State] = {}
        try:
            disk = self.folder.stat().st_dev
            for name, entry in _images(str(self.folder)):
                state = _state(entry)
                if state is not None:
                    found[name] = state
        except OSError as problem:
            raise DeviceError(
                f"{problem.filename}: expected a folder that can be read, found: {problem.strerror}; is it mounted?"
            ) from None
        if self._disk not in (None, disk) and not found:  # the empty mount point of a share
            raise DeviceError(f"{self.folder}: expected the disk that was there, found an empty folder; is it mounted?")
        self._disk = disk
        return found

    def _compare(self, found: dict[str, State]) -> None:
        """Note new and changed files, and forget deleted ones."""
        now = self.clock()
        self._known = {name: state for name, state in self._known.items() if name in found}
        self._unread = {name: unread for name, unread in self._unread.items() if name in found}
        for name, state in found.items():
            if self._known.get(name) != state and (name not in self._unread or self._unread[name].state != state):
                self._unread[name] = Unread(state, since=now, due=now)

    def _due_shots(self) -> Iterator[Shot]:
        """Read the files that may be complete by now, the oldest first."""
        now = self.clock()
        due = sorted((unread.state, name) for name, unread in self._unread.items() if unread.due <= now)
        for state, name in due:
            shot = self._read(name, self._unread[name], age=now - self._unread[name].since)
            if shot is not None and _state(self.folder / name) == state:  # else it was deleted or changed meanwhile
                del self._unread[name]
                self._known[name] = state
                yield shot

    def _read(self, name: str, unread: Unread, *, age: float) -> Shot | None:
        """The shot of a file; None, and a later due time, if the file is not complete."""
        path = self.folder / name
        patient = age < GIVEN_UP
        complete = _complete(path) if patient else True
        if complete is None and age < QUIET:
            self._unread[name] = replace(unread, due=unread.since + QUIET)
            return None
        try:
            if complete is not False:
                return Shot(name, read_image(path))
        except DataError as problem:
            if not patient:
                return Shot(name, None, str(problem))
        self._unread[name] = replace(unread, due=unread.since + GIVEN_UP)
        return None


def _images(folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything named like an image in a folder and below it. Links are followed, hidden names are left out."""
    places, seen = [(folder, "")], set()
    while places:
        place, above = places.pop()
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above
            continue
        seen.add(real)
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    name = above + entry.name
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        places.append((entry.path, name + "/"))
                    elif name.lower().endswith(SUFFIXES):
                        yield name, entry
        except FileNotFoundError:
            if place == folder:
                raise  # a subfolder may be deleted at any time


def _state(path: Path | os.DirEntry[str]) -> State | None:
    """State of a regular file; None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return (status.st_mtime_ns, status.st_size) if stat.S_ISREG(status.st_mode) else None


def _complete(path: Path) -> bool | None:
    """Whether a file is complete; None if its content does not say."""
    suffix = path.suffix.lower()
    if suffix not in JUDGED:
        return None
    try:
        return is_complete(path.read_bytes(), suffix)
    except OSError:  # deleted, or not readable yet
        return False
