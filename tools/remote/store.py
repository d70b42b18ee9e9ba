"""A folder, wherever it lies: on this machine, in an object store or on a web server. fsspec knows the ways there.

A lost connection is tried again. What is written appears whole or not at all, and so does what is fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.tools.extras import packages_of
from spade_edge.tools.output import replacing
from spade_edge.tools.remote.address import shown

log = logging.getLogger(__name__)

TRIES = 5  # of one request
SOONEST = 0.5  # seconds until the second try; the time doubles
BLOCK = 1 << 20  # bytes that are fetched at once

Found = TypeVar("Found")


class MissingError(DataError):
    """Nothing has that name."""


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


class Store:
    """A folder by its address. Names are relative to it, with slashes.

    Args:
        address: of the folder, or a path of this machine.

    Attributes:
        address: as messages repeat it, without secrets.

    Raises:
        UsageError: an address of an unknown kind.
        DeviceError: the package for this kind of address is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = shown(address).rstrip("/")
        with packages_of("remote", needed_by=f"an address such as {self.address}"):
            import fsspec
        try:
            self._files, self._root = fsspec.core.url_to_fs(address)
        except ImportError as problem:
            raise _lack(problem, self.address) from None
        except ValueError as problem:
            raise UsageError(f"{self.address}: expected a known kind of address, found: {problem}") from None
        self._root = self._root.rstrip("/")

    def listed(self) -> Iterator[Listed]:
        """Every file below the address, by name.

        Raises:
            MissingError: nothing is there.
            DataError: it cannot be reached, or cannot be listed.
        """
        try:
            found = self._tried(lambda: self._files.find(self._root, detail=True), "be listed")
        except MissingError:
            found = {}
        if not found:
            raise MissingError(f"{self.address}: expected files, found none")
        for path in sorted(found):
            yield _listed(path[len(self._root) :].lstrip("/"), found[path])

    def read(self, name: str, *, most: int) -> bytes:
        """A small file.

        Raises:
            MissingError: there is none.
            DataError: it has more than `most` bytes, or cannot be reached.
        """
        raw = self._tried(lambda: self._head(self._path(name), most + 1), "be read", name)
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
        return self._tried(lambda: self._copy(name, path, sha256=sha256, size=size), "be read", name)

    def put(self, name: str, content: bytes | Path) -> None:
        """Write a file, whole or not at all. One that is there is replaced.

        Raises:
            DataError: it cannot be written.
        """
        self._tried(lambda: self._write(self._path(name), content), "be written", name)

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name.

        Raises:
            DataError: the address cannot be reached.
        """
        return bool(self._tried(lambda: self._files.isfile(self._path(name)), "be read", name))

    def remove(self, name: str) -> None:
        """Remove a file; it is no error if there is none.

        Raises:
            DataError: it cannot be removed.
        """
        with contextlib.suppress(MissingError):
            self._tried(lambda: self._files.rm_file(self._path(name)), "be removed", name)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _shown(self, name: str) -> str:
        return f"{self.address}/{name}" if name else self.address

    def _head(self, path: str, most: int) -> bytes:
        with self._files.open(path, "rb") as file:
            return bytes(file.read(most))

    def _copy(self, name: str, path: Path, *, sha256: str | None, size: int | None) -> str:
        digest, length = hashlib.sha256(), 0
        with self._files.open(self._path(name), "rb") as source, replacing(path) as target:
            while block := source.read(BLOCK):
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

    def _write(self, path: str, content: bytes | Path) -> None:
        # An object store shows an object when it is whole. A folder would show the beginning of a file.
        local = "file" in self._protocols
        place = f"{path.rpartition('/')[0]}/.{secrets.token_hex(8)}.part" if local else path
        if local:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        try:
            if isinstance(content, Path):
                self._files.put_file(str(content), place)
            else:
                self._files.pipe_file(place, content)
            if local:
                Path(place).replace(path)
        finally:
            if local:
                Path(place).unlink(missing_ok=True)

    @property
    def _protocols(self) -> tuple[str, ...]:
        found = self._files.protocol
        return (found,) if isinstance(found, str) else tuple(found)

    def _tried(self, call: Callable[[], Found], what: str, name: str = "") -> Found:
        """What a call returns; a fault that may pass is given some tries.

        Raises:
            MissingError, DataError: it does not pass.
        """
        for number in range(1, TRIES + 1):
            try:
                return call()
            except DataError:
                raise
            except FileNotFoundError:
                raise MissingError(f"{self._shown(name)}: expected a file, found none") from None
            except Exception as problem:  # each kind of store has its own
                if isinstance(problem, PermissionError) or number == TRIES:
                    raise DataError(f"{self._shown(name)}: cannot {what}: {_words(problem)}") from None
                log.info("%s: try %d of %d: %s", self._shown(name), number, TRIES, _words(problem))
                time.sleep(SOONEST * 2 ** (number - 1))
        raise AssertionError


def _listed(name: str, info: dict[str, Any]) -> Listed:
    moment = info.get("LastModified") or info.get("mtime") or info.get("updated")
    return Listed(
        name=name,
        size=info.get("size"),
        time=datetime.fromtimestamp(moment).astimezone() if isinstance(moment, int | float) else moment,
        mark=str(info.get("ETag") or info.get("etag") or "").strip('"'),
    )


def _words(problem: Exception) -> str:
    return shown(str(problem)) or type(problem).__name__


def _lack(problem: ImportError, address: str) -> Exception:
    from spade_edge.runtime.errors import DeviceError

    return DeviceError(f"{address}: expected the package for this kind of address, found: {problem}")
