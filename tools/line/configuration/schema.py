"""The JSON schema of a configuration file, for editors that check TOML while it is written.

It is made from the descriptions of the options. What no schema can say, such as that the recipe of a camera exists, is
found by `spade-edge run --check`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spade_edge.tools.line.configuration.description import (
    KIND,
    MOST,
    NAME,
    NAMED,
    OUTPUT,
    SINGLE,
    Option,
    options_of,
    summary,
)
from spade_edge.tools.line.configuration.options import OUTPUTS
from spade_edge.tools.line.configuration.rules import NEEDS
from spade_edge.tools.line.configuration.values import LONGEST_TEXT, MOST_ENTRIES, SIZE

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TYPES = {str: "string", Path: "string", bool: "boolean", int: "integer", float: "number"}


def schema() -> dict[str, Any]:
    """The schema, of draft 2020-12."""
    properties = {name: _table(table) for name, table in SINGLE.items()}
    properties |= {name: _group(name, _table(table)) for name, table in NAMED.items()}
    outputs = [_table(table, kind=kind) for kind, table in OUTPUTS.items()]
    properties[OUTPUT] = _group(OUTPUT, {"type": "object", "required": [KIND], "oneOf": outputs})
    properties["camera"]["minProperties"] = 1
    return {
        "$schema": DRAFT,
        "title": "Configuration of spade-edge run",
        "type": "object",
        "additionalProperties": False,
        "required": ["recipe", "camera"],
        "properties": properties,
    }


def _group(name: str, table: dict[str, Any]) -> dict[str, Any]:
    """The tables [camera.NAME] of all names."""
    return {
        "type": "object",
        "maxProperties": MOST[name],
        "propertyNames": {"pattern": _all_of(NAME.pattern)},
        "additionalProperties": table,
    }


def _table(table: type, *, kind: str = "") -> dict[str, Any]:
    options = options_of(table)
    properties = {key: _property(option) for key, option in options.items()}
    required = [key for key, option in options.items() if option.required]
    if kind:
        properties = {KIND: {"const": kind, "description": summary(table)}, **properties}
        required = [KIND, *required]
    made: dict[str, Any] = {
        "type": "object",
        "description": summary(table),
        "additionalProperties": False,
        "properties": properties,
    }
    if required:
        made["required"] = required
    if table in NEEDS:
        made["dependentRequired"] = {key: [other] for key, other in NEEDS[table].items()}
    return made


def _property(option: Option) -> dict[str, Any]:
    entry = _size(option) if option.size else _value(option)
    if option.many:
        entry = {"type": "array", "maxItems": MOST_ENTRIES, "items": entry}
    default = list(option.default) if option.many else option.default
    told: dict[str, Any] = {"description": option.about}
    return told | entry | ({} if option.required or default is None else {"default": default})


def _value(option: Option) -> dict[str, Any]:
    made: dict[str, Any] = {"type": TYPES[option.type]}
    if option.least is not None:
        made["minimum"] = option.least
    if option.most is not None:
        made["maximum"] = option.most
    if option.choices:
        made["enum"] = list(option.choices)
    elif made["type"] == "string":
        made["maxLength"] = LONGEST_TEXT
        if option.default != "":
            made["minLength"] = 1
        if option.form is not None:
            made["pattern"] = _all_of(option.form.pattern)
    return made


def _size(option: Option) -> dict[str, Any]:
    number: dict[str, Any] = {"type": "number"}
    if option.least is not None:
        number["minimum"] = option.least
    return {"anyOf": [number, {"type": "string", "pattern": _all_of(SIZE)}]}


def _all_of(pattern: str) -> str:
    return f"^(?:{pattern})$"
