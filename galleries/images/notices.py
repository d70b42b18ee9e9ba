"""What is worth a line on stderr once for a folder, and not for each of its images."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)

_MOST = 10_000  # folders that are remembered
_said: set[tuple[str, Path]] = set()


def say_once(kind: str, path: Path, message: str) -> None:
    """Log a message about an image, unless one of this kind was logged about its folder before.

    Args:
        kind: of message.
        path: the image.
        message: one line.
    """
    if len(_said) >= _MOST:
        _said.clear()
    if (kind, path.parent) not in _said:
        _said.add((kind, path.parent))
        log.warning("%s; the same in this folder is not said again", message)
