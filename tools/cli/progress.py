"""A bar on stderr for long loops, with rate and time left."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(items: Iterable[Any], label: str, unit: str = "image") -> Iterable[Any]:
    """Wrap the items of a loop."""
    wrapped: Iterable[Any] = tqdm(items, desc=f"{label:<19}", unit=unit, file=sys.stderr, dynamic_ncols=True)
    return wrapped
