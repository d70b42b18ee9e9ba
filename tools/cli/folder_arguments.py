"""The option of commands that read a folder of images."""

from __future__ import annotations

import argparse


def add_follow_links(parser: argparse._ActionsContainer) -> None:
    """--follow-links: whether a folder includes the folders that it links to; None without the option."""
    parser.add_argument(
        "--follow-links",
        action="store_true",
        default=None,
        help="also look into folders that a folder links to, each once (default: they are named and left out)",
    )
