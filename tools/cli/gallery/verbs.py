"""A verb of `spade-edge gallery`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

from spade_edge.tools.cli.arguments import add_bundle

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_verb(
    verbs: Verbs, name: str, run: Callable[[argparse.Namespace], int], *, what: str, bundle: bool = True
) -> argparse.ArgumentParser:
    """Add a verb; returns its parser.

    Args:
        verbs: of the command.
        name: of the verb.
        run: does it; returns the exit code.
        what: it does, in a line.
        bundle: whether it takes --bundle.
    """
    verb = verbs.add_parser(name, help=what)
    verb.set_defaults(run_verb=run)
    if bundle:
        add_bundle(verb)
    return verb


def add_who(verb: argparse.ArgumentParser) -> None:
    """Add the option --who."""
    verb.add_argument("--who", default="", metavar="NAME", help="who does it; default: user and host")
