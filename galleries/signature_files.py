"""The files of signatures in a bundle, by their names: `signatures/<SHA-256 of the manifest>-<start of a key>.json`.

What is in them is known to `spade_edge.tools.signing` alone, which needs cryptography.
"""

from __future__ import annotations

import re
from pathlib import Path

from spade_edge.runtime.bundle.manifest_file import SHORT

FOLDER = "signatures"
LARGEST = 4096  # bytes of a file; ours has 375
MOST = 32  # of one manifest
NAME = re.compile(rf"([0-9a-f]{{64}})-([0-9a-f]{{{SHORT}}})\.json")  # SHA-256 of the manifest, start of the fingerprint


def signature_files(bundle: Path, manifest: str) -> tuple[Path, ...]:
    """The files that have the name of a signature of a manifest, sorted.

    Args:
        bundle: the bundle folder.
        manifest: SHA-256 of the manifest.
    """
    try:
        paths = list((bundle / FOLDER).iterdir())
    except OSError:
        return ()
    return tuple(sorted(path for path in paths if (found := NAME.fullmatch(path.name)) and found[1] == manifest))
