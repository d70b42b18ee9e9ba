"""A table of a configuration file whose options were read one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spade_edge.tools.line.configuration.description import options_of

OTHERS = ""  # among unsound tables: those that were not read, whatever their names


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        place: ("line",) or ("camera", "top").
        type: its class in `options.py`.
        values: the options that the file gives and that are right by themselves, as the class takes them.
        given: all options that the file gives.
    """

    place: tuple[str, ...]
    type: type
    values: Mapping[str, Any]
    given: frozenset[str]

    @property
    def name(self) -> str:
        """As it stands in the file: "camera.top"."""
        return ".".join(self.place)

    def __getitem__(self, key: str) -> Any:
        """The value of an option, its default if the file has none; None as well if the file's is wrong."""
        return self.values.get(key) if key in self.given else options_of(self.type)[key].default


@dataclass(frozen=True)
class Tables:
    """All tables of a file.

    Attributes:
        single: name to table: "line", "evidence", "page".
        named: "recipe", "camera" or "output" to name to table.
        unsound: recipes, cameras and outputs whose table is wrong as a whole; others may name them.
    """

    single: Mapping[str, Table]
    named: Mapping[str, Mapping[str, Table]]
    unsound: Mapping[str, frozenset[str]]

    def has(self, kind: str, name: str) -> bool:
        """Whether the file has a table of this name, or may have had one."""
        return name in self.named[kind] or name in self.unsound[kind] or OTHERS in self.unsound[kind]
