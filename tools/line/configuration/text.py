"""Reads a TOML file whole, or says in one mistake why it cannot be read."""

from __future__ import annotations

import os
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spade_edge.runtime.errors import UsageError
from spade_edge.tools.extras import packages_of
from spade_edge.tools.line.configuration.mistake import Mistake
from spade_edge.tools.line.configuration.places import Place, places

LARGEST = 1_000_000  # bytes of a file
LONGEST = 2000  # characters of a line; a name of thousands of parts would keep the parser busy for minutes
CUT = "shorten it; a configuration of 64 cameras has some 50 kB"
NESTED = "lists or tables that are nested too deeply"

_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_SYNTAX = (  # the beginning of a message of tomllib, what was expected, what to do
    ("Cannot", "each table and each key only once", "a second one, or a value where a table is", "remove or rename it"),
    ("Duplicate", "each key only once", "a second one", "remove or rename it"),
    ("Invalid value", "a value", "something else", "put text in quotes; write true and false in small letters"),
    ("Invalid date", "a date or a number", "something else", "put text in quotes"),
    (
        "Expected newline",
        "the end of the line after a value or a table",
        "something else",
        "put text in quotes, and a remark behind #",
    ),
    ("Expected '='", "KEY = VALUE", "no = behind the key", 'write it like source = "0"'),
    ("Expected ']", "the name of a table in square brackets", "no ] at its end", "close it with ]"),
    (
        "Unterminated",
        "text that ends with the quotes it begins with",
        "no end",
        "close it, or write it in '''…''' if it has several lines",
    ),
    (
        'Expected "',
        "text that ends with the quotes it begins with",
        "no end",
        "close it, or write it in '''…''' if it has several lines",
    ),
    (
        "Illegal",
        "text without tabs, ends of lines and other control characters",
        "one",
        "close the quotes on the same line",
    ),
    ("Found invalid", "text without control characters", "one", "remove it"),
    (
        "Unescaped",
        "\\\\ for each \\ in text in double quotes",
        "a single \\",
        "write the text in single quotes, in which \\ stands for itself",
    ),
    (
        "Invalid hex",
        "\\\\ for each \\ in text in double quotes",
        "\\u or \\U without its digits",
        "write the text in single quotes, in which \\ stands for itself",
    ),
    ("Escaped character", "a character behind \\u", "a number that stands for none", "write the character itself"),
    ("Unclosed array", "a list that ends with ]", "no ] at its end", "close it, with commas between its entries"),
    ("Unclosed inline", "a table in { } on one line", "no } at its end", "close it, with commas between its entries"),
    ("", "the name of a table in square brackets, or KEY = VALUE", "something else", "write a remark behind #"),
)


@dataclass(frozen=True)
class Document:
    """What a file says.

    Attributes:
        values: as TOML has them.
        lines: of what they stand on.
    """

    values: dict[str, Any]
    lines: dict[Place, int]

    def line(self, *place: str | int) -> int | None:
        """The line of a place, or of what it lies in."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.lines:
                return self.lines[place[:end]]
        return None


class UnreadableError(UsageError):
    """A file that is no TOML."""

    def __init__(self, path: Path, mistake: Mistake) -> None:
        super().__init__(f"{path}: {mistake}")
        self.mistake = mistake


def document(path: Path, *, missing: str = "'spade-edge init' writes one for this machine") -> Document:
    """Read a file.

    Args:
        path: of a TOML file in UTF-8, with or without a byte order mark.
        missing: what to do if there is none.

    Raises:
        UnreadableError: it is missing, no file, too large, or no TOML.
        DeviceError: on Python 3.10, a package is missing.
    """
    text = _text(path, missing)
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LONGEST:
            raise UnreadableError(path, _whole(f"lines of at most {LONGEST} characters", f"{len(line)}", CUT, number))
    with packages_of("run", needed_by="a configuration"):
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise UnreadableError(path, _of_syntax(str(problem), text)) from None
    except RecursionError:
        raise UnreadableError(
            path, _whole("a table of options", NESTED, "write the tables one below the other")
        ) from None
    except ValueError:  # Python reads no number of thousands of digits
        raise UnreadableError(path, _whole("numbers of some digits", "one of thousands", "shorten it")) from None

    def unquoted(key: str) -> str:
        (name,) = tomllib.loads(f"{key} = 0")
        return name

    return Document(values, places(text, unquoted=unquoted))


def _text(path: Path, missing: str) -> str:
    """The text of a file. Neither a pipe nor a device is waited for."""
    try:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise UnreadableError(path, _whole("a TOML file", "something that is no file", "give a file"))
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise UnreadableError(path, _whole("a TOML file", "nothing at this path", missing)) from None
    except IsADirectoryError:
        raise UnreadableError(path, _whole("a TOML file", "a folder", "give the file in it")) from None
    except (OSError, ValueError) as problem:
        found = getattr(problem, "strerror", None) or "a path that cannot be opened"
        raise UnreadableError(
            path, _whole("a TOML file that may be read", found, "check path and permissions")
        ) from None
    if len(content) > LARGEST:
        raise UnreadableError(path, _whole(f"at most {LARGEST} bytes", "more", CUT))
    if content[:2] in _ENCODINGS:
        found = f"{_ENCODINGS[content[:2]]}"
        raise UnreadableError(path, _whole("text in UTF-8", found, "save the file as UTF-8"))
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise UnreadableError(path, _whole("text in UTF-8", "other bytes", "save the file as UTF-8", line)) from None


def _whole(expected: str, found: str, remedy: str, line: int | None = None) -> Mistake:
    return Mistake(line, "", "", expected, found, remedy)


def _of_syntax(said: str, text: str) -> Mistake:
    """What tomllib has said, in our words: its own show how Python writes values."""
    at = re.search(r"at line ([0-9]{1,9})", said)
    line = int(at[1]) if at else text.rstrip("\n").count("\n") + 1
    expected, found, remedy = next(rest for start, *rest in _SYNTAX if said.startswith(start))
    return _whole(expected, found, remedy, line)
