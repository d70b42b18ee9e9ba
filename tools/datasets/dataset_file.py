"""The dataset file: one line of JSON for each image. It says where images lie, and what they were when it was written.

    {"sha256": "9f86…", "size": 48213, "name": "bolts/017.png", "address": "s3://plant/bolts/017.png", "label": "good"}

A file begins as spade-edge writes it, so that it is known. Fields that are empty are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.runtime.fields import Fields
from spade_edge.tools.datasets.entry import Entry, fault_of
from spade_edge.tools.output import check_replaceable, replacing
from spade_edge.tools.remote import Store, divided, is_address, joined, local_path, shown

SUFFIX = ".jsonl"
LARGEST = 256 << 20  # bytes of a file: some 500,000 images
_HASH = re.compile(r"[0-9a-f]{64}")
_MARK = re.compile(rb'\{"sha256": "[0-9a-f]{64}", "size": \d+, "name": "')
_OPTIONAL = ("group", "label", "camera", "time")


def read_dataset(address: str) -> tuple[Entry, ...]:
    """Read a dataset file.

    Args:
        address: its path or address.

    Returns:
        its images by name, each with an absolute path or address.

    Raises:
        DataError: there is none, it cannot be reached or read, or a line is not that of an image.
        UsageError, DeviceError: as for `Store`.
    """
    path = local_path(address)
    where, raw = (str(path), _of_disk(path)) if path is not None else (shown(address), _fetched(address))
    try:
        lines = raw.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise DataError(f"{where}: expected a dataset file in UTF-8, found another encoding; scan again") from None
    entries: dict[str, Entry] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{where}, line {number}"
        entry = _resolved(_entry(line, place), address, place)
        if entry.name in entries:
            raise DataError(f"{place}: expected each name once, found {entry.name} again; remove one of them")
        entries[entry.name] = entry
    if not entries:
        raise DataError(f"{where}: expected a line for each image, found none; scan again")
    return tuple(entries[name] for name in sorted(entries))


def write_dataset(path: Path, entries: Iterable[Entry]) -> None:
    """Write a dataset file, by name. The same images give the same bytes.

    The address of an image that lies in the folder of the file, or below it, is written relative to it, so that both
    can be moved together.

    Raises:
        UsageError: as for `check_dataset`.
        DataError: it cannot be written.
    """
    check_dataset(path)
    with replacing(path) as file:
        for entry in sorted(entries, key=lambda each: each.name):
            file.write(_line(replace(entry, address=_relative(entry.address, path.resolve().parent))))


def check_dataset(path: Path) -> None:
    """Refuse a name by which no command would know a dataset file, and to replace what is none.

    Raises:
        UsageError: another suffix, or something that spade-edge did not write has that name.
    """
    if path.suffix.lower() != SUFFIX:
        raise UsageError(
            f"{path}: expected a name that ends in {SUFFIX}, found another; choose one, such as parts{SUFFIX}"
        )
    check_replaceable(path, lambda head: _MARK.match(head) is not None)


def _of_disk(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path}: expected a dataset file of at most {LARGEST} bytes, found more; divide it")
        return path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path}: expected a dataset file, found: {problem.strerror}") from None


def _fetched(address: str) -> bytes:
    folder, name = divided(address)
    return Store(folder).read(name, most=LARGEST)


def _entry(line: str, place: str) -> Entry:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(f"{place}: expected one JSON object for each image, found something else") from None
    optional = dict.fromkeys(_OPTIONAL, "")
    fields = Fields(optional | value if isinstance(value, dict) else value, where=place, error=DataError)
    entry = Entry(
        name=fields.text("name"),
        address=fields.text("address"),
        sha256=fields.text("sha256"),
        size=fields.integer("size"),
        **{name: fields.text(name) for name in _OPTIONAL},
    )
    if fault := fault_of(entry.name):
        raise DataError(f"{place}: expected the name of an image below its folder, found {fault}")
    if not _HASH.fullmatch(entry.sha256):
        raise DataError(f"{place}: expected 64 hexadecimal digits as 'sha256', found others; scan again")
    if not entry.address or "\0" in entry.address:
        raise DataError(f"{place}: expected an address, found none; scan again")
    return entry


def _resolved(entry: Entry, file: str, place: str) -> Entry:
    """The entry with an absolute address.

    Raises:
        DataError: the address leaves the folder of the file, or is a path although the file lies elsewhere.
    """
    path, own = local_path(entry.address), local_path(file)
    if path is None:
        return entry
    if own is None and (path.is_absolute() or is_address(entry.address)):
        raise DataError(
            f"{place}: expected an address, as the file does not lie on this machine, found a path; scan again"
        )
    if path.is_absolute():
        return replace(entry, address=str(path))
    if ".." in path.parts:
        raise DataError(f"{place}: expected an address below the folder of the file, found '..' in it; scan again")
    if own is not None:
        return replace(entry, address=str(own.resolve().parent / path))
    folder, name = divided(file)
    return replace(entry, address=joined(folder, f"{name.rpartition('/')[0]}/{entry.address}".lstrip("/")))


def _relative(address: str, folder: Path) -> str:
    path = local_path(address)
    if path is None:
        return address
    path = path.absolute()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _line(entry: Entry) -> bytes:
    fields = asdict(entry)
    order = ("sha256", "size", "name", "address", *_OPTIONAL)
    value = {name: fields[name] for name in order if name not in _OPTIONAL or fields[name]}
    try:
        return (json.dumps(value, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a path that is not UTF-8
        return (json.dumps(value) + "\n").encode()
