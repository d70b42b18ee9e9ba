"""A registry for tests that does what another one does; tests override what they want to watch or break."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spade_edge.tools.registry import Blob, Registry


@dataclass
class Passing:
    """Passes every call on to another registry."""

    inner: Registry

    @property
    def address(self) -> str:
        return self.inner.address

    def names(self) -> tuple[str, ...]:
        return self.inner.names()

    def tags(self, name: str) -> tuple[str, ...]:
        return self.inner.tags(name)

    def manifest(self, name: str, reference: str) -> bytes:
        return self.inner.manifest(name, reference)

    def has(self, name: str, blob: Blob) -> bool:
        return self.inner.has(name, blob)

    def read(self, name: str, blob: Blob, *, most: int) -> bytes:
        return self.inner.read(name, blob, most=most)

    def fetch(self, name: str, blob: Blob, path: Path) -> None:
        self.inner.fetch(name, blob, path)

    def put(self, name: str, blob: Blob, content: bytes | Path, *, siblings: Sequence[str] = ()) -> int:
        return self.inner.put(name, blob, content, siblings=siblings)

    def put_manifest(self, name: str, raw: bytes) -> None:
        self.inner.put_manifest(name, raw)

    def put_tag(self, name: str, tag: str, raw: bytes) -> None:
        self.inner.put_tag(name, tag, raw)
