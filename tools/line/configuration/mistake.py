"""A mistake in a configuration file: where it is, what was expected and found, and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Mistake:
    """One mistake in a file.

    Attributes:
        line: number of the line, from 1; None where the mistake has none, such as a file that is missing.
        table: the table, such as "camera.top"; "" for the file itself.
        key: the option; "" for the table itself.
        expected: what belongs there.
        found: what is there.
        remedy: what to do.
    """

    line: int | None
    table: str
    key: str
    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        place = " ".join(part for part in (f"[{self.table}]" if self.table else "", self.key) if part)
        where = ", ".join(part for part in (f"line {self.line}" if self.line else "", place) if part)
        return f"{where}{': ' if where else ''}expected {self.expected}, found {self.found}; {self.remedy}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
