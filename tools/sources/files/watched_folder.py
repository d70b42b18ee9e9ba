"""A folder that a camera writes to. Every image file that appears is a frame as soon as it is whole.

A file is one part, whatever happens to it: it may grow, have its full size before its bytes, be renamed, moved inside
the folder, linked again or touched, and gets one verdict. These are new parts:

- another file of the same name, put in the place of the first
- other pixels in the same file

A file is whole when its content says so. Where the content cannot say so for certain, the file must also have been
quiet for a while: no change of its size, its time or its bytes. That is so for formats without an end mark, for a file
that is written again in place, and for one with stretches of zeros, as the tools leave them that reserve the space of a
file before they fill it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Iterable, Iterator, Set
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from spade_edge.galleries.images import pages
from spade_edge.galleries.images.folder import as_text, remarks
from spade_edge.galleries.images.like_good import ANY, Reading
from spade_edge.galleries.images.listing import ImageFile, Listing, look
from spade_edge.runtime import DataError, DeviceError
from spade_edge.tools.sources.files.arrival import (
    GIVEN_UP,
    Known,
    State,
    Unread,
    content,
    is_touched,
    quiet_time,
    state_of,
)
from spade_edge.tools.sources.files.image_shot import image_shot
from spade_edge.tools.sources.outage import Outage, Pause
from spade_edge.tools.sources.shot import Shot

log = logging.getLogger(__name__)

PERIOD = 0.05  # seconds between two scans of the folder
SHARE = 10  # scans, and reading a file that is not whole, take at most one part in so many of the time
ALWAYS, IN_TURN = 500, 500  # known files that each scan looks at: those that changed last, and some of the others


class WatchedFolder:
    """The files that appear in a folder, or below it, after this object was created. No file is dropped.

    Hidden files and other suffixes are ignored. A file that is deleted before it could be read gives no shot; that is
    logged once. An entry that cannot be looked at is named once, and so are kinds of pictures that are not read. A
    folder that disappears, such as an unmounted share, is one shot of news.

    Args:
        folder: the folder to watch.
        tries: how often to look for a folder that has disappeared; math.inf never gives up.
        pause: waits so many seconds; returns true if the source is to end.
        follow_links: whether links to folders are followed, as for `find_images`.
        reading: how the numbers of image files are understood.
        clock: returns seconds.

    Raises:
        DataError: the folder does not exist, or cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tries: float,
        pause: Pause,
        follow_links: bool = False,
        reading: Reading = ANY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.pause = pause
        self.follow_links = follow_links
        self.reading = reading
        self.clock = clock
        self._label = f"watch:{folder}"
        self._outage = Outage(self._label, tries=tries, pause=pause, clock=clock)
        self._disks: dict[str, int] = {}
        self._kept: tuple[str, ...] = ()
        self._unread: dict[str, Unread] = {}
        self._said: set[str] = set()
        self._known: dict[str, Known] = {}  # those that changed last come last
        self._gone: list[Known] = []  # those whose names the last scan did not find any more
        self._turn: Iterator[str] = iter(())
        self._deleted = 0
        try:
            if not folder.is_dir():
                raise DataError(
                    f"{folder}: expected a folder to watch, found {'a file' if folder.exists() else 'nothing'}"
                )
            found = [(name, State.of(file.status)) for name, file in self._scan().items() if file is not None]
        except OSError as problem:
            raise DataError(f"{folder}: expected a folder that can be read, found: {problem.strerror}") from None
        except DeviceError as problem:
            raise DataError(str(problem)) from None
        self._known = {name: Known(state) for name, state in sorted(found, key=lambda each: each[1].changed)}
        self.left_out = len(self._known)  # files that existed before

    def __iter__(self) -> Iterator[Shot]:
        try:
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
                if self.pause(max(PERIOD, SHARE * scanning)):
                    return
        finally:
            if self._deleted > 1:
                log.warning("%s: %d files were deleted before they could be read", self._label, self._deleted)

    def _scan(self) -> dict[str, ImageFile | None]:
        """The image files in the folder now; None for a known one that it is not the turn of.

        Raises:
            DeviceError: the folder does not exist, or cannot be read.
        """
        try:
            listing = look(self.folder, follow_links=self.follow_links, by_name=self._resting())
        except OSError as problem:
            raise DeviceError(
                f"{self.folder}: expected a folder that can be read, found: {problem.strerror}; is it mounted?"
            ) from None
        emptied = [
            place
            for place, disk in listing.disks.items()
            if self._disks.get(place, disk) != disk and not any(name.startswith(place) for name in listing.images)
        ]  # the empty mount points of shares
        if "" in emptied:
            raise DeviceError(f"{self.folder}: expected the disk that was there, found an empty folder; is it mounted?")
        # What is in a folder that cannot be read now is not forgotten: it would all be new when it can be read again.
        self._kept = (*emptied, *(f"{name}/" for name in listing.left_out))
        self._disks = listing.disks | {place: self._disks[place] for place in emptied}
        self._say(listing)
        return listing.images

    def _resting(self) -> Set[str]:
        """The known files that this scan does not look at. Each gets its turn."""
        if len(self._known) <= ALWAYS + IN_TURN:
            return frozenset()
        turn = list(islice(self._turn, IN_TURN))
        if not turn:
            self._turn = iter(list(self._known))
            turn = list(islice(self._turn, IN_TURN))
        return self._known.keys() - {*turn, *islice(reversed(self._known), ALWAYS), *self._unread}

    def _say(self, listing: Listing) -> None:
        """Log what is left out, each thing once."""
        fresh = Listing(
            left_out={name: why for name, why in listing.left_out.items() if name not in self._said},
            links=[name for name in listing.links if name not in self._said],
        )
        fresh.kinds.update({kind: count for kind, count in listing.kinds.items() if kind not in self._said})
        self._said.update(fresh.left_out, fresh.links, fresh.kinds)
        for remark in remarks(fresh):
            log.warning("%s: %s", self._label, remark)

    def _compare(self, found: dict[str, ImageFile | None]) -> None:
        """Note new and changed files, and forget deleted ones."""
        now = self.clock()
        looked_at = {name: (State.of(file.status), file.linked) for name, file in found.items() if file is not None}
        fresh = {name: state for name, (state, _) in looked_at.items() if not self._is_known(name, state)}
        self._recognise(fresh)
        self._forget(found, {(state.disk, state.number) for state in fresh.values()})
        for name, (state, linked) in looked_at.items():
            unread = self._unread.get(name)
            if self._is_known(name, state):
                if unread is not None:
                    del self._unread[name]
            elif unread is None or unread.state != state:
                rest = unread.rest if unread is not None else now
                self._unread[name] = Unread(state, linked, due=max(now, rest), since=now, rest=rest)

    def _is_known(self, name: str, state: State) -> bool:
        known = self._known.get(name)
        return known is not None and (known.state == state or known.is_unchanged(state))

    def _recognise(self, fresh: dict[str, State]) -> None:
        """Take files that have been renamed or moved, or have got another name, for what they are."""
        if not fresh:
            return
        # A file that is renamed while the folder is listed may be in that list under neither of its names.
        by_state = {known.state: known for known in chain(self._known.values(), self._gone) if known.state.number}
        for name, state in fresh.items():
            if state in by_state:
                self._known[name] = by_state[state]

    def _forget(self, found: Container[str], fresh: Container[tuple[int, int]]) -> None:
        """Forget the files that are gone, but not those in folders that cannot be read now.

        Args:
            found: names of the files that are there.
            fresh: disk and number of those that are new or have changed.
        """
        gone: list[Known] = []
        for name in [name for name in chain(self._known, self._unread) if name not in found]:
            if f"{name}/".startswith(self._kept):
                continue
            if name in self._known:
                gone.append(self._known.pop(name))
            unread = self._unread.pop(name, None)
            if unread is not None and (unread.state.disk, unread.state.number) not in fresh:  # else it was renamed
                self._deleted += 1
                if self._deleted == 1:
                    log.warning("%s: %s was deleted before it could be read", self._label, as_text(name))
        self._gone = gone

    def _due_shots(self) -> Iterator[Shot]:
        """Read the files that may be whole by now, the oldest first, and a file before links to it."""
        now = self.clock()
        due = [name for name, unread in self._unread.items() if unread.due <= now]
        due.sort(key=lambda name: (self._unread[name].state.changed, self._unread[name].linked, name))
        given: dict[State, Known] = {}
        for name in due:
            state = self._unread[name].state
            if state.number and state in given:  # another name of the same file
                self._settle(name, given[state])
                continue
            shots = self._read(name)
            if name not in self._unread:
                given[state] = self._known[name]
            yield from shots

    def _read(self, name: str) -> Iterable[Shot]:
        """Try to read a file, with all its pages; nothing if it is not whole yet, or no new part."""
        path, unread, former, began = self.folder / name, self._unread[name], self._known.get(name), self.clock()
        if former is not None and former.digest is None and is_touched(path):
            self._settle(name, Known(unread.state))
            return ()
        raw = content(path)
        now = self.clock()
        if state_of(path) != unread.state:  # deleted or changed meanwhile, as the next scan will find
            return ()
        again = former is not None and former.state.same_file(unread.state)
        goes_on = former is not None and former.goes_on(unread.state, raw)
        if former is not None and goes_on and not former.faulty:
            self._settle(name, replace(former, state=unread.state))
            return ()
        unread = unread.seen(raw, now=now, rest=now + SHARE * (now - began))
        wait, quiet = min(quiet_time(path, raw, again=again), GIVEN_UP), now - unread.since
        self._unread[name] = unread.later(now=now, wait=wait if quiet < wait else GIVEN_UP)
        if quiet < wait:
            return ()
        first, *others = pages(path)
        shot = image_shot(first, self.folder, self.reading)
        if (shot.frame is None and quiet < GIVEN_UP) or state_of(path) != unread.state:
            return ()
        self._settle(name, Known.given(unread.state, raw, faulty=shot.frame is None))
        if goes_on and shot.frame is None:  # the fault was told when the file was given up
            return ()
        return chain([shot], (image_shot(page, self.folder, self.reading) for page in others))

    def _settle(self, name: str, known: Known) -> None:
        """Nothing more is to be read from a file until it changes."""
        self._known.pop(name, None)
        self._known[name] = known
        del self._unread[name]
