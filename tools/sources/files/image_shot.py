"""An image file, or a page of one, as a shot."""

from __future__ import annotations

from pathlib import Path

from spade_edge.galleries.images import name_of
from spade_edge.galleries.images.like_good import Reading
from spade_edge.runtime import DataError
from spade_edge.tools.memory import shortage
from spade_edge.tools.sources.shot import Shot


def image_shot(path: Path, folder: Path, reading: Reading) -> Shot:
    """Read an image; one that cannot be read, or that memory does not hold, is a shot with a fault.

    Args:
        path: of the image.
        folder: that its name is relative to.
        reading: how its numbers are understood.
    """
    name = name_of(path, folder)
    try:
        return Shot(name, reading.image(path))
    except DataError as problem:
        return Shot(name, None, str(problem))
    except Exception as problem:
        if not (lack := shortage(problem)):
            raise
        return Shot(name, None, f"{path}: {lack}")
