"""Checks one value of a TOML file against the description of its option."""

from __future__ import annotations

import datetime
import difflib
import math
import os
import re
from pathlib import Path
from typing import Any

from spade_edge.runtime.legible import legible
from spade_edge.tools.line.configuration.description import Option, fits
from spade_edge.tools.sources.address import without_login, without_secrets

LONGEST_TEXT = 4096  # characters
MOST_ENTRIES = 1000  # of a list
SHOWN = 60  # characters of a value in a message

SIZE = r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?(B|kB|KB|[MGT]B|[KMGT]iB)"
_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", start=1)
}
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?")


class UnfitError(Exception):
    """A value that an option does not allow.

    Attributes:
        expected, found, remedy: for a mistake.
        index: of the entry of a list; None for the whole.
    """

    def __init__(self, expected: str, found: str, remedy: str, *, index: int | None = None) -> None:
        super().__init__(expected)
        self.expected, self.found, self.remedy, self.index = expected, found, remedy, index


def understood(value: Any, option: Option, *, folder: Path) -> Any:
    """The value of an option, as its dataclass takes it.

    Args:
        value: as TOML has it.
        option: what it should be.
        folder: that paths are relative to.

    Raises:
        UnfitError: it is of another type, out of range, or looks different.
    """
    if not option.many:
        return _one(value, option, folder)
    if not isinstance(value, list):
        remedy = (
            f"write [{shown(value)}]" if isinstance(value, str) else "write the entries in [ ], with commas between"
        )
        raise UnfitError("a list", shown(value), remedy)
    if len(value) > MOST_ENTRIES:
        raise UnfitError(f"at most {MOST_ENTRIES} entries", f"{len(value)}", "remove some")
    entries = []
    for index, entry in enumerate(value):
        try:
            entries.append(_one(entry, option, folder))
        except UnfitError as problem:
            raise UnfitError(problem.expected, problem.found, problem.remedy, index=index) from None
    return tuple(entries)


def expected(option: Option) -> str:
    """What an option takes, in words: a whole number from 1 to 600000."""
    one = _expected(option)
    return f"a list, each entry {one}" if option.many else one


def shown(value: Any) -> str:
    """A value as it may be printed: as TOML writes it, short, and without a password."""
    if isinstance(value, str):
        told = legible(without_secrets(without_login(value[: 4 * SHOWN])))
        return f'"{told if len(told) <= SHOWN else told[: SHOWN - 1] + "…"}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return "a number of more than 15 digits" if abs(value) >= 1e15 and abs(value) != math.inf else number(value)
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    return "a date or a time" if isinstance(value, (datetime.date, datetime.time)) else "something else"


def number(value: float) -> str:
    """A number without needless digits."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:g}"


def size(value: float) -> str:
    """A number of bytes as people write it."""
    unit = next((unit for unit in ("TB", "GB", "MB", "kB") if value >= _UNITS[unit]), "B")
    return f"{value / _UNITS[unit]:g} {unit}"


def nearest(word: str, known: list[str]) -> str:
    """The known word that was probably meant; "" if none is like it."""
    if len(word) > 100:
        return ""
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.7)
    return lower[close[0]] if close else ""


def _expected(option: Option) -> str:
    if option.choices:
        return " or ".join(option.choices) if len(option.choices) == 2 else f"one of {', '.join(option.choices)}"
    if option.form is not None:
        return option.form.expected
    if option.type is bool:
        return "true or false"
    if option.size:
        least = "" if option.least is None else f" of at least {size(option.least)}"
        return f'a size{least} such as "20 GB"'
    if option.type in (int, float):
        kind = "a whole number" if option.type is int else "a number"
        if option.least is not None and option.most is not None:
            return f"{kind} from {number(option.least)} to {number(option.most)}"
        return kind if option.least is None else f"{kind} of at least {number(option.least)}"
    return "a path" if option.type is Path else "text"


def _one(value: Any, option: Option, folder: Path) -> Any:
    if option.type is bool:
        if isinstance(value, bool):
            return value
        said = value.lower() if isinstance(value, str) else ""
        remedy = f"write {said} without quotes" if said in ("true", "false") else "write true or false, without quotes"
        raise UnfitError(_expected(option), shown(value), remedy)
    if option.size:
        return _size(value, option)
    if option.type in (int, float):
        return _number(value, option)
    text = _text(value, option)
    if option.type is not Path:
        return text
    if text.startswith("~"):
        raise UnfitError(
            "a path from / on, or from the folder of this file on", shown(text), "write the home folder out"
        )
    return Path(os.path.join(folder, text))  # noqa: PTH118  ("folder" is absolute; ".." stays as it is)


def _number(value: Any, option: Option) -> int | float:
    wanted = _expected(option)
    if isinstance(value, str):
        remedy = f"write {value} without quotes" if _NUMBER.fullmatch(value) else "write digits without quotes"
        raise UnfitError(wanted, shown(value), remedy)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnfitError(wanted, shown(value), "write a number, without quotes")
    if isinstance(value, float) and not math.isfinite(value):
        raise UnfitError(wanted, shown(value), "write a number that is finite")
    if option.type is int and isinstance(value, float):
        whole = number(round(value)) if abs(value) < 1e15 else "one"
        raise UnfitError(wanted, f"{value}", f"write {whole}, without a point")
    if option.least is not None and value < option.least:
        raise UnfitError(wanted, shown(value), f"raise it to {number(option.least)} or more")
    if option.most is not None and value > option.most:
        raise UnfitError(wanted, shown(value), f"lower it to {number(option.most)} or less")
    return option.type(value)


def _size(value: Any, option: Option) -> int:
    wanted, remedy = _expected(option), 'write it like "500 MB", "20 GB" or "1 TB"'
    if isinstance(value, str):
        found = re.fullmatch(SIZE, value)
        if found is None:
            raise UnfitError(wanted, shown(value), remedy)
        count = float(found[1]) * _UNITS[found[2]]
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnfitError(wanted, shown(value), remedy)
    else:
        count = value
    if not 0 <= count < 2**63:  # nan is neither
        raise UnfitError(wanted, shown(value), remedy)
    if option.least is not None and count < option.least:
        raise UnfitError(wanted, shown(value), f"raise it to {size(option.least)} or more")
    return int(count)


def _text(value: Any, option: Option) -> str:
    wanted = _expected(option)
    if not isinstance(value, str):
        plain = isinstance(value, (int, float)) and abs(value) < 1e15
        remedy = f'write "{shown(value)}", in quotes' if plain else "write text in quotes"
        raise UnfitError(wanted, shown(value), remedy)
    if option.choices:
        if value not in option.choices:
            meant = nearest(value, list(option.choices))
            raise UnfitError(wanted, shown(value), f"write {meant or 'one of them'}")
        return value
    if len(value) > LONGEST_TEXT:
        raise UnfitError(f"at most {LONGEST_TEXT} characters", f"{len(value)}", "shorten it")
    if not all(character.isprintable() for character in value):
        raise UnfitError(f"{wanted} on one line, without control characters", shown(value), "remove them")
    if not value and option.default != "":
        raise UnfitError(
            wanted, 'an empty text, ""', "write it, or remove the option" if not option.required else "write it"
        )
    if value != value.strip():
        raise UnfitError(f"{wanted} without spaces at its ends", shown(value), "remove them")
    if value and option.form is not None and not fits(value, option.form):
        raise UnfitError(wanted, shown(value), f'write it like "{option.form.example}"')
    return value
