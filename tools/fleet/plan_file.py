"""Reads `fleet.toml`, and finds all of its mistakes at once.

    version = 1
    cache = "s3://plant/spade-cache"    # a folder or an address; CACHE in the output folder by default
    output = "bundles"                  # NAME.spade is laid there; the folder of the file by default

    [defaults]                          # for every bundle
    model = "model.onnx"

    [[bundle]]
    name = "bolt"
    images = "s3://plant/bolt.jsonl"    # a folder, an address, or a dataset file
    false_rejects = 0.01                # any option of `spade-edge build`, with _ for -
    shards = 8

Relative paths are relative to the folder of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from spade_edge.galleries import BuildOptions
from spade_edge.runtime.errors import UsageError
from spade_edge.tools.fleet.plan import BundlePlan, FleetPlan
from spade_edge.tools.line.configuration.mistake import Mistake
from spade_edge.tools.line.configuration.text import UnreadableError, document
from spade_edge.tools.line.configuration.values import nearest, shown
from spade_edge.tools.remote import is_address, local_path

VERSION = 1
CACHE = ".cache"  # folder in the output folder
TOP = ("version", "cache", "output", "defaults", "bundle")
OWN = ("name", "images", "model", "shards")  # beside the options of a build
MOST_SHARDS = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Options(Protocol):
    """The options of a build, as a command line takes them.

    Attributes:
        names: with _ for -.
    """

    names: tuple[str, ...]

    def fault(self, name: str, value: Any) -> tuple[str, str] | None:
        """What is expected of an option and what is found instead; None if the value is right."""
        ...

    def read(self, values: Mapping[str, Any], folder: Path) -> BuildOptions:
        """The options of a build. Relative paths are relative to the folder.

        Raises:
            UsageError: they do not go together.
            DataError: a file that they name cannot be read.
        """
        ...


class PlanError(UsageError):
    """A file with mistakes.

    Attributes:
        mistakes: in the order of the lines.
    """

    def __init__(self, path: Path, mistakes: tuple[Mistake, ...]) -> None:
        others = len(mistakes) - 1
        more = f" (and {others} more mistake{'s' if others > 1 else ''})" if others else ""
        super().__init__(f"{path}: {mistakes[0]}{more}")
        self.mistakes = mistakes


def read_plan(path: Path, options: Options) -> FleetPlan:
    """Read a plan.

    Args:
        path: of a TOML file.
        options: of a build.

    Raises:
        PlanError: it cannot be read, or has mistakes.
        DataError: a file that an option names cannot be read.
        DeviceError: on Python 3.10, a package is missing.
    """
    reading = _Reading(path, options)
    if reading.mistakes:
        raise PlanError(path, tuple(sorted(reading.mistakes, key=lambda mistake: mistake.line or 0)))
    return reading.plan


class _Reading:
    """Goes through a file, and notes its mistakes."""

    def __init__(self, path: Path, options: Options) -> None:
        try:
            self._document = document(path, missing="give the path of a plan, such as fleet.toml")
        except UnreadableError as problem:
            raise PlanError(path, (problem.mistake,)) from None
        self.mistakes: list[Mistake] = []
        self._options = options
        self._folder = path.absolute().parent
        values = self._document.values
        self._known((), values, TOP)
        if "version" not in values or values["version"] is True or values["version"] != VERSION:
            self._note(("version",), str(VERSION), self._found(values, "version"), f"write version = {VERSION}")
        output = self._output(values)
        cache = self._text((), values, "cache")
        defaults = self._table(("defaults",), values.get("defaults", {}))
        self._check(("defaults",), defaults, (*OWN[2:], *options.names))
        self._text(("defaults",), defaults, "model")
        entries = self._entries(values)
        bundles = tuple(filter(None, (self._bundle(place, own, defaults) for place, own in entries)))
        self._check_names(entries)
        self.plan = FleetPlan(bundles, output, str(output / CACHE) if cache is None else self._place(cache))

    def _entries(self, values: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], dict[str, Any]]]:
        found = values.get("bundle", [])
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            self._note(("bundle",), "tables of bundles", shown(found), "write [[bundle]] above each")
            return []
        if not found:
            self._note(("bundle",), "a table [[bundle]] for each bundle", "none", "add one with name and images")
        return [(("bundle", number), entry) for number, entry in enumerate(found)]

    def _bundle(self, place: tuple[str | int, ...], own: dict[str, Any], defaults: dict[str, Any]) -> BundlePlan | None:
        before = len(self.mistakes)
        self._check(place, own, (*OWN, *self._options.names))
        values = defaults | own
        name, images = self._text(place, own, "name", needed=True), self._text(place, own, "images", needed=True)
        told = "model" in defaults and "model" not in own  # then what is wrong with it has been said
        model = defaults["model"] if told else self._text(place, own, "model", needed=True)
        if name is not None and not _NAME.fullmatch(name):
            self._note((*place, "name"), "letters, digits, '.', '_' and '-'", shown(name), "rename it")
        if len(self.mistakes) > before or name is None or images is None or not isinstance(model, str):
            return None
        chosen = {key: value for key, value in values.items() if key in self._options.names}
        if any(self._options.fault(key, value) for key, value in chosen.items()):
            return None  # of the defaults, which have been told
        try:
            options = self._options.read(chosen, self._folder)
        except UsageError as problem:
            self._of_error(place, str(problem))
            return None
        shards = values.get("shards", 1)
        if not _is_count(shards):
            return None  # of the defaults, too
        if shards > 1 and options.parameters.projection != "codes":
            self._note((*place, "shards"), "one part of a gallery without codes", str(shards), "remove shards")
        return BundlePlan(name, self._place(images), self._place(model), options, shards)

    def _check(self, place: tuple[str | int, ...], values: dict[str, Any], known: tuple[str, ...]) -> None:
        """Note unknown names, and values that are wrong by themselves."""
        self._known(place, values, known)
        for name, value in values.items():
            if name == "shards" and not _is_count(value):
                self._note((*place, name), f"a whole number from 1 to {MOST_SHARDS}", shown(value), "change it")
            elif name in self._options.names and (fault := self._options.fault(name, value)):
                self._note((*place, name), *fault, "change it; 'spade-edge build --help' describes the options")

    def _known(self, place: tuple[str | int, ...], values: Mapping[str, Any], known: tuple[str, ...]) -> None:
        for name in values:
            if name not in known:
                meant = nearest(name.replace("-", "_"), list(known))
                remedy = f"write {meant}" if meant else "remove it; 'spade-edge build --help' describes the options"
                self._note((*place, name), "a known option", shown(name), remedy)

    def _check_names(self, entries: list[tuple[tuple[str | int, ...], dict[str, Any]]]) -> None:
        """Names must differ, also on disks that do not tell upper from lower case."""
        seen: set[str] = set()
        for place, own in entries:
            name = own.get("name")
            if isinstance(name, str):
                if name.lower() in seen:
                    self._note((*place, "name"), "each name once", shown(name), "rename one of them")
                seen.add(name.lower())

    def _text(
        self, place: tuple[str | int, ...], values: Mapping[str, Any], name: str, *, needed: bool = False
    ) -> str | None:
        """A text, which is not empty."""
        value = values.get(name)
        if isinstance(value, str) and value.strip() and "\0" not in value:
            return value
        if name in values or needed:
            self._note((*place, name), "text", self._found(values, name), f'write {name} = "…"')
        return None

    def _table(self, place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self._note(place, "a table", shown(value), f"write [{place[0]}]")
        return {}

    def _output(self, values: Mapping[str, Any]) -> Path:
        """The folder of the bundles."""
        path = local_path(self._text((), values, "output") or ".")
        if path is None:
            remedy = "give a folder; 'spade-edge fleet push' copies bundles elsewhere"
            self._note(("output",), "a folder of this machine", "an address", remedy)
        return self._folder / (path or ".")

    def _place(self, text: str) -> str:
        """A path relative to the folder of the file, or an address as it is."""
        return text if is_address(text) else str(self._folder / text)

    def _found(self, values: Mapping[str, Any], name: str) -> str:
        return shown(values[name]) if name in values else "none"

    def _of_error(self, place: tuple[str | int, ...], message: str) -> None:
        """Note an error that several options make together: 'expected …, found …; remedy'."""
        expected, _, rest = message.removeprefix("expected ").partition(", found ")
        found, _, remedy = rest.partition("; ")
        self._note(place, expected, found or "others", remedy or "change one of the options")

    def _note(self, place: tuple[str | int, ...], expected: str, found: str, remedy: str) -> None:
        table, key = "", ".".join(str(part) for part in place)
        if place[:1] == ("bundle",) and len(place) > 1:
            entry = self._document.values["bundle"][place[1]]
            name = entry.get("name")
            table = f"bundle {shown(name)}" if isinstance(name, str) else f"bundle, number {int(place[1]) + 1}"
            key = ".".join(str(part) for part in place[2:])
        elif place[:1] == ("defaults",):
            table, key = "defaults", ".".join(str(part) for part in place[1:])
        self.mistakes.append(Mistake(self._document.line(*place), table, key, expected, found, remedy))


def _is_count(shards: Any) -> bool:
    return type(shards) is int and 1 <= shards <= MOST_SHARDS
