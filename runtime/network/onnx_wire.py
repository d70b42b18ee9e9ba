"""Protocol Buffers as ONNX files use them, read in place: what is large is skipped by its length, and nothing recurses.

A message is a series of fields, each with a number and one of four kinds of content. What the fields of a message mean
is not in the file; the reader is told by a `Layout`.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5  # kinds of content, "wire types"
WIDTHS = {EIGHT: 8, FOUR: 4}
MOST_FIELDS = 1_000_000  # of a file; networks have some ten thousand, and a field takes about a microsecond to read
LONGEST_TEXT = 2**22  # bytes; a model card has some thousand
MOST_NUMBERS = 1024  # of a list that is read; longer ones are only counted
CHUNK = 2**20

Span = tuple[int, int]  # where something starts and ends in the file


class UnwrittenError(ValueError):
    """Something that ONNX allows and `spade-edge export` never writes; the message is what was found."""


@dataclass(frozen=True)
class Layout:
    """What the fields of a message are, by their numbers.

    Attributes:
        what: the message, for messages to people.
        numbers: names of fields with one whole number.
        texts: names of fields with UTF-8 text.
        parts: names of fields that are messages, or bytes, of which only the place is read.
        lists: names of fields that stand any number of times; all others stand once.
        ignored: fields that do not matter.
        unwritten: fields that `export` never writes, and what they are.
    """

    what: str
    numbers: Mapping[int, str]
    texts: Mapping[int, str]
    parts: Mapping[int, str]
    lists: frozenset[str] = frozenset()
    ignored: frozenset[int] = frozenset()
    unwritten: Mapping[int, str] | None = None


@dataclass(frozen=True)
class Message:
    """The fields of a message by name."""

    found: Mapping[str, list[Any]]

    def one(self, name: str, default: Any = None) -> Any:
        """The content of a field that stands once, or `default`."""
        return self.found[name][0] if name in self.found else default

    def all(self, name: str) -> list[Any]:
        """The contents of a field, as often as it stands."""
        return self.found.get(name, [])


class Wire:
    """Reads fields of a file.

    Args:
        data: the file.
    """

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._left = MOST_FIELDS

    def __len__(self) -> int:
        return len(self._data)

    def message(self, span: Span, layout: Layout) -> Message:
        """Read a message.

        Raises:
            ValueError: it is damaged.
            UnwrittenError: a field that `export` never writes.
        """
        found: dict[str, list[Any]] = {}
        for number, kind, value, end in self.fields(span):
            if number in layout.ignored:
                continue
            content: Any
            if number in layout.numbers and kind == VARINT:
                name, content = layout.numbers[number], signed(value)
            elif number in layout.texts and kind == LENGTH:
                name, content = layout.texts[number], self.text((value, end))
            elif number in layout.parts and kind == LENGTH:
                name, content = layout.parts[number], (value, end)
            else:
                raise UnwrittenError((layout.unwritten or {}).get(number, f"field {number} of {layout.what}"))
            values = found.setdefault(name, [])
            if values and name not in layout.lists:
                raise UnwrittenError(f"two of '{name}' in {layout.what}")
            values.append(content)
        return Message(found)

    def fields(self, span: Span) -> Iterator[tuple[int, int, int, int]]:
        """The fields of a message: number, kind of content, and a VARINT's value, or else where it starts; its end.

        Raises:
            ValueError: the message is damaged.
        """
        at, end = span
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"more than {MOST_FIELDS:,} fields")
            tag, at = self._varint(at, end)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                value, at = self._varint(at, end)
                yield number, kind, value, at
                continue
            if kind == LENGTH:
                length, at = self._varint(at, end)
            elif kind in WIDTHS:
                length = WIDTHS[kind]
            else:
                raise ValueError(f"a field of kind {kind}")
            if length > end - at:
                raise ValueError(f"{length} bytes of {end - at}")
            yield number, kind, at, at + length
            at += length

    def text(self, span: Span) -> str:
        """Text.

        Raises:
            ValueError: it is not UTF-8, or more than 4 MB.
        """
        if span[1] - span[0] > LONGEST_TEXT:
            raise ValueError(f"a text of {span[1] - span[0]} bytes")
        return self._data[span[0] : span[1]].decode("utf-8")

    def decimals(self, span: Span) -> tuple[float, ...]:
        """At most 1,024 float32 that stand one after another; of more, the first.

        Raises:
            ValueError: the last one is incomplete.
        """
        length = min(span[1] - span[0], 4 * MOST_NUMBERS)
        return struct.unpack(f"<{length // 4}f", self._data[span[0] : span[0] + length // 4 * 4])

    def integers(self, span: Span) -> tuple[int, ...]:
        """At most 1,024 whole numbers that stand one after another; of more, the first.

        Raises:
            ValueError: they are damaged.
        """
        at, end = span
        values: list[int] = []
        while at < end and len(values) < MOST_NUMBERS:
            value, at = self._varint(at, end)
            values.append(signed(value))
        return tuple(values)

    def count(self, span: Span) -> int:
        """How many whole numbers stand one after another."""
        chunks = (self._data[at : min(at + CHUNK, span[1])] for at in range(*span, CHUNK))
        return sum(int(np.count_nonzero(np.frombuffer(chunk, np.uint8) < 0x80)) for chunk in chunks)

    def content(self, span: Span) -> bytes:
        """Bytes."""
        return self._data[span[0] : span[1]]

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise ValueError("it ends too early")
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1), at
        raise ValueError("a number of more than 10 bytes")


def signed(value: int) -> int:
    """A whole number of 64 bits as ONNX means it."""
    return value - 2**64 if value >= 2**63 else value
