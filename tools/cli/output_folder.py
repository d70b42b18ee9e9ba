"""A folder to write to, made sure of before the long work and not after it."""

from __future__ import annotations

import os
from pathlib import Path

from spade_edge.runtime import DataError


def prepare(folder: Path) -> None:
    """Make a folder if it is not there.

    Raises:
        DataError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise DataError(f"{folder}: expected a folder that can be written, found one that cannot; choose another")
