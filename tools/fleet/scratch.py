"""A folder for files that are needed for a while. What a killed process has left is removed by the next."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from spade_edge.galleries.disk import own_folder
from spade_edge.runtime.errors import DataError

PREFIX = ".spade-edge-fleet-"


@contextmanager
def scratch(home: Path | None = None) -> Iterator[Path]:
    """A new folder, which is removed at the end of the block.

    Args:
        home: the folder that it lies in; None for the one for temporary files.

    Raises:
        DataError: it cannot be written.
    """
    home = Path(tempfile.gettempdir()) if home is None else home
    with ExitStack() as held:
        try:
            home.mkdir(parents=True, exist_ok=True)
            folder = held.enter_context(own_folder(home, PREFIX))
        except OSError as problem:
            raise DataError(f"{home}: expected a folder that can be written, found: {problem.strerror}") from None
        yield folder
