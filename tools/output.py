"""Files that commands write: each appears whole or not at all, and nothing that another program wrote is replaced.

Commands may be run again, so a file that spade-edge wrote is replaced. It is known by a mark at its beginning: each
format has its own. A link is never written through, and never replaced, because spade-edge makes none.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from spade_edge.runtime.errors import DataError, UsageError

HEAD = 1024  # bytes at the beginning of a file that hold the mark

IsOurs = Callable[[bytes], bool]  # whether a file that begins with these bytes was written by spade-edge


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` at the end of the block, or is removed if the block fails.

    Args:
        path: the file; its folder is created if missing.

    Raises:
        DataError: it cannot be written, e.g. because the disk is full.
    """
    part = path.with_name(
        f".{secrets.token_hex(8)}.part"
    )  # a name of its own: that of `path` may be as long as allowed
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as problem:
        raise DataError(
            f"cannot write {path}: {problem.strerror or problem}; is the folder writable and the disk not full?"
        ) from None


@contextmanager
def creating(path: Path) -> Iterator[BinaryIO]:
    """A new file that appears at the end of the block under a name that is free, or is removed if the block fails.

    Args:
        path: the file; its folder is created if missing.

    Raises:
        UsageError: something has that name, perhaps since a moment ago.
        DataError: it cannot be written, e.g. because the disk is full.
    """
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                yield file
            _appear(part, path)
        finally:
            part.unlink(missing_ok=True)
    except FileExistsError:
        raise UsageError(
            f"{path}: expected a name that is free, found a file; choose another place, or move it away"
        ) from None
    except OSError as problem:
        raise DataError(
            f"cannot write {path}: {problem.strerror or problem}; is the folder writable and the disk not full?"
        ) from None


def _appear(part: Path, path: Path) -> None:
    """Give a whole file its name; unlike a move, this replaces nothing."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links, as of a memory card
        with path.open("xb") as file:
            file.write(part.read_bytes())


def check_replaceable(path: Path, is_ours: IsOurs) -> None:
    """Refuse to replace what spade-edge did not write.

    Args:
        path: the file that will be written.
        is_ours: knows the mark of its format.

    Raises:
        UsageError: something else has that name.
    """
    if not os.path.lexists(path):
        return
    if path.is_symlink():
        found = "a link"
    elif not path.is_file():
        found = "something that is no file"
    elif is_ours(_head(path)):
        return
    else:
        found = "a file that spade-edge did not write"
    raise UsageError(f"{path}: expected a name that is free, found {found}; choose another place, or move it away")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:  # whoever may not read it cannot have written it
        return b""
