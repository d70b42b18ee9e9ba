"""Progress of long loops on stderr: a bar on a terminal, lines elsewhere, and where tqdm is missing, as on a device."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from spade_edge.tools.cli.progress import in_lines

try:
    from tqdm import tqdm
except ModuleNotFoundError:
    tqdm = None


def progress(items: Iterable[Any], label: str, unit: str = "image") -> Iterable[Any]:
    """Wrap the items of a loop in a progress bar with rate and remaining time; in a log file, in lines instead."""
    if tqdm is None or not sys.stderr.isatty():
        return in_lines(items, label, unit)
    wrapped: Iterable[Any] = tqdm(items, desc=f"{label:<19}", unit=unit, file=sys.stderr, dynamic_ncols=True)
    return wrapped
