"""The images of a folder."""

from __future__ import annotations

import os
from pathlib import Path

from spade_edge.galleries.images.formats import SUFFIXES
from spade_edge.runtime import DataError


def find_images(folder: Path) -> tuple[Path, ...]:
    """All image files in a folder and its subfolders, sorted by name; links are followed, hidden files are left out.

    Raises:
        DataError: the folder does not exist, it or a subfolder cannot be read, or it holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of images, found {'a file' if folder.exists() else 'nothing'}")

    def refuse(problem: OSError) -> None:
        raise DataError(f"{problem.filename}: expected a folder that can be read, found: {problem.strerror}")

    found, seen = [], set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name) for name in files if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
        ]
    if not found:
        raise DataError(f"{folder}: expected images ({', '.join(SUFFIXES)}), found none")
    return tuple(sorted(found))
