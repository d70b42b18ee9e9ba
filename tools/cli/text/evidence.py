"""What `spade-edge evidence` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spade_edge.runtime.legible import legible
from spade_edge.tools.line.evidence.entry import Entry
from spade_edge.tools.line.evidence.export import Exported


def entry_line(entry: Entry) -> str:
    """An entry in one line, with the local time."""
    made = entry.decision
    score = "" if made.get("score") is None else f"{made['score']:.4g}"
    moment = entry.time.astimezone()
    cells = f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}", made["camera"], made["number"]
    text = f"{cells[0]}  {cells[1]:<8}  {cells[2]:>8}  {made['verdict']:<12}  {made['gate']:<6}  {score:>8}  {entry.id}"
    return legible(text)


def entry_as_json(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "decision": entry.decision,
        "frame": None if entry.frame is None else str(entry.frame),
        "overlay": None if entry.overlay is None else str(entry.overlay),
        "frame_sha256": entry.frame_sha256,
    }


def exported_sentence(exported: Exported) -> str:
    """An export in one line."""
    parts = "1 part" if exported.entries == 1 else f"{exported.entries} parts"
    gone = f"; {exported.gone} were removed by the service meanwhile" if exported.gone else ""
    altered = f"; {exported.altered} have another frame than was kept" if exported.altered else ""
    return f"{exported.path}: {parts}, {exported.size / 1e6:,.1f} MB{gone}{altered}"


def exported_as_json(exported: Exported) -> dict[str, Any]:
    return {
        "file": str(exported.path),
        "bytes": exported.size,
        "entries": exported.entries,
        "gone": exported.gone,
        "altered": exported.altered,
    }


def nothing(folder: Path) -> str:
    """That there is no entry."""
    return f"{folder}: no evidence of that time, camera and verdict"
