"""How long loops report their progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Progress = Callable[[Iterable[Any], str], Iterable[Any]]  # takes a loop's items and a label, yields the items
