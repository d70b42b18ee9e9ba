"""What was made before, by the key of the work: in a folder, or at any address.

    results/KIND/KEY.json      what was made: size and SHA-256 of the file, and some facts about it
    content/SHA256             a file, named after its content

A file is written before the result that names it, and each appears whole or not at all. So a result always names a
whole file, two workers that make the same at once write the same, and what was damaged later is found by its hash.
Nothing is read that is not named by a hash, and deleting anything costs no more than making it again.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spade_edge.runtime.digest import sha256
from spade_edge.runtime.errors import DataError
from spade_edge.runtime.fields import parse
from spade_edge.tools.remote import MissingError, Store

BUNDLES, SHARDS = "bundles", "shards"  # kinds of results
LARGEST = 16 << 20  # bytes of a result, which is a few hundred, and some more for each part and each remark
_HASH = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Content:
    """A file in the cache.

    Attributes:
        sha256: of the file, 64 hexadecimal digits.
        size: in bytes.
    """

    sha256: str
    size: int


@dataclass(frozen=True)
class Made:
    """Something that was made.

    Attributes:
        content: the file.
        facts: about it, JSON values by name.
    """

    content: Content
    facts: dict[str, Any]


class Cache:
    """A cache by its address.

    Args:
        address: a folder, or the address of one. It need not exist.

    Raises:
        UsageError, DeviceError: as for `Store`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._store = Store(address)

    def made(self, kind: str, key: str) -> Made | None:
        """What was made with that key; None if nothing was, or what is there is damaged.

        Raises:
            DataError: the cache cannot be reached.
        """
        name = _result(kind, key)
        try:
            raw = self._store.read(name, most=LARGEST)
        except MissingError:
            return None
        try:
            fields = parse(raw, where=name, error=DataError)
            content = fields.object("content")
            found = Made(Content(content.text("sha256"), content.integer("size")), fields.open_object("facts"))
        except DataError:
            found = None
        if found is None or not _HASH.fullmatch(found.content.sha256):
            log.warning("%s/%s: expected what was made before, found it damaged; it is made anew", self._shown, name)
            return None
        return found

    def keep(self, kind: str, key: str, file: Path, facts: dict[str, Any]) -> Made:
        """Keep what was made with that key; what is there is replaced.

        Raises:
            DataError: it cannot be written.
        """
        made = Made(self.put(file), facts)
        self._store.put(_result(kind, key), json.dumps(asdict(made), sort_keys=True).encode())
        return made

    def put(self, file: Path) -> Content:
        """Put a file there; one that is there, perhaps damaged, is replaced.

        Raises:
            DataError: it cannot be written.
        """
        content = Content(sha256(file), file.stat().st_size)
        self._store.put(_name(content), file)
        return content

    def fetch(self, content: Content, path: Path) -> Path:
        """Copy a file to this machine; gives the path.

        Raises:
            MissingError: it is not there.
            DataError: it is damaged, or the cache cannot be reached.
        """
        self._store.fetch(_name(content), path, sha256=content.sha256, size=content.size)
        return path

    def forget(self, kind: str, key: str) -> None:
        """Remove what was made with that key, as far as it is there.

        Raises:
            DataError: it cannot be removed.
        """
        made = self.made(kind, key)
        self._store.remove(_result(kind, key))
        if made is not None:
            self.remove(made.content)

    def remove(self, content: Content) -> None:
        """Remove a file; it is no error if there is none.

        Raises:
            DataError: it cannot be removed.
        """
        self._store.remove(_name(content))

    @property
    def _shown(self) -> str:
        return self._store.address


def _result(kind: str, key: str) -> str:
    return f"results/{kind}/{key}.json"


def _name(content: Content) -> str:
    return f"content/{content.sha256}"
