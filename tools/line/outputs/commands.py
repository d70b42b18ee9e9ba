"""Commands as they come in messages: strict about what they contain, and about how many come."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from spade_edge.runtime.errors import UsageError

LARGEST = 4096  # bytes of a command
LONGEST_ID = 128  # characters of the id of a trigger
RATE, BURST = 200.0, 400.0  # commands for each second, and at once; no line has so many parts
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Allowance:
    """How many commands are carried out: a sender that has gone wild must not take the processor's time.

    Args:
        clock: returns seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left, self._at = BURST, clock()

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = self._clock()
        self._left = min(BURST, self._left + RATE * (now - self._at))
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def read_trigger(payload: bytes) -> tuple[str | None, str | None]:
    """The id and the recipe that a trigger's message has.

    Args:
        payload: empty, or a JSON object with "id" (text or whole number) and "recipe" (a name), each optional.

    Raises:
        UsageError: it is something else.
    """
    if not payload:
        return None, None
    fields = _fields(payload, known=("id", "recipe"))
    given = fields.get("id")
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if given is not None and not (isinstance(given, str) and given.isprintable() and 0 < len(given) <= LONGEST_ID):
        raise UsageError(f'expected "id" as a whole number or 1 to {LONGEST_ID} printable characters, found another')
    recipe = fields.get("recipe")
    return given, None if recipe is None else _name(recipe)


def read_recipe(payload: bytes) -> str:
    """The recipe that a message chooses.

    Args:
        payload: its name, or a JSON object with "recipe".

    Raises:
        UsageError: it is something else.
    """
    if payload.lstrip()[:1] == b"{":
        return _name(_fields(payload, known=("recipe",)).get("recipe"))
    return _name(_text(payload).strip())


def _fields(payload: bytes, *, known: tuple[str, ...]) -> dict[str, Any]:
    try:
        fields = json.loads(_text(payload))
    except (ValueError, RecursionError):
        raise UsageError("expected a JSON object, found something that is not JSON") from None
    if not isinstance(fields, dict):
        raise UsageError("expected a JSON object, found other JSON")
    if others := fields.keys() - set(known):
        raise UsageError(f"expected no fields but {', '.join(known)}, found {len(others)} others")
    return fields


def _text(payload: bytes) -> str:
    if len(payload) > LARGEST:
        raise UsageError(f"expected a command of at most {LARGEST} bytes, found {len(payload)}")
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError("expected UTF-8 text, found other bytes") from None


def _name(value: object) -> str:
    if not (isinstance(value, str) and _NAME.fullmatch(value)):
        raise UsageError("expected the name of a recipe: 1 to 64 letters, digits, _ or -; found something else")
    return value
