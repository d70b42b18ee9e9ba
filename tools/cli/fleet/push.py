"""`fleet push`: a bundle into a registry."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from spade_edge.tools.cli.arguments import add_json, add_require_signature, path
from spade_edge.tools.cli.fleet.registry_arguments import add_registry, keys, reference, registry


def add_arguments(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb."""
    verb = verbs.add_parser("push", help="put a bundle into a registry; only what is missing there is sent")
    verb.add_argument("bundle", type=path, metavar="BUNDLE", help="the bundle that 'spade-edge build' wrote")
    verb.add_argument(
        "reference",
        type=reference,
        metavar="NAME[:TAG]",
        help="its name there, and a tag for this version (default: the first 16 digits of the bundle's SHA-256); a tag "
        "that names another version already is not moved, except latest",
    )
    add_registry(verb)
    add_require_signature(verb, what="push the bundle")
    add_json(verb)
    verb.set_defaults(run_verb=run)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.text.fleet_registry import pushed_sentence
    from spade_edge.tools.registry import push

    pushed = push(
        chosen.bundle,
        registry(chosen),
        chosen.reference,
        keys=keys(chosen),
        tell=lambda line: print(f"sending {line}", file=sys.stderr, flush=True),
    )
    print(json.dumps(pushed.to_json()) if chosen.json else pushed_sentence(pushed))
    return 0
