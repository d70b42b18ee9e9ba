"""A folder, wherever it lies: on this machine, in an object store or on a web server.

A lost connection is tried again. What is written appears whole or not at all, and so does what is fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from spade_edge.runtime.errors import DataError, SpadeError
from spade_edge.tools.output import replacing
from spade_edge.tools.remote.address import is_name, local_path, shown
from spade_edge.tools.remote.files import BLOCK, Files, Listed, Readable, head
from spade_edge.tools.remote.filesystem import WITHOUT_LOGIN, connected
from spade_edge.tools.remote.folder import Folder
from spade_edge.tools.remote.retrying import retried
from spade_edge.tools.sources.address import without_secrets

TRIES = 5  # of one request
SOONEST = 0.5  # seconds until the second try; the time doubles

Found = TypeVar("Found")


class MissingError(DataError):
    """Nothing has that name."""


class Store:
    """A folder by its address. Names are relative to it, with slashes; an empty one is the address itself.

    A store may be used by several threads.

    Args:
        address: of the folder, or a path of this machine.

    Attributes:
        address: as messages repeat it, without secrets.

    Raises:
        UsageError: an address of an unknown kind.
        DeviceError: the package for this kind of address is not installed.
        DataError: its settings on this machine cannot be used.
    """

    def __init__(self, address: str) -> None:
        path = local_path(address)
        self.address = shown(address).rstrip("/") if path is None else str(path)
        self._files: Files = connected(address) if path is None else Folder(path)

    def listed(self) -> Iterator[Listed]:
        """Every file below the address, by name.

        Raises:
            MissingError: nothing is there.
            DataError: it cannot be reached, or cannot be listed.
        """
        found: list[Listed] = []
        with contextlib.suppress(MissingError):
            found = self._tried(lambda: list(self._files.listed()), "be listed")
        if not found:
            raise MissingError(f"{self.address}: expected files, found none; check the address")
        yield from sorted(found, key=lambda each: each.name)

    def read(self, name: str, *, most: int) -> bytes:
        """A small file.

        Raises:
            MissingError: there is none.
            DataError: it has more than `most` bytes, or cannot be reached.
        """
        self._check(name)
        raw = self._tried(lambda: self._head(name, most + 1), "be read", name)
        if len(raw) > most:
            raise DataError(f"{self._shown(name)}: expected at most {most} bytes, found more")
        return raw

    def fetch(self, name: str, path: Path, *, sha256: str | None = None, size: int | None = None) -> str:
        """Copy a file to this machine, whole or not at all; returns its SHA-256.

        Args:
            name: of the file.
            path: where it goes; its folder is made. A file that is there is replaced.
            sha256: that it must have; None for any.
            size: that it must have, in bytes; a longer file is not read to its end.

        Raises:
            MissingError: there is none.
            DataError: it has another hash or size, or cannot be reached or written.
        """
        self._check(name)
        return self._tried(lambda: self._copy(name, path, sha256=sha256, size=size), "be read", name)

    def put(self, name: str, content: bytes | Path) -> None:
        """Write a file, whole or not at all. One that is there is replaced.

        Raises:
            DataError: it cannot be written.
        """
        self._check(name)
        try:
            self._tried(lambda: self._files.write(name, content), "be written", name)
        except MissingError:
            raise DataError(
                f"{self._shown(name)}: cannot be written: expected a bucket of that name, found none; make it first"
            ) from None

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name.

        Raises:
            DataError: the address cannot be reached.
        """
        self._check(name)
        return self._tried(lambda: self._files.exists(name), "be read", name)

    def remove(self, name: str) -> None:
        """Remove a file; it is no error if there is none.

        Raises:
            DataError: it cannot be removed.
        """
        self._check(name)
        with contextlib.suppress(MissingError):
            self._tried(lambda: self._files.remove(name), "be removed", name)

    def _check(self, name: str) -> None:
        """Refuse a name that could lead out of the folder, or that is no name."""
        if name and not is_name(name):
            raise DataError(
                f"{self.address}: expected a name below this address, found {name[:200]!r}; rename the file"
            )

    def _shown(self, name: str) -> str:
        return f"{self.address}/{name}" if name else self.address

    def _head(self, name: str, most: int) -> bytes:
        """The first bytes of a file."""
        with self._files.opened(name, size=None) as file:
            return head(file, most)

    def _copy(self, name: str, path: Path, *, sha256: str | None, size: int | None) -> str:
        digest, length = hashlib.sha256(), 0
        # A known size spares a request. It is only believed together with a hash, which finds a file that is longer.
        with self._files.opened(name, size=size if sha256 else None) as source, replacing(path) as target:
            while block := _next(source):
                length += len(block)
                if size is not None and length > size:
                    break
                digest.update(block)
                target.write(block)
            if size is not None and length != size:
                found = "more" if length > size else length
                raise DataError(f"{self._shown(name)}: expected {size} bytes, found {found}; it has been changed")
            if sha256 is not None and digest.hexdigest() != sha256:
                raise DataError(
                    f"{self._shown(name)}: expected the SHA-256 {sha256[:16]}…, found {digest.hexdigest()[:16]}…; "
                    "it has been changed"
                )
        return digest.hexdigest()

    def _tried(self, call: Callable[[], Found], what: str, name: str = "") -> Found:
        """What a call returns; a fault that may pass is given some tries.

        Raises:
            MissingError, DataError: it does not pass.
        """

        def judge(caught: Exception) -> SpadeError | str:
            problem = caught.problem if isinstance(caught, _BrokenOffError) else caught
            if isinstance(problem, FileNotFoundError):
                return MissingError(f"{self._shown(name)}: expected a file, found none")
            return _words(problem) if self._files.passes(problem) else DataError(f"{about}: {_words(problem)}")

        about = f"{self._shown(name)}: cannot {what}"
        return retried(call, about=about, judge=judge, tries=TRIES, soonest=SOONEST)


class _BrokenOffError(Exception):
    """Reading failed: kept apart from a failure to write, which may be an OSError just the same."""

    def __init__(self, problem: Exception) -> None:
        super().__init__()
        self.problem = problem


def _next(source: Readable) -> bytes:
    try:
        return source.read(BLOCK)
    except Exception as problem:
        raise _BrokenOffError(problem) from None


def _words(problem: Exception) -> str:
    """An exception in one line, without what may be secret in it."""
    if isinstance(problem, PermissionError):
        return f"access is refused ({without_secrets(str(problem))}); is the login right, and may it do this?"
    said = without_secrets(str(problem)) or type(problem).__name__
    if type(problem).__name__ in WITHOUT_LOGIN:
        return f"{said}; give a login in the environment, or in the files that are usual for this store"
    return said
