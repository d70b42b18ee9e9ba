"""The modules floor by floor, from their imports: `make floors`.

A module stands one floor above the highest module that it imports, so an arrow never points up; a circle of imports has
no floor and is an error. `ROOMS` is the order that is allowed: a module imports from its own room and from the rooms of
the tiers below, never from a neighbour in its tier. `tests/packaging/test_floor_plan.py` enforces it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("runtime", "export", "galleries", "tools")
# From the ground up; rooms of one tier do not know each other. A folder's own files count as a room by their name.
ROOMS = (
    ("runtime.errors", "runtime.fields", "runtime.digest", "runtime.legible", "runtime.result"),
    ("runtime.geometry", "runtime.kernels"),
    ("runtime.preprocessing", "runtime.network"),
    ("runtime.matching", "runtime.anomaly_map"),
    ("runtime.bundle",),
    ("runtime.drift",),
    ("runtime",),
    ("galleries.images",),
    ("export", "galleries"),
    ("tools.extras", "tools.memory", "tools.output", "tools.tls", "tools.hardware"),
    ("tools.faults", "tools.drawing", "tools.signing", "tools.sources"),
    ("tools.remote",),
    ("tools.evaluation", "tools.benchmark", "tools.line.configuration", "tools.datasets", "tools.registry"),
    ("tools.report", "tools.doctor", "tools.scoring", "tools.preparation"),
    ("tools.line",),
    ("tools.fleet",),
    ("tools.demo",),
    ("tools.cli",),
)


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the package by its name below `spade_edge`."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source: str) -> Iterator[str]:
    """Every imported name, dotted, wherever it stands; a relative one with its dots."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            inside = module.partition(".")[0] == "spade_edge"
            yield from (f"{module}.{name.name}" for name in node.names) if inside else (module,)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield "a computed name"


def arrows(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """The modules of the package that each module imports."""
    found = {}
    for module, path in files.items():
        names = (
            name.removeprefix("spade_edge.")
            for name in imported(path.read_text(encoding="utf-8"))
            if name.startswith("spade_edge.")
        )
        targets = (name if name in files else name.rpartition(".")[0] for name in names)
        found[module] = {target for target in targets if target in files} - {module}
    return found


def floors(links: Mapping[str, set[str]]) -> dict[str, int]:
    """The floor of each module; the ground is 1.

    Raises:
        ValueError: modules import each other in a circle.
    """
    found: dict[str, int] = {}

    def floor(module: str, path: tuple[str, ...] = ()) -> int:
        if module in path:
            raise ValueError("a circle of imports: " + " → ".join((*path[path.index(module) :], module)))
        if module not in found:
            found[module] = 1 + max((floor(below, (*path, module)) for below in links[module]), default=0)
        return found[module]

    for module in links:
        floor(module)
    return found


def room_of(module: str) -> str:
    """The room of `ROOMS` that a module is in: the longest that its name starts with."""
    rooms = (room for tier in ROOMS for room in tier if f"{module}.".startswith(f"{room}."))
    return max(rooms, key=len)


def tier_of(room: str) -> int:
    """The tier of a room, from 0 on the ground."""
    return next(number for number, tier in enumerate(ROOMS) if room in tier)


def misdirected(links: Mapping[str, set[str]]) -> list[str]:
    """Arrows that point up, or sideways into another room of the same tier."""
    return [
        f"{module} → {below}"
        for module, targets in sorted(links.items())
        for below in sorted(targets)
        if room_of(below) != room_of(module) and tier_of(room_of(below)) >= tier_of(room_of(module))
    ]


def main() -> None:
    """Print the floors, the highest first, and fail on an arrow that the order does not allow."""
    links = arrows(modules())
    standing = floors(links)
    for number in range(max(standing.values()), 0, -1):
        for module in sorted(module for module, floor in standing.items() if floor == number):
            print(f"{number:3}  {module:40} {' '.join(sorted(links[module]))}")
    wrong = misdirected(links)
    print(f"{len(standing)} modules on {max(standing.values())} floors, {len(wrong)} arrows against the order")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
