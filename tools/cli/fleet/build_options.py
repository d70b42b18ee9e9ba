"""The options of `spade-edge build` as a file gives them. Each is checked as the command line checks it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from spade_edge.galleries import BuildOptions
from spade_edge.runtime.errors import UsageError
from spade_edge.tools.cli.commands import build
from spade_edge.tools.line.configuration.values import shown

ELSEWHERE = ("help", "model", "images", "output", "review", "json")  # said otherwise, or not about the bundle
_PLACES = {"mask": r".+", "groups": r".+\.csv", "exclude": r".+\.txt"}  # which values of an option are paths
_CHOICE = re.compile(r"invalid choice: (?P<found>.+) \(choose from (?P<choices>.+)\)")


class BuildOptionsReader:
    """See `spade_edge.tools.fleet.plan_file.Options`."""

    def __init__(self) -> None:
        self._parser = _Parser(add_help=False, allow_abbrev=False)
        build.add_arguments(self._parser)
        self._actions = {action.dest: action for action in self._parser._actions if action.dest not in ELSEWHERE}
        self.names = tuple(
            option[2:].replace("-", "_")
            for action in self._actions.values()
            for option in action.option_strings
            if option.startswith("--")
        )

    def fault(self, name: str, value: Any) -> tuple[str, str] | None:
        """What is expected of an option and what is found instead; None if the value is right."""
        action = self._action(name)
        if action.nargs == 0:
            return None if isinstance(value, bool) else ("true or false", shown(value))
        several = action.nargs == "+" or isinstance(action, argparse._AppendAction)
        values = value if several and isinstance(value, list) else [value]
        if not values:
            return "at least one entry", "an empty list"
        for one in values:
            if isinstance(one, bool) or not isinstance(one, (str, int, float)):
                return "text or a number" + (", or a list of them" if several else ""), shown(one)
            if isinstance(one, str) and "\0" in one:  # which no command line can hold
                return "text without control characters", shown(one)
        try:
            self._parsed(self._words(name, value))
        except UsageError as problem:
            return _in_words(str(problem), shown(value))
        return None

    def read(self, values: Mapping[str, Any], folder: Path) -> BuildOptions:
        """See `Options`."""
        placed = {
            name: _placed(value, _PLACES[name], folder) if name in _PLACES else value for name, value in values.items()
        }
        chosen = self._parsed([word for name, value in placed.items() for word in self._words(name, value)])
        return build.options_of(chosen, groups=chosen.groups)

    def _action(self, name: str) -> argparse.Action:
        option = f"--{name.replace('_', '-')}"
        return next(action for action in self._actions.values() if option in action.option_strings)

    def _words(self, name: str, value: Any) -> list[str]:
        """An option as the words of a command line."""
        option = f"--{name.replace('_', '-')}"
        action = self._action(name)
        if action.nargs == 0:
            return [option] if value else []
        values = value if isinstance(value, list) else [value]
        if action.nargs == "+":
            return [option, *map(_text, values)]
        return [f"{option}={_text(one)}" for one in values]

    def _parsed(self, words: list[str]) -> argparse.Namespace:
        return self._parser.parse_args(["--model=m", "--images=i", "--output=o", *words])


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.15g}"


def _placed(value: Any, pattern: str, folder: Path) -> Any:
    """Paths relative to a folder."""
    if isinstance(value, list):
        return [_placed(one, pattern, folder) for one in value]
    return str(folder / value) if isinstance(value, str) and re.fullmatch(pattern, value, re.IGNORECASE) else value


def _in_words(message: str, found: str) -> tuple[str, str]:
    """Expectation and finding of what argparse says."""
    said = message.partition(": ")[2] if message.startswith("argument ") else message
    if choice := _CHOICE.fullmatch(said):
        return f"one of {choice['choices']}".replace("'", ""), found
    expected, divider, rest = said.removeprefix("expected ").partition(", found ")
    return (expected, rest) if divider else (f"another value ({said})", found)
