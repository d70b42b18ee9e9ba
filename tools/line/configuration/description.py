"""The options as the dataclasses of `options.py` describe them, table by table, for all who need to know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from spade_edge.tools.line.configuration.options import (
    OUTPUTS,
    CameraOptions,
    EvidenceOptions,
    LineOptions,
    PageOptions,
    RecipeOptions,
)

KIND = "kind"  # the key of an output that says what it is
SINGLE: dict[str, type] = {"line": LineOptions, "evidence": EvidenceOptions, "page": PageOptions}  # [line]
NAMED: dict[str, type] = {"recipe": RecipeOptions, "camera": CameraOptions}  # [recipe.NAME]
OUTPUT = "output"  # [output.NAME], one of `OUTPUTS`
TABLES = ("line", "recipe", "camera", OUTPUT, "evidence", "page")  # in the order in which people read them
MOST = {"recipe": 1000, "camera": 64, OUTPUT: 64}  # tables of each kind

_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HOST = r"(\[[0-9A-Fa-f:.]{2,64}\]|[A-Za-z0-9._-]{1,253})"


@dataclass(frozen=True)
class Form:
    """What a text must look like.

    Attributes:
        pattern: that all of it matches, in the notation that Python and JSON schemas share.
        expected: the same in words.
        example: such a text.
    """

    pattern: str
    expected: str
    example: str


FORMS = {
    "name": Form("[A-Za-z0-9_-]{1,64}", "1 to 64 letters (A to Z), digits, _ or -", "press-3"),
    "address": Form(f"{_HOST}:{_PORT}", "an address and a port", "127.0.0.1:8080"),
    "host": Form(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,64}", "a host name or an IP address", "192.168.0.10"),
    "web": Form(
        rf"https?://{_HOST}(:{_PORT})?([/?][!-\"$-~]*)?",
        "an address that begins with http:// or https://, without user and password",
        "https://mes.example/decisions",
    ),
    "topic": Form(
        "[^+#$/][^+#/]*(/[^+#/]+)*",
        "the first levels of a topic, with / between them, without + and #",
        "plant/line-1",
    ),
    "records": Form(r"[\s\S]*\.(jsonl|csv)", "the name of a file that ends with .jsonl or .csv", "decisions.jsonl"),
    "report": Form(r"[\s\S]*\.json", "the name of a file that ends with .json", "line-3.json"),
}
NAME = FORMS["name"]


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: its key.
        type: str, bool, int, float or Path; of its entries, if it is a list.
        many: whether it is a list.
        required: whether the file must have it.
        default: its value if the file has none.
        example: a typical value where there is no default; None where the default shows one.
        about: what it is.
        least, most: the range of a number; None for no bound.
        choices: the texts that are allowed; empty for all.
        unit: "size" for bytes.
        form: what a text must look like; None for any.
    """

    name: str
    type: type
    many: bool
    required: bool
    default: Any
    example: Any
    about: str
    least: float | None
    most: float | None
    choices: tuple[str, ...]
    unit: str
    form: Form | None

    @property
    def size(self) -> bool:
        """Whether it is a number of bytes."""
        return self.unit == "size"

    @property
    def typical(self) -> Any:
        """A value that shows what it is: its example, or else its default."""
        return self.default if self.example is None else self.example


@cache
def options_of(table: type) -> Mapping[str, Option]:
    """The options of a table, in the order of its class, those of its own first."""
    hints = get_type_hints(table)
    inherited = {name for base in table.__mro__[1:] for name in getattr(base, "__annotations__", {})}
    ordered = sorted(fields(table), key=lambda field: field.name in inherited)
    return {field.name: _option(field, hints[field.name]) for field in ordered}


def tables() -> Iterator[tuple[str, str, type]]:
    """Every kind of table: its name in the file, the kind of an output or "", and its class."""
    for name in TABLES:
        if name == OUTPUT:
            yield from ((name, kind, table) for kind, table in OUTPUTS.items())
        else:
            yield name, "", (SINGLE | NAMED)[name]


def heading(name: str, named: str = "NAME") -> str:
    """A table as it stands in a file: [line], [camera.NAME]."""
    return f"[{name}]" if name in SINGLE else f"[{name}.{named}]"


def summary(table: type) -> str:
    """What a table is, from the docstring of its class, without its name."""
    return (table.__doc__ or "").splitlines()[0].partition(": ")[2]


def fits(text: str, form: Form) -> bool:
    """Whether all of a text looks like it should."""
    return re.fullmatch(form.pattern, text) is not None


def _option(field: Any, hint: Any) -> Option:
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    many = get_origin(hint) is tuple
    told = dict(field.metadata)
    form = told.pop("form")
    return Option(
        name=field.name,
        type=get_args(hint)[0] if many else hint,
        many=many,
        default=None if field.default is MISSING else field.default,
        form=FORMS[form] if form else None,
        **told,
    )
