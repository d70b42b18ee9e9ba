"""A progress bar on stderr for long loops.

The only module of the command line that imports tqdm: a command that imports it says at once, and not after half of the
work, that tqdm is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(items: Iterable[Any], label: str, unit: str = "image") -> Iterable[Any]:
    """Wrap the items of a loop in a progress bar with rate and remaining time."""
    wrapped: Iterable[Any] = tqdm(items, desc=f"{label:<19}", unit=unit, file=sys.stderr, dynamic_ncols=True)
    return wrapped
