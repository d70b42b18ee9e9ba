"""Folders to write to, checked before the long work starts."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from spade_edge.runtime import DataError, UsageError
from spade_edge.tools.scoring.pictures import Folders
from spade_edge.tools.sources import Source


def make_folder(folder: Path) -> None:
    """Make a folder if it does not exist.

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


def check_folder(option: str, folder: Path) -> None:
    """Refuse a file where an option needs a folder, and make the folder if it does not exist.

    Raises:
        UsageError: it is a file.
        DataError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder for {option}, found a file; choose another")
    make_folder(folder)


def check_picture_folders(folders: Folders, source: Source) -> None:
    """Refuse folders for pictures that would overwrite frames or each other, and make the others.

    Raises:
        UsageError: a folder is a file or contains the frames, or two pictures would get the same name.
        DataError: a folder cannot be written.
        ModuleNotFoundError: OpenCV is missing.
    """
    if len({folder.resolve() for folder in folders.given()}) < len(folders.given()):
        raise UsageError("expected --heatmaps, --overlays and --explain in folders of their own, found one twice")
    for folder in folders.given():
        _check(folder, source)
    if folders.overlays is not None or folders.explain is not None:
        import cv2  # noqa: F401  (if it is missing, the user should know now)


def _check(folder: Path, source: Source) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder to write to, found a file")
    if source.folder is not None:
        frames, target = source.folder.resolve(), folder.resolve()
        if target == frames or (source.nested and target.is_relative_to(frames)):
            raise UsageError(f"{folder}: expected a folder outside the frames, found it among them; choose another")
    seen: dict[PurePosixPath, str] = {}
    for name in source.names:
        stem = PurePosixPath(name).with_suffix("")
        if stem in seen:
            raise UsageError(f"{folder}: {seen[stem]} and {name} would be written to the same name; rename one of them")
        seen[stem] = name
    make_folder(folder)
