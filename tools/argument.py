"""What values an argument of the command line may have."""

from __future__ import annotations

import argparse
from pathlib import Path


def positive(text: str) -> int:
    """A whole number from 1, as an argparse type."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def threads(text: str) -> int:
    """A number of threads."""
    count = positive(text)
    if count > 1024:
        raise argparse.ArgumentTypeError(f"expected at most 1024 threads, found {text}")
    return count


def path(text: str) -> Path:
    """A path; an empty text would silently stand for the current folder."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, found {text!r}")
    return Path(text)
