"""Messages about copies of images name what people know: the address or the dataset file, not the copy's folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from spade_edge.runtime.errors import SpadeError

Value = TypeVar("Value")


def told(value: Value, names: Mapping[str, str]) -> Value:
    """The same value with other names in each text of it, also in lists, mappings and dataclasses.

    Paths stay as they are: they are there to be opened.

    Args:
        value: what is to be told.
        names: what each folder is called; the folder is a regular expression.
    """
    return _told(value, names)


def _told(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for folder, name in names.items():
            value = re.sub(folder, name.replace("\\", r"\\"), value)  # a name has no escapes
        return value
    if type(value) in (tuple, list):
        return type(value)(_told(each, names) for each in value)
    if type(value) is dict:
        return {_told(key, names): _told(each, names) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        changed = {}
        for field in fields(value):
            if field.init:
                before = getattr(value, field.name)
                after = _told(before, names)
                if after is not before and not _same(after, before):
                    changed[field.name] = after
        return replace(value, **changed) if changed else value
    return value


def _same(after: Any, before: Any) -> bool:
    """Whether nothing was renamed; values with arrays in them do not compare as a whole."""
    try:
        return bool(after == before)
    except ValueError:
        return False


@contextmanager
def naming(names: Mapping[str, str]) -> Iterator[None]:
    """Name folders otherwise in the errors that leave the block, and in what is logged within it."""
    handlers = [*logging.getLogger().handlers, *logging.getLogger("spade_edge").handlers]
    renaming = _Renaming(names)
    for handler in handlers:
        handler.addFilter(renaming)
    try:
        yield
    except SpadeError as problem:
        said = told(str(problem), names)
        if said == str(problem):
            raise
        raise type(problem)(said) from None
    except OSError as problem:
        if isinstance(problem.filename, str):
            problem.filename = told(problem.filename, names)
        raise
    finally:
        for handler in handlers:
            handler.removeFilter(renaming)


class _Renaming(logging.Filter):
    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self._names = names

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = told(record.getMessage(), self._names), ()
        return True
