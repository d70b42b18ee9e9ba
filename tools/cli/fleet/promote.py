"""`fleet promote`: a channel points at another version."""

from __future__ import annotations

import argparse
import json
from typing import Any

from spade_edge.runtime.errors import UsageError
from spade_edge.tools.cli.arguments import add_json
from spade_edge.tools.cli.fleet.registry_arguments import add_registry, reference, registry, tag
from spade_edge.tools.cli.gallery.verbs import add_who


def add_arguments(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "promote", help="let a channel such as production point at a version, or go back with --back"
    )
    verb.add_argument(
        "reference",
        type=reference,
        metavar="NAME:TAG|NAME@DIGEST",
        help="the version; with --back the name alone",
    )
    verb.add_argument(
        "channel", type=tag, metavar="CHANNEL", help="the channel that devices follow, such as production"
    )
    verb.add_argument("--back", action="store_true", help="go back to the version before; once more goes further back")
    verb.add_argument("--reason", default="", metavar="TEXT", help="why; kept in the record of the channel")
    verb.add_argument("--even-so", action="store_true", help="make a channel of a tag that names a version")
    add_who(verb)
    add_registry(verb)
    add_json(verb)
    verb.set_defaults(run_verb=run)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.text.fleet_registry import promoted_sentence
    from spade_edge.tools.registry import back, promote

    where = registry(chosen)
    if chosen.back:
        if str(chosen.reference) != chosen.reference.name:
            raise UsageError(f"expected the name of a bundle alone with --back, found '{chosen.reference}'")
        done = back(where, chosen.reference.name, chosen.channel, who=chosen.who, reason=chosen.reason)
    else:
        done = promote(
            where, chosen.reference, chosen.channel, who=chosen.who, reason=chosen.reason, even_so=chosen.even_so
        )
    print(json.dumps(done.to_json()) if chosen.json else promoted_sentence(done))
    return 0
