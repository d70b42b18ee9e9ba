"""SHA-256 of files; the payload of a bundle is named after it and checked against it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

BUNDLE_MARK = "manifest.json"  # a folder with this file is a bundle


def sha256(path: Path, look: Callable[[bytes], None] | None = None) -> str:
    """Hash a file: 64 hexadecimal digits.

    Args:
        path: the file.
        look: is shown the file as it is read, in blocks of 4 MB, the last of any length.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(4 << 20):
            digest.update(block)
            if look is not None:
                look(block)
    return digest.hexdigest()
