"""Which bundle of a registry is meant: NAME, NAME:TAG or NAME@DIGEST."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spade_edge.runtime.bundle.manifest import HASH
from spade_edge.runtime.errors import UsageError

LONGEST = 200  # characters of a name
LATEST = "latest"  # the tag that `push` moves
RECORD = ".record"  # ends the tags under which the moves of channels are kept
SHORTEST = 8  # hexadecimal digits of a digest that are enough to find it

_PART = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")  # of a name, between slashes
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}")
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{8,64})")


@dataclass(frozen=True)
class Reference:
    """A bundle in a registry.

    Attributes:
        name: of the bundle, such as "bolt" or "press-3/bolt".
        tag: of one of its versions, or a channel; empty if none is given.
        digest: of a version, 8 to 64 hexadecimal digits; empty if none is given.
    """

    name: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def of(cls, text: str) -> Reference:
        """Read NAME, NAME:TAG or NAME@DIGEST.

        Raises:
            UsageError: it is something else.
        """
        if "@" in text:
            name, _, digest = text.partition("@")
            found = _DIGEST.fullmatch(digest)
            if found is None:
                raise UsageError(
                    f"expected a digest of {SHORTEST} to 64 hexadecimal digits behind the @, found {digest[:80]!r}"
                )
            return cls(checked_name(name), digest=found[1])
        name, colon, tag = text.partition(":")
        return cls(checked_name(name), tag=checked_tag(tag) if colon else "")

    def __str__(self) -> str:
        return (
            f"{self.name}@{self.digest[:16]}" if self.digest else f"{self.name}:{self.tag}" if self.tag else self.name
        )


def checked_name(name: str) -> str:
    """The name of a bundle.

    Raises:
        UsageError: it is none.
    """
    if len(name) > LONGEST or not all(map(_PART.fullmatch, name.split("/"))):
        raise UsageError(
            "expected the name of a bundle in lower-case letters, digits and single . _ - /, such as bolt or "
            f"press-3/bolt, found {name[:80]!r}"
        )
    return name


def checked_tag(tag: str) -> str:
    """A tag that a person gives.

    Raises:
        UsageError: it is none, or is one under which moves of channels are kept.
    """
    if not is_tag(tag) or tag.endswith(RECORD) or HASH.fullmatch(tag):
        raise UsageError(
            "expected a tag of letters, digits and . _ -, such as 2026-11-28 or production, that does not end with "
            f"{RECORD}, found {tag[:80]!r}"
        )
    return tag


def is_tag(text: str) -> bool:
    """Whether a text can be a tag."""
    return _TAG.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether a text can be the name of a bundle."""
    return len(text) <= LONGEST and all(map(_PART.fullmatch, text.split("/")))
