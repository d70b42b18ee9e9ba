"""What `fleet build` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.tools.cli.text.columns import columns
from spade_edge.tools.fleet.building import BUILT, FAILED, KNOWN, Row

HEADER = ("bundle", "state", "digest", "images", "threshold", "seconds")
NUMBERS = {3, 4, 5}  # columns of the header that are aligned to the right


def line(row: Row) -> str:
    """What became of a bundle, in a line, followed by one for each remark about its images if it is newly laid."""
    message = f": {row.message}" if row.message else ""
    remarks = [f"{row.name}: {remark}" for remark in row.facts.get("remarks", ()) if row.state in (BUILT, KNOWN)]
    return "\n".join([f"{row.name}: {row.state}{message}", *remarks])


def table(rows: Sequence[Row]) -> list[str]:
    """A row for each bundle, why some have failed, and a summary."""
    lines = columns([HEADER, *(_cells(row) for row in rows)], right=NUMBERS)
    lines += [f"{row.name}: {row.message}" for row in rows if row.message]
    counted = Counter(row.state for row in rows)
    bundles = "1 bundle" if len(rows) == 1 else f"{len(rows)} bundles"
    return [*lines, f"{bundles}: {', '.join(f'{count} {state}' for state, count in counted.items())}"]


def as_json(row: Row) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "name": row.name,
        "state": row.state,
        "bundle": str(row.path),
        "key": row.key or None,
        "manifest": row.manifest,
        "error": row.message if row.state == FAILED else None,
        "note": row.message if row.state != FAILED and row.message else None,
        "facts": dict(row.facts),
    }


def _cells(row: Row) -> tuple[str, ...]:
    facts = row.facts
    return (
        row.name,
        row.state,
        (row.manifest or "")[:SHORT],
        str(facts.get("images", "")),
        f"{facts['threshold']:.6g}" if isinstance(facts.get("threshold"), float) else "",
        f"{facts['total_seconds']:.1f}" if isinstance(facts.get("total_seconds"), (int, float)) else "",
    )
