"""Reports in a folder: each line writes its own file there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from spade_edge.runtime.errors import DataError
from spade_edge.runtime.legible import legible
from spade_edge.tools.fleet.status.report import LARGEST, LineReport, Skipped, read_report

SUFFIX = ".json"


def reports_in(folder: Path) -> Iterator[LineReport | Skipped]:
    """Read every .json file of a folder, in the order of their names, one after the other.

    Hidden files, which are being written, and files with other names are passed over. What is no report is skipped with
    one line.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            names = sorted(each.name for each in found if each.name.endswith(SUFFIX) and each.name[0] != ".")
    except OSError as problem:
        raise DataError(
            f"{folder}: expected a folder with reports, found: {problem.strerror}; is the share mounted?"
        ) from None
    for name in names:
        place = legible(name)
        try:
            yield read_report(_content(folder / name), place=place)
        except FileNotFoundError:
            continue  # it was removed meanwhile
        except OSError as problem:
            yield Skipped(f"{place}: expected a report, found that it cannot be read: {problem.strerror}")
        except DataError as problem:
            yield Skipped(str(problem))


def _content(path: Path) -> bytes:
    # A pipe would wait for a writer for ever, and a device could have no end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(LARGEST + 1) or b""
