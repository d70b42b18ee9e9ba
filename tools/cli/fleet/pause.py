"""The pause of commands that look again and again."""

from __future__ import annotations

import argparse

from spade_edge.tools.cli.arguments import real, shown

SOONEST, LATEST = 1.0, 86400.0  # seconds


def pause(text: str) -> float:
    """Seconds between two looks; a type for argparse."""
    value = real(text, expected="seconds")
    if not SOONEST <= value <= LATEST:
        raise argparse.ArgumentTypeError(f"expected {SOONEST:.0f} to {LATEST:.0f} seconds, found {shown(text)}")
    return value
