"""Folders to write to, checked before the long work starts."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from spade_edge.runtime import DataError, UsageError
from spade_edge.tools.output import check_replaceable
from spade_edge.tools.scoring.picture_names import picture_path
from spade_edge.tools.scoring.pictures import MARKS, Folders
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


def check_picture_folders(folders: Folders, source: Source, *, bundle: Path) -> None:
    """Refuse folders for pictures that would overwrite frames, other files or each other, and make the others.

    Args:
        folders: to write to.
        source: of the frames.
        bundle: the folder that nothing may be added to.

    Raises:
        UsageError: a folder is a file, or lies in the bundle or among the frames; two pictures would get the same name;
            something that spade-edge did not write has the name of a picture.
        DataError: a folder cannot be written.
        ModuleNotFoundError: OpenCV is missing.
    """
    given = [folder for folder in (folders.heatmaps, folders.overlays, folders.explain) if folder is not None]
    if len({folder.resolve() for folder in given}) < len(given):
        raise UsageError("expected --heatmaps, --overlays and --explain in folders of their own, found one twice")
    for folder, suffix in folders.given().items():
        _check_place(folder, source, bundle)
        make_folder(folder)
        _check_names(folder, source, suffix)
    if folders.overlays is not None or folders.explain is not None:
        import cv2  # noqa: F401  (if it is missing, the user should know now)


def _check_place(folder: Path, source: Source, bundle: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder to write to, found a file")
    if folder.resolve().is_relative_to(bundle.resolve()):
        raise UsageError(f"{folder}: expected a folder outside the bundle, found it inside; choose another")
    if source.folder is not None:
        frames, target = source.folder.resolve(), folder.resolve()
        if target == frames or (source.nested and target.is_relative_to(frames)):
            raise UsageError(f"{folder}: expected a folder outside the frames, found it among them; choose another")


def _check_names(folder: Path, source: Source, suffix: str) -> None:
    """Check the names of all pictures, where the frames' names are known beforehand; else those of numbered frames."""
    targets: dict[str, str] = {}
    distinct = _tells_case(folder, source.names)
    for name in source.names:
        target = picture_path(folder, name, suffix)
        key = str(target) if distinct else unicodedata.normalize("NFC", str(target)).casefold()
        if key in targets:
            raise UsageError(
                f"{folder}: {targets[key]} and {name} would be written to the same name; rename one of them"
            )
        targets[key] = name
    written = [picture_path(folder, name, suffix) for name in source.names]
    if not source.names:
        written = [path for path in folder.glob(f"[0-9]*{suffix}") if len(path.stem) >= 6 and path.stem.isdecimal()]
    if source.folder is not None and source.nested:
        frames = source.folder.resolve()
        for place in {path.parent for path in written}:
            if place.resolve().is_relative_to(frames):  # a folder below the pictures' may be a link
                raise UsageError(f"{place}: expected a folder outside the frames, found a link to them")
    inputs = _identities(source)
    for path in written:
        check_replaceable(path, MARKS[suffix])
        if path.exists() and _identity(path) in inputs:
            raise UsageError(f"{path}: expected a name that is free, found one of the frames; choose another folder")


def _identities(source: Source) -> frozenset[tuple[int, int]]:
    """Device and number of the files that frames are read from: the same for all hard links of a file."""
    if source.folder is None:
        return frozenset()
    paths = {source.folder / file for name in source.names for file in (name, name.rpartition("#")[0] or name)}
    return frozenset(_identity(path) for path in paths if path.exists())


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _tells_case(folder: Path, names: Sequence[str]) -> bool:
    """Whether names that differ in their case only are different files there; looked up only if it matters."""
    if len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names):
        return True
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".case-") as file:
        return not Path(file.name).with_name(Path(file.name).name.upper()).exists()
