"""What a store asks of a kind of place: files below one folder, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

BLOCK = 1 << 20  # bytes that are read at once


@dataclass(frozen=True)
class Listed:
    """A file at an address.

    Attributes:
        name: below the address, with slashes.
        size: in bytes; None if the server does not say.
        time: when it was last changed; None if the server does not say.
        mark: changes if the file does, such as its ETag; empty if the server does not say.
    """

    name: str
    size: int | None
    time: datetime | None
    mark: str


class Readable(Protocol):
    """A file that is read from its beginning."""

    def read(self, count: int, /) -> bytes:
        """The next bytes, at most so many; none at the end."""
        ...


def head(file: Readable, most: int) -> bytes:
    """The first bytes of a file, at most so many."""
    blocks, length = [], 0
    while length < most and (block := file.read(min(BLOCK, most - length))):
        blocks.append(block)
        length += len(block)
    return b"".join(blocks)


class Files(Protocol):
    """Files below a folder. Names are relative, with slashes; an empty one is the address itself.

    Every verb raises FileNotFoundError where there is no such file, PermissionError where it may not be used, and
    whatever exception its library has for other faults.
    """

    def listed(self) -> Iterator[Listed]:
        """Every file, in any order."""
        ...

    def opened(self, name: str, *, size: int | None) -> AbstractContextManager[Readable]:
        """A file to be read; `size` is what it is said to have, which spares a request."""
        ...

    def write(self, name: str, content: bytes | Path) -> None:
        """Write a file, which appears whole or not at all."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file."""
        ...

    def passes(self, problem: Exception) -> bool:
        """Whether a fault may pass, so that another try makes sense."""
        ...
