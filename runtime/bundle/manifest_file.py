"""The bytes of `manifest.json`, and their SHA-256: the identity of a bundle."""

from __future__ import annotations

import hashlib
from pathlib import Path

from spade_edge.runtime.digest import BUNDLE_MARK
from spade_edge.runtime.errors import BundleError

LARGEST = 64 << 20  # bytes; a manifest of 100,000 image names is a tenth of that
SHORT = 16  # hexadecimal digits of the SHA-256 by which messages and results name a generation


def manifest_bytes(bundle: Path, *, sha256: str | None = None) -> tuple[bytes, str]:
    """Read the manifest of a bundle folder, unparsed; no other file is opened.

    Args:
        bundle: the folder.
        sha256: 64 hexadecimal digits that the manifest must have; None for any.

    Returns:
        the file's bytes, and their SHA-256.

    Raises:
        BundleError: there is no manifest, it is too large, or another one than expected.
    """
    path = bundle / BUNDLE_MARK
    try:
        if path.exists() and (not path.is_file() or path.stat().st_size > LARGEST):
            raise BundleError(f"{path}: expected a file of at most {LARGEST >> 20} MB, found something else")
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, ValueError) as problem:  # ValueError for a path with a NUL
        found = problem.strerror if isinstance(problem, OSError) else problem
        raise BundleError(
            f"{bundle}: expected a bundle folder with {BUNDLE_MARK}, found: {found}; 'spade-edge build' makes one"
        ) from None
    digest = hashlib.sha256(raw).hexdigest()
    if sha256 is not None and digest != sha256:
        raise BundleError(
            f"{path}: expected the manifest {sha256[:SHORT]}…, found {digest[:SHORT]}…: the bundle is another one, or "
            "was changed meanwhile; try again"
        )
    return raw, digest
