"""The place that a bundle is written to."""

from __future__ import annotations

import json
from pathlib import Path

from spade_edge.galleries.generation_log import LOG
from spade_edge.galleries.signature_files import FOLDER as SIGNATURES
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, NAME

STAGING = ".building-"  # prefix of the folders that hold unfinished bundles
PULLING = ".pulling"  # prefix of the folders that hold what has arrived of a bundle from a registry


def check_output(output: Path) -> None:
    """Refuse an output that would overwrite something other than a bundle.

    Raises:
        UsageError: the path is a file, or a folder that holds something other than a bundle.
    """
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise UsageError(f"{output}: expected a folder for the bundle, found a file or link; choose another place")
    if output.is_dir() and not _is_manifest(output / FILE):
        others = [
            path.name
            for path in output.iterdir()
            if path.name not in (FILE, HISTORY, LOG, SIGNATURES)
            and not path.name.startswith((STAGING, PULLING))
            and not NAME.fullmatch(path.name)
        ]
        if others:
            raise UsageError(
                f"{output}: expected a bundle or an empty folder, found {min(others)!r} in it; choose another place"
            )


def check_outside(output: Path, images: Path) -> None:
    """Refuse an output among the images, which would be read with them next time.

    Raises:
        UsageError: `output` lies in the folder of images, or is that folder.
    """
    if output.resolve().is_relative_to(images.resolve()):
        raise UsageError(
            f"{output.resolve()}: expected a bundle outside the images, found it among them; choose another place"
        )


def _is_manifest(path: Path) -> bool:
    """Whether a file is a manifest of this program, of whatever version."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and {"schema", "files", "threshold"} <= set(value)
