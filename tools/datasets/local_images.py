"""Images wherever they lie as local files, for everything that works with a folder.

A folder of this machine is passed on as it is. What lies at an address, or is listed in a dataset file, is copied: each
file whole and held against its hash, several at once, and laid out under its name.
"""

from __future__ import annotations

import csv
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from spade_edge.galleries.images import name_of, pages
from spade_edge.galleries.images.formats import SUFFIXES
from spade_edge.galleries.progress import Progress
from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.tools.datasets.dataset_file import SUFFIX, read_dataset
from spade_edge.tools.datasets.entry import Entry
from spade_edge.tools.datasets.image_cache import ImageCache, place, stamp
from spade_edge.tools.datasets.naming import naming, told
from spade_edge.tools.datasets.read_ahead import read_ahead
from spade_edge.tools.datasets.scanning import listed_images
from spade_edge.tools.datasets.stores import Stores
from spade_edge.tools.remote import Store, divided, joined, local_path, shown

log = logging.getLogger(__name__)

Value = TypeVar("Value")


@dataclass(frozen=True)
class LocalImages:
    """Images as local files. Use `images_at`.

    Attributes:
        folder: that holds them under their names; the file itself if a file of this machine was given.
        groups: which images show the same part, as for a build: what the user said, else a table of what the dataset
            says; None to find repeats.
        entries: of the dataset, by name, with the hash of each file; None for a folder of this machine.
        address: what messages call the folder.
    """

    folder: Path
    groups: str | None
    entries: tuple[Entry, ...] | None
    address: str
    _names: Mapping[str, str] = field(default_factory=dict, repr=False)

    def told(self, value: Value) -> Value:
        """A result with the address in place of the copies' folder, in every text of it."""
        return told(value, self._names) if self._names else value


@contextmanager
def images_at(
    text: str,
    *,
    groups: str | None = None,
    good_only: bool = False,
    progress: Progress = lambda items, label: items,
) -> Iterator[LocalImages]:
    """Images by a path or an address, as local files until the end of the block.

    Errors that leave the block, and what is logged in it, name the address and not the copies.

    Args:
        text: a folder, the address of a folder or of an image, or the path or address of a dataset file (.jsonl).
        groups: which images show the same part, as the user says; None for what the dataset says.
        good_only: whether images that a dataset labels as something else than good are left out.
        progress: wraps the images that are copied, with a label.

    Raises:
        DataError: nothing is there, it cannot be reached, or an image is not what the dataset says.
        UsageError, DeviceError: as for `Store`.
    """
    path = local_path(text)
    if path is not None and (path.suffix.lower() != SUFFIX or path.is_dir()):
        yield LocalImages(path, groups, None, str(path))
        return
    cache = ImageCache()
    with cache.room() as room:
        address = shown(text).rstrip("/") if path is None else str(path)
        if path is None and PurePosixPath(text).suffix.lower() in SUFFIXES:
            address = address.rpartition("/")[0]
        # The folder has the name of the one that it stands for, which tells images of one name apart.
        folder, table = room / "images" / (_name_of(address) or "images"), room / "groups.csv"
        # Of any room: what a command keeps for the next time, such as results of an evaluation, names an earlier one.
        rooms = rf"{re.escape(str(room.parent))}/[0-9a-f]+/"
        names = {
            rooms + re.escape(folder.relative_to(room).as_posix()): address,
            rooms + table.name: f"those of {address}",
        }
        with naming(names):
            if path is not None or text.lower().endswith(SUFFIX):
                entries = read_dataset(text)
                if good_only:
                    entries = _good(entries, address)
                _lay_out(entries, folder, cache, progress)
                groups = groups or _table_of_groups(entries, folder, table)
            else:
                entries = _copied(text, folder, progress)
            yield LocalImages(folder, groups, entries, address, names)


def _name_of(address: str) -> str:
    return PurePosixPath(address).name.removesuffix(SUFFIX)


