"""`spade-edge fleet build`."""

from __future__ import annotations

import argparse
from typing import Any


def add_arguments(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb."""
