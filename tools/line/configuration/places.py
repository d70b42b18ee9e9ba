"""On which line of a TOML file each table, key and entry of a list stands. `tomllib` does not say."""

from __future__ import annotations

import re
from collections.abc import Callable

Place = tuple[str | int, ...]  # ("camera", "top", "deadline_ms"); entries of lists by their index
DEEPEST = 4  # parts of a place; what lies deeper is no option, and stands with what it lies in

_TOKEN = re.compile(
    r'(?P<text>"""(?:[^"\\]|\\[\s\S]|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*')"
    r"|(?P<comment>#[^\n]*)"
    r"|(?P<newline>\n)"
    r"|(?P<mark>[\[\]{}=,.])"
    r"|(?P<bare>[^\s\[\]{}=,.#\"']+)"
)


def places(text: str, *, unquoted: Callable[[str], str]) -> dict[Place, int]:
    """The line of each table, key and entry of a list.

    Args:
        text: that `tomllib` has read without an error; the result for any other is meaningless.
        unquoted: the name that a key in quotes stands for.

    Returns:
        place to line, from 1. What appears several times, such as `[camera]` before `[camera.top]`, stands at its
        first place. The tables of a list (`[[camera]]`) share the places of the first of them, because no option is
        such a list.
    """
    scan = _Scan(unquoted)
    for token in _TOKEN.finditer(text):
        word = token.group()
        if token.lastgroup == "newline":
            scan.end_line()
        elif token.lastgroup != "comment":
            scan.take(word, name=token.lastgroup != "mark", quoted=token.lastgroup == "text")
        scan.line += word.count("\n")
    return scan.found


class _Scan:
    """Goes through the tokens of a text, and notes the lines of what it finds."""

    def __init__(self, unquoted: Callable[[str], str]) -> None:
        self.found: dict[Place, int] = {}
        self.line = 1
        self._unquoted = unquoted
        self._base: Place = ()  # the table that the statements belong to
        self._tables: dict[Place, int] = {}  # how many tables each list of tables has so far
        self._of_list = False  # whether the header that is being read is that of such a table
        self._within: list[tuple[str, Place, int]] = []  # open lists and inline tables: bracket, place, index
        self._current: Place = ()  # what the value that is being read belongs to
        self._parts: list[str] = []  # of the key that is being read
        self._reading = "start"  # "start" of a statement, "header", "key" or "value"

    def end_line(self) -> None:
        """The end of a line, which ends a statement unless a list is open."""
        if self._reading == "header":
            self._base = tuple(self._parts)
            if self._of_list:
                self._tables[self._base] = self._tables.get(self._base, 0) + 1
                self._base = (*self._base, self._tables[self._base] - 1)
                self._note(self._base)
        if not self._within:
            self._reading, self._parts = "start", []

    def take(self, word: str, *, name: bool, quoted: bool) -> None:
        """A token: a name, number or text, or a mark."""
        if self._reading == "start" and word == "[":
            self._reading, self._of_list = "header", False
        elif self._reading == "header" and word == "[":
            self._of_list = True
        elif self._reading == "value":
            self._take_of_value(word, name)
        elif name:
            self._reading = "key" if self._reading == "start" else self._reading
            self._parts.append(self._unquoted(word) if quoted else word)
            if self._reading == "header":
                self._note(tuple(self._parts))
        elif word == "=":
            self._current = (*(self._within[-1][1] if self._within else self._base), *self._parts)
            self._note(self._current)
            self._reading, self._parts = "value", []
        elif word == "}":  # of an inline table that is empty
            self._leave()

    def _take_of_value(self, word: str, name: bool) -> None:
        if name:
            self._note(self._entry())
        elif word in ("[", "{"):
            self._current = self._entry()
            self._note(self._current)
            self._within.append((word, self._current, 0))
            self._reading = "key" if word == "{" else "value"
        elif word in ("]", "}"):
            self._leave()
        elif word == "," and self._within:
            bracket, self._current, index = self._within[-1]
            self._within[-1] = (bracket, self._current, index + 1)
            self._reading, self._parts = ("key" if bracket == "{" else "value"), []

    def _entry(self) -> Place:
        """The place of a value: that of its key, or of the entry of the list that it is."""
        if self._within and self._within[-1][0] == "[":
            _, place, index = self._within[-1]
            return (*place, index)
        return self._current

    def _leave(self) -> None:
        _, self._current, _ = self._within.pop()
        self._reading = "value"

    def _note(self, place: Place) -> None:
        for end in range(1, min(len(place), DEEPEST) + 1):
            self.found.setdefault(place[:end], self.line)