def _good(entries: Sequence[Entry], address: str) -> tuple[Entry, ...]:
    good = tuple(entry for entry in entries if entry.good)
    others = Counter(entry.label for entry in entries if not entry.good)
    if not good:
        raise DataError(f"{address}: expected images of good parts, found only those labelled {_counted(others)}")
    if others:
        log.warning(
            "%s: left out %d of %d images, which are labelled %s",
            address,
            others.total(),
            len(entries),
            _counted(others),
        )
    return good


def _counted(labels: Counter[str]) -> str:
    return ", ".join(
        f"{label if label.isprintable() else repr(label)} ({count})" for label, count in sorted(labels.items())
    )


def _lay_out(entries: Sequence[Entry], folder: Path, cache: ImageCache, progress: Progress) -> None:
    """Copy the images of a dataset, or take them from the cache."""
    stores = Stores()

    def copy(numbered: tuple[int, Entry]) -> None:
        number, entry = numbered
        target = folder / entry.name
        with _placing(entry.name):
            if cache.take(entry.sha256, target):
                return
        store, name = stores.of(entry.address)
        arrived = folder.parent.with_name("arriving") / str(number)
        store.fetch(name, arrived, sha256=entry.sha256, size=entry.size)
        cache.keep(entry.sha256, arrived)
        with _placing(entry.name):
            _name(arrived, target, entry.sha256)

    copies = read_ahead(copy, enumerate(entries))
    for _ in progress(entries, "copying images"):
        next(copies)


def _copied(address: str, folder: Path, progress: Progress) -> tuple[Entry, ...]:
    """Copy every image at an address; returns what they are."""
    wanted: list[tuple[str, int | None]]
    if PurePosixPath(address).suffix.lower() in SUFFIXES:
        name = divided(address)[1].rpartition("/")[2]
        address = address.rpartition("/")[0]
        store, wanted = Store(address), [(name, None)]
    else:
        store = Store(address)
        wanted = [(image.name, image.size) for image in listed_images(store)]

    def copy(numbered: tuple[int, tuple[str, int | None]]) -> Entry:
        number, (name, size) = numbered
        arrived = folder.parent.with_name("arriving") / str(number)
        digest = store.fetch(name, arrived, size=size)
        entry = Entry(name, joined(address, name), digest, arrived.stat().st_size)
        with _placing(name):
            _name(arrived, folder / name, digest)
        return entry

    copies = read_ahead(copy, enumerate(wanted))
    return tuple(next(copies) for _ in progress(wanted, "copying images"))


def _name(arrived: Path, target: Path, digest: str) -> None:
    """Give a whole copy its name.

    Raises:
        OSError: the disk does not hold such a name, or another image has it: on some, upper and lower case are one.
    """
    stamp(arrived, digest)
    place(arrived, target)
    arrived.unlink()


@contextmanager
def _placing(name: str) -> Iterator[None]:
    """Say which image could not be given its name on this disk."""
    try:
        yield
    except OSError as problem:
        found = "another image or folder of that name" if isinstance(problem, FileExistsError) else problem.strerror
        raise DataError(
            f"{name}: expected a name that this disk can hold beside the others, found: {found}; rename the image"
        ) from None


def _table_of_groups(entries: Sequence[Entry], folder: Path, table: Path) -> str | None:
    """Write the groups as a build reads them; None if the dataset has none. An image without one is a part of its own.

    Raises:
        UsageError: a name that a table cannot hold.
    """
    if not any(entry.group for entry in entries):
        return None
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "group"))
        for entry in entries:
            for page in pages(folder / entry.name):
                if entry.group != entry.group.strip():
                    raise UsageError(
                        f"{entry.name}: expected a group without spaces at its ends, found {entry.group!r}; scan again"
                    )
                writer.writerow((name_of(page, folder), entry.group or f"{entry.name}: alone"))
    return str(table)
