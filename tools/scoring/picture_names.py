"""Names of the files that pictures of frames are written to."""

from __future__ import annotations

import re
from pathlib import Path

from spade_edge.runtime import DataError


def picture_path(folder: Path, name: str | int, suffix: str) -> Path:
    """The file for a picture of a frame.

    Args:
        folder: that pictures of this kind are written to.
        name: of the frame: a path relative to its source with forward slashes, or a running number. Page 2 of
            `stack.tif` is `stack.tif#2`.
        suffix: of the picture, such as ".png".

    Returns:
        `folder/sub/part.png` for sub/part.bmp, `folder/stack#2.png` for stack.tif#2, `folder/000007.png` for 7.

    Raises:
        DataError: the name leads out of the folder.
    """
    if isinstance(name, int):
        return folder / f"{name:06d}{suffix}"
    relative = Path(name)
    if relative.is_absolute() or relative.drive or ".." in relative.parts or "\0" in name or not relative.name:
        raise DataError(f"{name}: expected the name of a frame inside its source, found one that leads elsewhere")
    file, page = re.fullmatch(r"(.*?)(#[0-9]+)?", relative.name, re.DOTALL).groups("")  # type: ignore[union-attr]
    stem = file.rpartition(".")[0] or file
    return folder / relative.with_name(f"{stem}{page}{suffix}")
