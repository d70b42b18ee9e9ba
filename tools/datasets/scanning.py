"""Scanning: every image below a folder or an address, with its hash."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import TypeVar

from spade_edge.galleries.grouping import FOLDER, identities_of
from spade_edge.galleries.images import file_of, find_images, name_of
from spade_edge.galleries.images.folder import remarks
from spade_edge.galleries.images.formats import SUFFIXES, UNREAD_SUFFIXES, VIDEO_SUFFIXES
from spade_edge.galleries.images.listing import Listing
from spade_edge.galleries.progress import Progress
from spade_edge.runtime.digest import sha256
from spade_edge.runtime.errors import DataError
from spade_edge.tools.datasets.entry import Entry, fault_of
from spade_edge.tools.datasets.image_cache import ImageCache
from spade_edge.tools.datasets.read_ahead import read_ahead
from spade_edge.tools.remote import Listed, Store, joined, local_path

log = logging.getLogger(__name__)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Hashed:
    """A file as it was when it was hashed."""

    sha256: str
    size: int
    time: datetime | None


def scan(
    address: str,
    *,
    camera: str = "",
    label: str = "",
    groups: str | None = None,
    follow_links: bool = False,
    progress: Progress = lambda items, label: items,
) -> tuple[Entry, ...]:
    """Find the images below a folder or an address, and hash each of them.

    Which files are images is decided by their names, as for a build.

    Args:
        address: a folder of this machine, or the address of one.
        camera: that took the images.
        label: of the images, such as "good"; "folder" for the name of the folder that each lies in.
        groups: which images show the same part: "folder", a regular expression or a table, as for a build; None for no
            groups.
        follow_links: whether links to folders are followed, on this machine.
        progress: wraps the images, with a label.

    Returns:
        the images by name, with absolute paths or addresses.

    Raises:
        DataError: there are no images, or one cannot be read.
        UsageError, DeviceError: as for `Store` and `groups_of`.
    """
    path = local_path(address)
    if path is not None:
        found = _on_disk(path, follow_links=follow_links, progress=progress)
    else:
        found = _elsewhere(address, progress=progress)
    names = sorted(found)
    parts = [""] * len(names) if groups is None else _groups(names, groups, Path(address))
    return tuple(
        Entry(
            name=name,
            address=joined(address, name) if path is None else str(path.absolute() / found[name][0]),
            sha256=found[name][1].sha256,
            size=found[name][1].size,
            group=part,
            label=PurePosixPath(name).parent.name if label == FOLDER else label,
            camera=camera,
            time=_utc(found[name][1].time),
        )
        for name, part in zip(names, parts, strict=True)
    )


def listed_images(store: Store) -> list[Listed]:
    """The images at an address, by name. What is left out is logged, as for a folder.

    Raises:
        DataError: there are none, or the address cannot be listed.
    """
    images: dict[str, Listed] = {}
    left_out: dict[str, str] = {}
    kinds: Counter[str] = Counter()
    for file in store.listed():
        suffix = PurePosixPath(file.name).suffix.lower()
        if any(part.startswith(".") and part != ".." for part in file.name.split("/")):
            continue  # hidden, as in a folder
        if suffix in UNREAD_SUFFIXES or suffix in VIDEO_SUFFIXES:
            kinds[suffix] += 1
        elif suffix in SUFFIXES and (fault := fault_of(file.name)):
            left_out[file.name] = fault
        elif suffix in SUFFIXES:
            images[file.name] = file
    said = remarks(Listing(left_out=left_out, kinds=kinds))
    if not images:
        found = "; ".join(["found none", *said])
        raise DataError(f"{store.address}: expected images ({', '.join(SUFFIXES)}), {found}")
    for remark in said:
        log.warning("%s: %s", store.address, remark)
    return list(images.values())


def _on_disk(folder: Path, *, follow_links: bool, progress: Progress) -> dict[str, tuple[str, Hashed]]:
    """Path and hash of each image by its name."""
    paths = sorted({file_of(path) for path in find_images(folder, follow_links=follow_links)})

    def hashed(path: Path) -> Hashed:
        try:
            status = path.stat()
            return Hashed(sha256(path), status.st_size, datetime.fromtimestamp(status.st_mtime, timezone.utc))
        except OSError as problem:
            raise DataError(f"{path}: expected an image that can be read, found: {problem.strerror}") from None

    found = {}
    for path, file in _with_progress(hashed, paths, progress):
        name = name_of(path, folder)
        if fault := fault_of(name):
            raise DataError(f"{path}: expected a name that a dataset can hold, found {fault}; rename the file")
        found[name] = (path.relative_to(folder).as_posix(), file)
    return found


def _elsewhere(address: str, *, progress: Progress) -> dict[str, tuple[str, Hashed]]:
    """The same of an address. What is fetched stays in the cache for the build that follows."""
    store, cache = Store(address), ImageCache()
    images = listed_images(store)
    with cache.room() as room:

        def hashed(numbered: tuple[int, Listed]) -> Hashed:
            number, image = numbered
            copy = room / str(number)
            digest = store.fetch(image.name, copy, size=image.size)
            size = copy.stat().st_size
            cache.keep(digest, copy)
            copy.unlink()
            return Hashed(digest, size, image.time)

        return {
            image.name: (image.name, file)
            for (_, image), file in _with_progress(hashed, list(enumerate(images)), progress)
        }


def _groups(names: Sequence[str], groups: str, folder: Path) -> list[str]:
    """The group of each image; empty for one that is a part of its own."""
    parts = identities_of(names, groups, folder=folder)
    if groups == FOLDER:
        parts = [part.removesuffix("/") for part in parts]
    return ["" if part == name else part for name, part in zip(names, parts, strict=True)]


def _with_progress(
    call: Callable[[Item], Hashed], items: Sequence[Item], progress: Progress
) -> Iterator[tuple[Item, Hashed]]:
    results = read_ahead(call, items)
    for item in progress(items, "hashing images"):
        yield item, next(results)


def _utc(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(timezone.utc).isoformat(timespec="seconds")
