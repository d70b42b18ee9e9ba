"""What the verbs of `spade-edge gallery` print about generations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from spade_edge.galleries.bundle_difference import Difference
from spade_edge.galleries.generation import Generation, Pruned
from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.runtime.legible import legible

SHOWN = 6  # names in a line


def as_json(generation: Generation) -> dict[str, Any]:
    """A line of the log as JSON values, with what has become of the generation."""
    return {**generation.to_json(), "in_force": generation.in_force, "kept": generation.kept}


def lines(generations: Sequence[Generation]) -> list[str]:
    """The log for people, the oldest first."""
    who = max([3, *(len(_plain(one.who)) for one in generations)])
    text = [f"{'generation':>10}  {'manifest':{SHORT}}  {'when (UTC)':19}  {'who':{who}}  {'threshold':>21}  what"]
    for one in generations:
        when = _plain(one.when).replace("T", " ")[:19]
        row = f"{one.number:10}  {one.manifest[:SHORT]}  {when:19}  {_plain(one.who):{who}}"
        row += f"  {_threshold(one):>21}  {_what(one)}"
        if one.in_force:
            row += "  IN FORCE"
        elif not one.kept:
            row += "  (deleted)"
        text.append(row)
    return text


def switched(generation: Generation) -> str:
    """That another generation is in force, in a line."""
    if generation.came_from == generation.number:
        return f"the manifest of generation {generation.number} is restored; threshold {_threshold(generation)}"
    return f"generation {generation.came_from} → {generation.number}; threshold {_threshold(generation)}"


def pruned(result: Pruned) -> str:
    """What was deleted, in a line."""
    kept = f"{len(result.kept)} kept: {_listed([str(number) for number in result.kept])}"
    if not result.numbers:
        return f"no generation deleted; {kept}" + (f"; freed {_size(result.size)}" if result.size else "")
    gone = _listed([str(number) for number in result.numbers])
    return f"deleted generations {gone}; freed {_size(result.size)}; {kept}"


def pruned_as_json(result: Pruned) -> dict[str, Any]:
    return {"deleted": list(result.numbers), "kept": list(result.kept), "bytes": result.size}


def difference_lines(found: Difference) -> list[str]:
    """A difference for people."""
    text = []
    for label, names in (("added", found.added), ("removed", found.removed), ("included", found.included)):
        if names:
            text.append(f"{label} {len(names)}: {_listed(names)}")
    if found.excluded:
        reasons = [f"{name} ({_plain(reason)})" for name, reason in found.excluded.items()]
        text.append(f"excluded {len(reasons)}: {_listed(reasons)}")
    text += [f"{name}: {_value(old)} → {_value(new)}" for name, (old, new) in found.settings.items()]
    if found.files:
        text.append(f"other files: {', '.join(found.files)}")
    return text or ["no difference"]


def difference_as_json(found: Difference) -> dict[str, Any]:
    return {
        "added": list(found.added),
        "removed": list(found.removed),
        "excluded": found.excluded,
        "included": list(found.included),
        "settings": {name: {"old": old, "new": new} for name, (old, new) in found.settings.items()},
        "files": list(found.files),
    }


def _what(one: Generation) -> str:
    what = one.verb
    if one.names:
        what += f" {_listed(one.names)}"
    if one.pruned:
        what += f" {_listed([str(number) for number in one.pruned])}"
    return _plain(f"{what}: {one.reason}" if one.reason else what)


def _threshold(one: Generation) -> str:
    now = _number(one.threshold)
    return now if one.former_threshold in (None, one.threshold) else f"{_number(one.former_threshold)} → {now}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"


def _value(value: Any) -> str:
    if value in (None, ""):
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and value and all(isinstance(one, float) for one in value):
        return " to ".join(f"{one:.6g}" for one in value) if len(value) == 2 else f"{len(value)} numbers"
    text = _plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count:,} bytes"


def _plain(text: str) -> str:
    """A text of somebody's on one line, without characters that a terminal would act upon."""
    return legible(" ".join(text.split()))
