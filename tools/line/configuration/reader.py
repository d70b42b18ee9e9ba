"""Reads a configuration file, and finds all of its mistakes at once.

    configuration = read(Path("line.toml"))
    for mistake in mistakes(Path("line.toml")):
        print(mistake)  # line 12, [camera.top] deadline_ms: expected a whole number from 1 to 600000, found "150"; …

What an option takes is described in `options.py`; `values.py` checks each value by it, and `rules.py` what several have
to do with each other. Nothing is opened: whether bundles, cameras and ports are there is for `spade-edge doctor`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from spade_edge.runtime.errors import UsageError
from spade_edge.tools.line.configuration.description import (
    KIND,
    MOST,
    NAME,
    NAMED,
    OUTPUT,
    SINGLE,
    TABLES,
    Option,
    fits,
    heading,
    options_of,
    tables,
)
from spade_edge.tools.line.configuration.mistake import Mistake
from spade_edge.tools.line.configuration.options import OUTPUTS, CameraOptions, LineConfiguration, LineOptions
from spade_edge.tools.line.configuration.rules import breaches
from spade_edge.tools.line.configuration.table import OTHERS, Table, Tables
from spade_edge.tools.line.configuration.text import Document, UnreadableError, document
from spade_edge.tools.line.configuration.values import UnfitError, expected, nearest, shown, understood
from spade_edge.tools.sources.address import looks_like_address
from spade_edge.tools.sources.cameras import network, opencv_camera

MOST_UNKNOWN = 20  # unknown keys of a table that are named one by one
WATCH, STDIN = "watch:", "-"


def read(path: Path) -> LineConfiguration:
    """Read a configuration.

    Args:
        path: of a TOML file. Relative paths in it are relative to its folder.

    Raises:
        UsageError: it cannot be read, is no TOML, or has mistakes, of which the first is told.
        DeviceError: on Python 3.10, a package is missing.
    """
    reading = _Reading(document(path), path.absolute().parent)
    if reading.mistakes:
        first, others = reading.sorted()[0], len(reading.mistakes) - 1
        more = f" (and {others} more mistake{'s' if others > 1 else ''})" if others else ""
        raise UsageError(f"{path}: {first}{more}")
    return reading.configuration()


def mistakes(path: Path) -> tuple[Mistake, ...]:
    """Every mistake of a file, in the order of its lines; none if `read` reads it.

    Raises:
        DeviceError: on Python 3.10, a package is missing.
    """
    try:
        found = document(path)
    except UnreadableError as problem:
        return (problem.mistake,)
    return _Reading(found, path.absolute().parent).sorted()


class _Reading:
    """Goes through the tables of a file, and notes their mistakes."""

    def __init__(self, found: Document, folder: Path) -> None:
        self._document, self._folder = found, folder
        self.mistakes: list[Mistake] = []
        self._unsound: dict[str, set[str]] = {kind: set() for kind in (*NAMED, OUTPUT)}
        self._names_of_tables(found.values)
        single = {name: self._single(name, table) for name, table in SINGLE.items() if name in found.values}
        single.setdefault("line", Table(("line",), LineOptions, {}, frozenset()))
        named = {kind: self._named(kind) for kind in (*NAMED, OUTPUT)}
        unsound = {kind: frozenset(names) for kind, names in self._unsound.items()}
        self._tables = Tables(single, named, unsound)
        for breach in breaches(self._tables):
            self._add(breach.place, breach.expected, breach.found, breach.remedy)

    def sorted(self) -> tuple[Mistake, ...]:
        """The mistakes in the order of their lines."""
        return tuple(sorted(self.mistakes, key=lambda mistake: mistake.line or 0))

    def configuration(self) -> LineConfiguration:
        """What the file says; only if it has no mistakes."""
        made = {
            kind: {name: table.type(**table.values) for name, table in group.items()}
            for kind, group in self._tables.named.items()
        }
        single = {name: table.type(**table.values) for name, table in self._tables.single.items()}
        return LineConfiguration(
            line=single["line"],
            recipes=made["recipe"],
            cameras=made["camera"],
            outputs=made[OUTPUT],
            evidence=single.get("evidence"),
            page=single.get("page"),
        )

    def _add(
        self, place: tuple[str | int, ...], expected: str, found: str, remedy: str, *, stray: bool = False
    ) -> None:
        """Note a mistake at a place: (table, key), (table, name) or (table, name, key), and perhaps an entry.

        `stray` means that the last part is a key, where a table should be.
        """
        names = [shown(part)[1:-1] for part in place if isinstance(part, str)]
        depth = len(names) - 1 if stray else 1 if place[0] in SINGLE else 2
        self.mistakes.append(
            Mistake(
                self._document.line(*place), ".".join(names[:depth]), "".join(names[depth:]), expected, found, remedy
            )
        )

    def _names_of_tables(self, values: Mapping[str, Any]) -> None:
        """Tables and keys at the top that are none of ours."""
        unknown = [name for name in values if name not in TABLES]
        for name in unknown[:MOST_UNKNOWN]:
            listed = ", ".join(map(heading, TABLES))
            if isinstance(values[name], (dict, list)):
                meant = nearest(name, list(TABLES))
                remedy = f"write {heading(meant)}" if meant else "remove it"
                self._add((name,), f"one of the tables {listed}", f"[{shown(name)[1:-1]}]", remedy)
            else:
                remedy = self._elsewhere(name) or "put it below the table that it belongs to, or remove it"
                self._add(
                    (name,), f"an option below one of the tables {listed}", "one above all tables", remedy, stray=True
                )
        if len(unknown) > MOST_UNKNOWN:
            others = len(unknown) - MOST_UNKNOWN
            self._add((unknown[MOST_UNKNOWN],), "known tables", f"{others} more that are unknown", "remove them")

    def _single(self, name: str, table: type) -> Table:
        values = self._document.values[name]
        if not isinstance(values, dict):
            self._no_table((name,), values)
            return Table((name,), table, {}, frozenset(options_of(table)))
        return self._options((name,), values, table)

    def _named(self, kind: str) -> dict[str, Table]:
        """The tables of all recipes, cameras or outputs."""
        group = self._document.values.get(kind, {})
        if not isinstance(group, dict):
            self._no_table((kind,), group)
            self._unsound[kind].add(OTHERS)
            return {}
        if len(group) > MOST[kind]:
            self._add((kind,), f"at most {MOST[kind]} tables {heading(kind)}", f"{len(group)}", "remove some")
            group = dict(islice(group.items(), MOST[kind]))
            self._unsound[kind].add(OTHERS)
        strays = [name for name, values in group.items() if not isinstance(values, dict)]
        for name in strays[:MOST_UNKNOWN]:
            if isinstance(group[name], list):
                self._no_table((kind, name), group[name])
            else:
                self._add(
                    (kind, name),
                    f"a table {heading(kind)} with a name of your choice",
                    f"[{kind}] with an option" if name in self._known(kind) else shown(group[name]),
                    f"write [{kind}.NAME] above the options",
                    stray=True,
                )
            self._unsound[kind].add(name)
        if len(strays) > MOST_UNKNOWN:
            others = len(strays) - MOST_UNKNOWN
            self._add(
                (kind, strays[MOST_UNKNOWN]), f"tables {heading(kind)}", f"{others} more that are none", "remove them"
            )
        return {
            name: table
            for name, values in group.items()
            if isinstance(values, dict) and (table := self._one_of(kind, name, values)) is not None
        }

    def _known(self, kind: str) -> set[str]:
        return {key for name, _, table in tables() if name == kind for key in (*options_of(table), KIND)}

    def _one_of(self, kind: str, name: str, values: dict[str, Any]) -> Table | None:
        """A table that has a name. None if it is not known what it is."""
        if not fits(name, NAME):
            self._add((kind, name), f"a name of {NAME.expected}", shown(name), "rename it")
        if kind != OUTPUT:
            return self._options((kind, name), values, NAMED[kind])
        listed = ", ".join(OUTPUTS)
        if KIND not in values:
            self._add((kind, name, KIND), f"{KIND}, one of {listed}", "none", f'add it, like {KIND} = "mqtt"')
        elif not isinstance(values[KIND], str) or values[KIND] not in OUTPUTS:
            meant = nearest(values[KIND], list(OUTPUTS)) if isinstance(values[KIND], str) else ""
            self._add(
                (kind, name, KIND),
                f"one of {listed}",
                shown(values[KIND]),
                f'write "{meant or "mqtt"}"' if meant else "write one of them",
            )
        else:
            others = {key: value for key, value in values.items() if key != KIND}
            return self._options((kind, name), others, OUTPUTS[values[KIND]])
        self._unsound[kind].add(name)
        return None

    def _options(self, place: tuple[str, ...], values: dict[str, Any], table: type) -> Table:
        """The options of a table, one by one."""
        known = options_of(table)
        unknown = [key for key in values if key not in known]
        for key in unknown[:MOST_UNKNOWN]:
            self._unknown(place, key, known)
        if len(unknown) > MOST_UNKNOWN:
            others = len(unknown) - MOST_UNKNOWN
            self._add(
                (*place, unknown[MOST_UNKNOWN]), "known options", f"{others} more that are unknown", "remove them"
            )
        right: dict[str, Any] = {}
        for key, option in known.items():
            if key not in values:
                if option.required:
                    self._add((*place, key), expected(option), "none", f"add {key}: {_lower(option.about)}")
                continue
            try:
                right[key] = understood(values[key], option, folder=self._folder)
            except UnfitError as problem:
                index = () if problem.index is None else (problem.index,)
                self._add((*place, key, *index), problem.expected, problem.found, problem.remedy)
        if table is CameraOptions and "source" in right:
            right["source"] = _absolute(right["source"], self._folder)
        missing = {key for key, option in known.items() if option.required and key not in values}
        return Table(place, table, right, frozenset(values) | missing)

    def _unknown(self, place: tuple[str, ...], key: str, known: Mapping[str, Option]) -> None:
        meant = nearest(key, list(known))
        remedy = f"write {meant}" if meant else self._elsewhere(key) or f"remove it; known are {', '.join(known)}"
        self._add((*place, key), "a known option", "an unknown one", remedy)

    def _elsewhere(self, key: str) -> str:
        """Where a key belongs that is known in other tables."""
        places = dict.fromkeys(
            heading(name) + (f' with {KIND} = "{kind}"' if kind else "")
            for name, kind, table in tables()
            if key in options_of(table)
        )
        return f"it belongs to {' or '.join(places)}" if 0 < len(places) <= 3 else ""

    def _no_table(self, place: tuple[str, ...], value: Any) -> None:
        written = "[[" + ".".join(place) + "]], a list" if isinstance(value, list) else shown(value)
        wanted = heading(place[0], *place[1:])
        self._add(place, f"a table {wanted}", written, f"write {wanted}")


def _absolute(source: str, folder: Path) -> str:
    """The source of a camera; if it is a file or folder, relative to the folder of the configuration."""
    if source.startswith(WATCH):
        return WATCH + os.path.join(folder, source.removeprefix(WATCH))  # noqa: PTH118  (as it stands)
    if source == STDIN or source.startswith("genicam:"):
        return source
    if opencv_camera.is_camera(source) or network.is_network_address(source) or looks_like_address(source):
        return source
    return os.path.join(folder, source)  # noqa: PTH118


def _lower(about: str) -> str:
    """A description as the end of a sentence."""
    first = about.partition(". ")[0].rstrip(".")
    return first[:1].lower() + first[1:]
