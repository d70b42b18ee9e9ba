"""SHA-256 of files; the payload of a bundle is named after it and checked against it."""

from __future__ import annotations

import hashlib
from pathlib import Path

BUNDLE_MARK = "manifest.json"  # a folder with this file is a bundle


def sha256(path: Path) -> str:
    """Hash a file: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(4 << 20):
            digest.update(block)
    return digest.hexdigest()
