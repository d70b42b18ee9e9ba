"""`fleet list`: what a registry has."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from spade_edge.runtime.errors import UsageError
from spade_edge.tools.cli.arguments import add_json
from spade_edge.tools.cli.fleet.registry_arguments import add_registry, reference, registry

if TYPE_CHECKING:
    from spade_edge.tools.registry import Move, Published, Registry


def add_arguments(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb."""
    verb = verbs.add_parser("list", help="the bundles of a registry, their tags and channels, and who moved these")
    verb.add_argument(
        "name", nargs="?", type=reference, metavar="NAME", help="only this bundle, with its channels' moves"
    )
    add_registry(verb)
    add_json(verb)
    verb.set_defaults(run_verb=run)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.text.fleet_registry import list_as_json, list_lines
    from spade_edge.tools.registry import published
    from spade_edge.tools.remote import MissingError

    where = registry(chosen)
    if chosen.name is not None and str(chosen.name) != chosen.name.name:
        raise UsageError(f"expected the name of a bundle alone, found '{chosen.name}'")
    names = where.names() if chosen.name is None else (chosen.name.name,)
    versions: list[Published] = []
    moved: dict[str, tuple[Move, ...]] = {}
    for name in names:
        try:
            found, problems = published(where, name)
        except MissingError:
            if chosen.name is not None:
                raise
            continue  # an OCI registry also names bundles of which a push that was killed has left files
        versions += found
        for problem in problems:
            print(problem, file=sys.stderr)
        if chosen.name is not None:
            moved = _moves(where, name)
    if chosen.json:
        print(json.dumps(list_as_json(where.address, versions, moved)))
    else:
        print("\n".join(list_lines(where.address, versions, moved)))
    return 0


def _moves(where: Registry, name: str) -> dict[str, tuple[Move, ...]]:
    """The moves of each channel of a bundle."""
    from spade_edge.tools.registry import moves
    from spade_edge.tools.registry.reference import RECORD

    channels = [tag.removesuffix(RECORD) for tag in where.tags(name) if tag.endswith(RECORD)]
    return {channel: moves(where, name, channel) for channel in channels}
