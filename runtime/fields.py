"""Strict reading of JSON from files: a field that is missing, unknown or of another type is refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

LONGEST_SHOWN = 60  # characters of a text in a message


class Fields:
    """A JSON object whose fields are taken one by one; `done` refuses the fields that were not taken.

    Args:
        value: the parsed JSON value.
        where: what messages call it, e.g. "manifest.json: view".
        error: makes the exception from a message.
    """

    def __init__(self, value: object, *, where: str, error: Callable[[str], Exception]) -> None:
        if not isinstance(value, dict):
            raise error(f"{where}: expected a JSON object, found {_kind(value)}")
        self._values: dict[str, Any] = dict(value)
        self._where = where
        self._error = error

    def _take(self, name: str, expected: str, fits: Callable[[Any], bool]) -> Any:
        if name not in self._values:
            raise self._error(f"{self._where}: expected the field {short(name)!r} ({expected}), found none")
        value = self._values.pop(name)
        if not fits(value):
            raise self._error(f"{self._where}: expected {short(name)!r} to be {expected}, found {_kind(value)}")
        return value

    def text(self, name: str, *, among: tuple[str, ...] = ()) -> str:
        expected = "one of " + ", ".join(among) if among else "a text"
        return str(self._take(name, expected, lambda v: isinstance(v, str) and (not among or v in among)))

    def integer(self, name: str, *, least: int = 0, most: int = 2**53) -> int:
        return int(self._take(name, f"a whole number from {least} to {most}", _whole(least, most)))

    def integer_or_none(self, name: str) -> int | None:
        """Take a whole number, or null."""
        whole = _whole(0, 2**53)
        value = self._take(name, "a whole number or null", lambda v: v is None or whole(v))
        return None if value is None else int(value)

    def nothing(self, name: str) -> None:
        """Take a null."""
        self._take(name, "null", lambda v: v is None)

    def flag(self, name: str) -> bool:
        return bool(self._take(name, "true or false", lambda v: isinstance(v, bool)))

    def number(self, name: str) -> float:
        """Take a finite number."""
        return float(self._take(name, "a finite number", _finite))

    def number_or_none(self, name: str) -> float | None:
        """Take a finite number, or null."""
        value = self._take(name, "a finite number or null", lambda v: v is None or _finite(v))
        return None if value is None else float(value)

    def integers(self, name: str, *, count: int | None = None, least: int = 0, most: int = 2**31) -> tuple[int, ...]:
        many = "" if count is None else f"{count} "
        whole = _whole(least, most)
        value = self._take(
            name,
            f"a list of {many}whole numbers from {least} to {most}",
            lambda v: isinstance(v, list) and (count is None or len(v) == count) and all(whole(x) for x in v),
        )
        return tuple(value)

    def integers_or_none(self, name: str, *, count: int, most: int) -> tuple[int, ...] | None:
        """Take a list of `count` whole numbers, or null."""
        if self._values.get(name, ...) is None:
            self.nothing(name)
            return None
        return self.integers(name, count=count, most=most)

    def rows(self, name: str, *, count: int | None, most: int) -> tuple[tuple[int, ...], ...]:
        """Take a list of lists of `count` whole numbers each; None for lists of any length."""
        whole = _whole(0, most)
        many = "" if count is None else f"{count} "
        value = self._take(
            name,
            f"a list of lists of {many}whole numbers from 0 to {most}",
            lambda v: (
                isinstance(v, list)
                and all(isinstance(row, list) and count in (None, len(row)) and all(map(whole, row)) for row in v)
            ),
        )
        return tuple(tuple(row) for row in value)

    def numbers(self, name: str, *, count: int | None = None) -> tuple[float, ...]:
        many = "" if count is None else f"{count} "
        value = self._take(
            name,
            f"a list of {many}finite numbers",
            lambda v: isinstance(v, list) and count in (None, len(v)) and all(map(_finite, v)),
        )
        return tuple(float(x) for x in value)

    def numbers_or_none(self, name: str, *, count: int) -> tuple[float, ...] | None:
        """Take a list of `count` finite numbers, or null."""
        if self._values.get(name, ...) is None:
            self.nothing(name)
            return None
        return self.numbers(name, count=count)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._take(
            name, "a list of texts", lambda v: isinstance(v, list) and all(isinstance(x, str) for x in v)
        )
        return tuple(value)

    def items(self, name: str) -> list[Fields]:
        value = self._take(name, "a list", lambda v: isinstance(v, list))
        return [Fields(x, where=f"{self._where}: {name}[{i}]", error=self._error) for i, x in enumerate(value)]

    def object(self, name: str) -> Fields:
        value = self._take(name, "a JSON object", lambda v: isinstance(v, dict))
        return Fields(value, where=f"{self._where}: {short(name)}", error=self._error)

    def object_or_none(self, name: str) -> Fields | None:
        """Take a JSON object, or null."""
        if self._values.get(name, ...) is None:
            self.nothing(name)
            return None
        return self.object(name)

    def open_object(self, name: str) -> dict[str, Any]:
        """Take an object whose fields are information for people; the runtime does not use them."""
        return dict(self._take(name, "a JSON object", lambda v: isinstance(v, dict)))

    def names(self) -> tuple[str, ...]:
        """The fields that have not been taken yet."""
        return tuple(self._values)

    def done(self) -> None:
        """Refuse fields that were not taken."""
        if self._values:
            raise self._error(
                f"{self._where}: found the unknown field {short(min(self._values))!r}; "
                "it may come from a newer spade-edge: update this machine's package"
            )


def parse(text: str | bytes, *, where: str, error: Callable[[str], Exception]) -> Fields:
    """Parse JSON text, UTF-8 if it is bytes.

    NaN, infinities, repeated names and excessive nesting are refused, and texts with a NUL or half of a surrogate pair:
    no file can have such a name, and none can be written with it.
    """

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise ValueError("a name occurs twice in one object")
        for name, value in pairs:
            _check_texts(name)
            _check_texts(value)
        return dict(pairs)

    try:
        whole = text if isinstance(text, str) else text.decode("utf-8-sig")
        value = json.loads(whole, parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as problem:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise error(f"{where}: expected JSON, found something else ({problem})") from None
    return Fields(value, where=where, error=error)


def _check_texts(value: object) -> None:
    """Refuse characters that are none. Objects inside have been looked at already."""
    if isinstance(value, list):
        for one in value:
            _check_texts(one)
    elif isinstance(value, str) and ("\0" in value or not _encodable(value)):
        raise ValueError("a text has a NUL or half of a surrogate pair")


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _whole(least: int, most: int) -> Callable[[object], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and least <= v <= most


def _finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def short(text: str) -> str:
    """A text from a file, no longer than a message can hold."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def _kind(value: object) -> str:
    return short(json.dumps(value, default=str))
