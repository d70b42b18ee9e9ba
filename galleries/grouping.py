"""Which images show one and the same part: as the user says, or by finding repeats."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import file_of
from spade_edge.galleries.progress import Progress
from spade_edge.runtime import DataError, DeviceError, UsageError

FOLDER = "folder"


def groups_of(names: Sequence[str], spec: str, *, folder: Path) -> tuple[int, ...]:
    """Number the groups of the good images.

    Args:
        names: of the images, relative to their folder, with "/" between folders.
        spec: "folder": images in one subfolder are one part, and each image directly in the top folder is a part of
            its own. A path that ends in .csv: a table of name and group, in UTF-8, separated by commas or semicolons,
            with or without the header "name,group", which lists each image once. Anything else is a regular
            expression: what its first group finds in a name, or all that it finds if it has no group, is the part's
            identity.
        folder: of the images; it is only named in messages.

    Returns:
        The group of each image: 0, 1, 2 … in the order in which the groups appear.

    Raises:
        UsageError: an expression that is not valid, or that does not match each name.
        DataError: a table that cannot be read, or that does not list each image exactly once; fewer than two groups.
    """
    parts = identities_of(names, spec, folder=folder)
    numbers: dict[str, int] = {}
    groups = tuple(numbers.setdefault(part, len(numbers)) for part in parts)
    if len(numbers) < 2:
        raise DataError(
            f"{folder}: expected images of at least 2 parts, found {len(numbers)} group of {len(names)} images with "
            f"--groups {spec}; choose groups that tell the parts apart"
        )
    return groups


def identities_of(names: Sequence[str], spec: str, *, folder: Path) -> list[str]:
    """What identifies the part that each image shows; the image's own name if it lies in the top folder.

    Args:
        names: of the images, as for `groups_of`.
        spec: which images show the same part, as for `groups_of`.
        folder: of the images; it is only named in messages.

    Raises:
        UsageError: an expression that is not valid, or that does not match each name.
        DataError: a table that cannot be read, or that does not list each image exactly once.
    """
    if spec == FOLDER:
        return [_subfolder(name) for name in names]
    if spec.lower().endswith(".csv"):
        return _from_table(names, Path(spec), folder)
    return _matched(names, spec)


def _subfolder(name: str) -> str:
    """The subfolder of an image, or the image itself if it lies in the top folder; a "/" keeps both apart."""
    parent = PurePosixPath(name).parent.as_posix()
    return name if parent == "." else f"{parent}/"


def _matched(names: Sequence[str], expression: str) -> list[str]:
    try:
        pattern = re.compile(expression)
    except re.error as problem:
        raise UsageError(
            f"--groups {expression}: expected 'folder', a .csv file or a regular expression, found an expression with "
            f"an error: {problem}"
        ) from None
    parts = [_identity(pattern.search(name)) for name in names]
    others = [name for name, part in zip(names, parts, strict=True) if part is None]
    if others:
        raise UsageError(
            f"--groups {expression}: expected an expression that matches the name of each image, found {len(others)} "
            f"of {len(names)} without a match, the first is {others[0]}; widen the expression or list the groups in a "
            f".csv file"
        )
    return [part for part in parts if part is not None]


def _identity(match: re.Match[str] | None) -> str | None:
    """What identifies the part; None if the expression, or its first group, is not in the name."""
    if match is None:
        return None
    return match[1] if match.re.groups else match[0]


def _from_table(names: Sequence[str], path: Path, folder: Path) -> list[str]:
    listed: dict[str, str] = {}
    known = set(names)
    for line, row in _rows(path):
        if len(row) != 2 or not all(row):
            raise DataError(f"{path}, line {line}: expected a name and a group, found {row}; one image a line")
        name, group = row
        if name not in known and file_of(folder / name).is_file():
            continue  # an image, or a page of one, that was skipped
        if name not in known:
            raise DataError(
                f"{path}, line {line}: expected the name of an image relative to {folder}, found {name}; correct or "
                f"remove the line"
            )
        if name in listed:
            raise DataError(f"{path}, line {line}: expected each image once, found {name} again; remove one of them")
        listed[name] = group
    missing = [name for name in names if name not in listed]
    if missing:
        raise DataError(
            f"{path}: expected each image of {folder}, found no line for {len(missing)} of {len(names)}, the first is "
            f"{missing[0]}; add name and group of each"
        )
    return [listed[name] for name in names]


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The lines of a table with their numbers, without the header and empty lines; spaces around a field are dropped.

    The separator is the one that the first line holds: a semicolon, else a comma.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # Excel writes a byte-order mark
    except OSError as problem:
        raise DataError(f"{path}: expected a table of name and group, found: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected a table in UTF-8, found another encoding; save it as UTF-8") from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(text.splitlines(), delimiter=";" if ";" in first else ",", strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            if any(fields):
                rows.append((reader.line_num, fields))
    except csv.Error as problem:
        raise DataError(f"{path}, line {reader.line_num}: expected a name and a group, found: {problem}") from None
    if rows and [field.lower() for field in rows[0][1]] == ["name", "group"]:
        del rows[0]
    return rows


def parts_of(
    views: NDArray[np.float32], names: Sequence[str], spec: str | None, *, folder: Path, progress: Progress
) -> tuple[int, ...]:
    """The part that each image shows, as the user says, or by finding repeats.

    Args:
        views: (N, V, H, W, 3) float32 BGR, 0 to 255.
        names: of the images, relative to their folder.
        spec: as for `groups_of`; None to find repeats.
        folder: of the images.
        progress: wraps the items of each long loop, with its label.

    Raises:
        DataError, UsageError: as for `groups_of`.
        DeviceError: repeats are to be found, and OpenCV is not installed.
    """
    if spec is not None:
        return groups_of(names, spec, folder=folder)
    try:
        from spade_edge.galleries.repeats import find_repeats
    except ModuleNotFoundError:
        raise DeviceError(
            "expected OpenCV, which finds images of the same part, found none: pip install 'spade-edge[galleries]', or "
            "say with --groups which images show the same part"
        ) from None
    return find_repeats(views, names=names, progress=progress)
