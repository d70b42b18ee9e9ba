"""The images of a folder, and one line about each kind of thing that is left out."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from spade_edge.galleries.images.formats import SUFFIXES, UNREAD_SUFFIXES, VIDEO_SUFFIXES
from spade_edge.galleries.images.listing import Listing, look
from spade_edge.galleries.images.opening import pages
from spade_edge.runtime import DataError

log = logging.getLogger(__name__)

NAMED = 8  # entries that a line names; the others are counted


def find_images(folder: Path, *, follow_links: bool = False) -> tuple[Path, ...]:
    """All images in a folder and its subfolders, sorted by name. Hidden files are left out.

    An image is a path that `read_picture` reads: a file, or a page of a TIFF that has several, see `pages`.

    Links to files are read, links to folders only if they are to be followed. What else is left out is logged: broken
    links, subfolders that cannot be read, pipes and devices, and pictures and videos of kinds that are not read.

    Args:
        folder: a folder, or a link to one.
        follow_links: whether links to folders are followed, as for `look`.

    Raises:
        DataError: the folder does not exist, cannot be read, or holds no image.
    """
    try:
        if not folder.is_dir():
            found = "another kind of file" if os.path.lexists(folder) else "nothing"
            raise DataError(f"{folder}: expected a folder of images, found {'a file' if folder.is_file() else found}")
        listing = look(folder, follow_links=follow_links)
    except OSError as problem:
        raise DataError(f"{folder}: expected a folder that can be read, found: {problem.strerror}") from None
    said = remarks(listing)
    if not listing.images:
        found = "; ".join(["found none", *said])
        raise DataError(f"{folder}: expected images ({', '.join(SUFFIXES)}), {found}")
    for remark in said:
        log.warning("%s: %s", folder, remark)
    return tuple(page for path in sorted(folder / name for name in listing.images) for page in pages(path))


def name_of(path: Path, folder: Path) -> str:
    r"""The name of a file: its path relative to a folder, with forward slashes; as `as_text`."""
    return as_text(path.relative_to(folder).as_posix())


def as_text(name: str) -> str:
    r"""A name from the disk as text that can be stored and printed: bytes that are not UTF-8 are written as \xe4."""
    return name.encode("utf-8", sys.getfilesystemencodeerrors()).decode("utf-8", "backslashreplace")


def remarks(listing: Listing) -> list[str]:
    """What is left out of a folder, one line for each kind: bad entries, other kinds of pictures, linked folders."""
    said = []
    if listing.left_out:
        said.append(f"left out {_some(f'{_line(name)} ({why})' for name, why in sorted(listing.left_out.items()))}")
    if listing.kinds:
        said.append(_other_kinds(listing.kinds))
    if listing.links:
        folders = "folder" if len(listing.links) == 1 else "folders"
        names = _some(_line(name) for name in sorted(listing.links))
        said.append(f"left out the linked {folders} {names}; --follow-links follows links to folders")
    return said


def _other_kinds(kinds: Counter[str]) -> str:
    counts = _joined([f"{count} {kind}" for kind, count in sorted(kinds.items())])
    files = "file, which is" if kinds.total() == 1 else "files, which are"
    remedies = []
    if any(kind in UNREAD_SUFFIXES for kind in kinds):
        remedies.append("convert pictures to a kind that is, such as .png")
    if any(kind in VIDEO_SUFFIXES for kind in kinds):
        remedies.append("score a video by itself")
    return f"left out {counts} {files} not read from a folder; {_joined(remedies)}"


def _line(name: str) -> str:
    """A name in one line, whatever characters it has."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in as_text(name))


def _some(items: Iterable[str]) -> str:
    """The first few of some items, and the number of the others."""
    items = list(items)
    more = [f"{len(items) - NAMED} more"] if len(items) > NAMED else []
    return _joined(items[:NAMED] + more)


def _joined(items: list[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
