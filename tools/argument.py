"""What values an argument of the command line may have."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number from 1, as an argparse type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)
