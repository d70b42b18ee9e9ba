"""Decisions as rows of a table, for CSV files that people open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import Any

COLUMNS = (
    "version",
    "line",
    "camera",
    "number",
    "trigger",
    "triggered",
    "decided",
    "milliseconds",
    "verdict",
    "gate",
    "reason",
    "recipe",
    "score",
    "threshold",
    "pixel_threshold",
    "p",
    "regions",
    "worst_x",
    "worst_y",
    "worst_width",
    "worst_height",
    "worst_score",
    "bundle",
    "drift",
)
FORMULAS = ("=", "+", "-", "@")  # a spreadsheet calculates a cell that begins with one of these


def header(*more: str) -> str:
    """The first line of a file, with the end of the line.

    Args:
        more: names of columns after those of a decision.
    """
    return line((*COLUMNS, *more))


def row(decision: dict[str, Any]) -> list[object]:
    """The cells of a decision: its fields, the number of its regions, and the worst of them.

    Args:
        decision: as `Decision.to_json` gives it.
    """
    regions = decision.get("regions") or []
    worst = regions[0] if regions else {}
    cells = {
        **decision,
        "regions": len(regions),
        **{f"worst_{name}": worst.get(name) for name in ("x", "y", "width", "height", "score")},
    }
    return [cells.get(name) for name in COLUMNS]


def line(cells: list[object] | tuple[object, ...]) -> str:
    """One line of CSV, as in RFC 4180 but with a line feed alone. No cell has a line break or is a formula."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_safe(cell) for cell in cells])
    return text.getvalue()


def _safe(cell: object) -> object:
    """A cell; numbers stay as they are, a negative one is no formula."""
    if not isinstance(cell, str):
        return cell
    printable = "".join(letter if letter.isprintable() else " " for letter in cell)
    return f"'{printable}" if printable.lstrip().startswith(FORMULAS) else printable
