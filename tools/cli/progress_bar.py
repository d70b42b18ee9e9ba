"""Progress of long loops on stderr: a bar on a terminal, lines elsewhere.

The only module of the command line that imports tqdm: a command that imports it says at once, and not after half of the
work, that tqdm is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from spade_edge.tools.cli.progress import in_lines


def progress(items: Iterable[Any], label: str, unit: str = "image") -> Iterable[Any]:
    """Wrap the items of a loop in a progress bar with rate and remaining time; in a log file, in lines instead."""
    if not sys.stderr.isatty():
        return in_lines(items, label, unit)
    wrapped: Iterable[Any] = tqdm(items, desc=f"{label:<19}", unit=unit, file=sys.stderr, dynamic_ncols=True)
    return wrapped
