"""A look at a folder and everything below it. One bad entry stops nothing: it is noted, with the reason."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path

from spade_edge.galleries.images.formats import SUFFIXES, UNREAD_SUFFIXES, VIDEO_SUFFIXES

_READ, _OTHER = frozenset(SUFFIXES), frozenset((*UNREAD_SUFFIXES, *VIDEO_SUFFIXES))


@dataclass(frozen=True)
class ImageFile:
    """An image file as a look at its folder found it.

    Attributes:
        status: of the file; of its target, if it is a link.
        linked: whether it is a symbolic link.
    """

    status: os.stat_result
    linked: bool


@dataclass(frozen=True)
class Listing:
    """What a look at a folder found. Names are relative to the folder, with forward slashes.

    Attributes:
        images: the image files; None stands for one whose name was enough.
        left_out: why an entry could not be looked at: a subfolder that cannot be read, a broken link, a pipe.
        links: links to folders that were not followed.
        kinds: number of pictures and videos that are not read from a folder, by suffix.
        disks: device number of each folder that was read; "" is the folder itself, and each other name ends in "/".
    """

    images: dict[str, ImageFile | None] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    disks: dict[str, int] = field(default_factory=dict)


def look(folder: Path, *, follow_links: bool, by_name: Set[str] = frozenset()) -> Listing:
    """Look at everything in a folder and below it; hidden entries are passed over.

    Args:
        folder: a folder, or a link to one.
        follow_links: whether links to folders are followed. Each folder is visited once, and links that lead to the
            folder itself, or to one above it, are left out.
        by_name: names of image files to find without looking at the files themselves, which takes most of the time.

    Raises:
        OSError: the folder itself cannot be read.
    """
    walk = _Walk(os.fspath(folder), follow_links=follow_links, by_name=by_name)
    while walk.places or walk.linked:
        place, prefix = walk.places.pop() if walk.places else walk.linked.pop()
        try:
            walk.visit(place, prefix)
        except OSError as problem:
            if not prefix:
                raise
            if not isinstance(problem, FileNotFoundError):  # a subfolder may be deleted at any time
                walk.listing.left_out[prefix[:-1]] = problem.strerror or "cannot be read"
    return walk.listing


class _Walk:
    """Folders that have been visited, and those that are still to be.

    Attributes:
        listing: what has been found so far.
        places: path and name of folders to visit.
        linked: the same of links to folders, which come last, so that a folder is called by its own name.
    """

    def __init__(self, top: str, *, follow_links: bool, by_name: Set[str]) -> None:
        self.listing = Listing()
        self.places = [(top, "")]
        self.linked: list[tuple[str, str]] = []
        self._top = top
        self._follow_links = follow_links
        self._by_name = by_name
        self._seen: set[tuple[int, int]] = set()
        self._above: set[tuple[int, int]] = set()

    def visit(self, place: str, prefix: str) -> None:
        """Look at the entries of one folder."""
        status = _status(place)
        if _identity(status) in self._seen:
            return
        with os.scandir(place) as opened:
            entries = list(opened)
        self._seen.add(_identity(status))
        self.listing.disks[prefix] = status.st_dev
        for entry in entries:
            if not entry.name.startswith("."):
                self._take(entry, prefix + entry.name)

    def _take(self, entry: os.DirEntry[str], name: str) -> None:
        kind = _kind(entry.name)
        try:
            if entry.is_dir(follow_symlinks=False):
                self.places.append((entry.path, name + "/"))
            elif name in self._by_name:
                self.listing.images[name] = None
            elif entry.is_symlink():
                self._take_link(entry.path, name, kind)
            elif kind in _READ:
                # On Windows, the entry does not know the number of the file.
                status = _status(entry.path) if os.name == "nt" else entry.stat(follow_symlinks=False)
                self._take_file(name, kind, ImageFile(status, linked=False))
            elif kind in _OTHER:
                self.listing.kinds[kind] += 1
        except OSError as problem:
            if not isinstance(problem, FileNotFoundError):  # a file may be deleted at any time
                self.listing.left_out[name] = problem.strerror or "cannot be read"

    def _take_link(self, path: str, name: str, kind: str) -> None:
        try:
            status = _status(path)
        except OSError as problem:
            if kind in _READ or not kind:  # what has lost a text file is nobody's picture
                whys = {errno.ELOOP: "a link to itself", errno.ENOENT: "a broken link"}
                self.listing.left_out[name] = whys.get(problem.errno or 0, f"a link: {problem.strerror}")
            return
        if not stat.S_ISDIR(status.st_mode):
            self._take_file(name, kind, ImageFile(status, linked=True))
        elif not self._follow_links:
            self.listing.links.append(name)
        elif _identity(status) in self._folders_above():
            self.listing.left_out[name] = "a link to a folder above"
        else:
            self.linked.append((path, name + "/"))

    def _take_file(self, name: str, kind: str, file: ImageFile) -> None:
        if kind in _OTHER:
            self.listing.kinds[kind] += 1
        elif kind in _READ and stat.S_ISREG(file.status.st_mode):
            self.listing.images[name] = file
        elif kind in _READ:  # reading it might never end
            self.listing.left_out[name] = "a pipe" if stat.S_ISFIFO(file.status.st_mode) else "a device or socket"

    def _folders_above(self) -> set[tuple[int, int]]:
        """The folder itself and all those above it."""
        if not self._above:
            real = Path(os.path.realpath(self._top))
            self._above = {_identity(place.stat()) for place in (real, *real.parents)}
        return self._above


def _kind(name: str) -> str:
    """The suffix in lower case; empty without one."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot >= 0 else ""


def _status(path: str) -> os.stat_result:
    return os.stat(path)  # noqa: PTH116  (a Path for each of 10,000 files costs more than the call)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
