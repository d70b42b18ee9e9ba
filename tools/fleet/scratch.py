"""A folder for files that are needed for a while. What a killed process has left is removed by the next."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from spade_edge.galleries.disk import LOCK, in_use, remove_abandoned
from spade_edge.runtime.errors import DataError

PREFIX = ".spade-edge-fleet-"
TRIES = 20


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
            remove_abandoned(home, PREFIX)
            folder = _new(home, held)
        except OSError as problem:
            raise DataError(f"{home}: expected a folder that can be written, found: {problem.strerror}") from None
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _new(home: Path, held: ExitStack) -> Path:
    """A new folder, marked as in use.

    Another process that starts at the same moment may take it for abandoned as long as it is not marked.

    Raises:
        OSError: it cannot be written.
    """
    for number in range(1, TRIES + 1):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
        with ExitStack() as mark:
            try:
                mark.enter_context(in_use(folder))
            except (BlockingIOError, FileNotFoundError):
                if number == TRIES:
                    raise
                continue
            if os.name == "nt" or (folder / LOCK).exists():  # on Windows nothing is taken for abandoned
                held.push(mark.pop_all())
                return folder
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
