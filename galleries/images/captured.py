"""What libraries written in C print while they work: lines on file descriptor 2, past Python's sys.stderr."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_STDERR = 2
_MOST = 1 << 20  # bytes that are looked at
_LOCK = threading.Lock()  # the descriptor belongs to the whole process


@contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Catch the lines that appear on file descriptor 2; they are in the list once the block has ended.

    One block at a time: another thread waits. Whoever takes the lines writes back, with `write_back`, those that are
    not its own. Where the descriptor is closed, or cannot be replaced, nothing is caught.
    """
    lines: list[str] = []
    with _LOCK:
        try:
            real = os.dup(_STDERR)
        except OSError:
            yield lines
            return
        try:
            caught = os.memfd_create("stderr") if hasattr(os, "memfd_create") else _temporary()
        except OSError:
            os.close(real)
            yield lines
            return
        try:
            os.dup2(caught, _STDERR)
            yield lines
        finally:
            os.dup2(real, _STDERR)
            os.close(real)
            size = os.lseek(caught, 0, os.SEEK_END)
            if size:
                os.lseek(caught, 0, os.SEEK_SET)
                lines += os.read(caught, min(size, _MOST)).decode("utf-8", "replace").splitlines()
            os.close(caught)


def write_back(lines: list[str]) -> None:
    """Write lines to file descriptor 2, where they were meant to go."""
    if lines:
        with suppress(OSError):  # closed: nobody reads it
            os.write(_STDERR, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))


def _temporary() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
