"""A folder that a camera writes into: every image file that appears is a frame, as soon as it is whole."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from spade_edge.galleries.images import SUFFIXES, read_image
from spade_edge.runtime import DataError, DeviceError
from spade_edge.tools.sources.cameras.outage import Outage, Pause
from spade_edge.tools.sources.files.whole import TELLING, whole
from spade_edge.tools.sources.shot import Shot

PERIOD = 0.05  # seconds between two looks; more where looking takes long
QUIET = 0.25  # seconds without a change after which a file without an end mark of its own counts as whole
GIVEN_UP = 2.0  # seconds without a change after which a file that cannot be read is a fault

State = tuple[int, int]  # nanoseconds of the last change, and size; a file with another state has been written again


@dataclass(frozen=True)
class Unread:
    """A file that has appeared or changed.

    Attributes:
        state: when it was last seen.
        since: the clock's seconds when this state was seen first.
        due: when to look into it.
    """

    state: State
    since: float
    due: float


class Watch:
    """The files that appear in a folder and below it after this object was made. None of them is ever lost.

    Hidden names and other suffixes are ignored. A file that is written again is a new frame; one that is deleted before
    it could be read is nothing. If the folder vanishes, an unmounted share say, that is one shot of news.

    Args:
        folder: to look into.
        tries: how often to look for a folder that has vanished; math.inf for ever.
        pause: waits; gives true if the source shall end.
        clock: gives seconds.

    Raises:
        DataError: the folder is not there, or cannot be read.
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
            self._known = self._look()
        except DeviceError as problem:
            raise DataError(str(problem)) from None
        self.left_out = len(self._known)  # files that were there before

    def __iter__(self) -> Iterator[Shot]:
        while True:
            began = self.clock()
            try:
                found = self._look()
            except DeviceError as problem:
                news = self._outage.news(problem)
                if news is not None:
                    yield news
                if self._outage.wait(problem):
                    return
                continue
            looking = self.clock() - began
            self._outage.over()
            self._compare(found)
            yield from self._due_shots()
            if self.pause(max(PERIOD, 10 * looking)):
                return

    def _look(self) -> dict[str, State]:
        """The image files that are there now.

        Raises:
            DeviceError: the folder is not there, or cannot be read.
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
        if self._disk not in (None, disk) and not found:  # the empty folder that a share was mounted on
            raise DeviceError(f"{self.folder}: expected the disk that was there, found an empty folder; is it mounted?")
        self._disk = disk
        return found

    def _compare(self, found: dict[str, State]) -> None:
        """Note what is new, and forget what is gone."""
        now = self.clock()
        self._known = {name: state for name, state in self._known.items() if name in found}
        self._unread = {name: unread for name, unread in self._unread.items() if name in found}
        for name, state in found.items():
            if self._known.get(name) != state and (name not in self._unread or self._unread[name].state != state):
                self._unread[name] = Unread(state, since=now, due=now)

    def _due_shots(self) -> Iterator[Shot]:
        """Read what may be whole by now, the oldest first."""
        now = self.clock()
        due = sorted((unread.state, name) for name, unread in self._unread.items() if unread.due <= now)
        for state, name in due:
            shot = self._read(name, self._unread[name], age=now - self._unread[name].since)
            if shot is not None and _state(self.folder / name) == state:  # else it was deleted or written to meanwhile
                del self._unread[name]
                self._known[name] = state
                yield shot

    def _read(self, name: str, unread: Unread, *, age: float) -> Shot | None:
        """A file's shot; None if it is not whole, and then says when to look again."""
        path = self.folder / name
        patient = age < GIVEN_UP
        told = _told_whole(path) if patient else True
        if told is None and age < QUIET:
            self._unread[name] = replace(unread, due=unread.since + QUIET)
            return None
        try:
            if told is not False:
                return Shot(name, read_image(path))
        except DataError as problem:
            if not patient:
                return Shot(name, None, str(problem))
        self._unread[name] = replace(unread, due=unread.since + GIVEN_UP)
        return None


def _images(folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What bears the name of an image in a folder and below; links are followed, hidden names are left out."""
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
                raise  # only a folder further down may go as it likes


def _state(path: Path | os.DirEntry[str]) -> State | None:
    """Of a regular file; None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return (status.st_mtime_ns, status.st_size) if stat.S_ISREG(status.st_mode) else None


def _told_whole(path: Path) -> bool | None:
    """Whether a file is whole; None if it does not say."""
    suffix = path.suffix.lower()
    if suffix not in TELLING:
        return None
    try:
        return whole(path.read_bytes(), suffix)
    except OSError:  # gone, or not to be read yet
        return False
