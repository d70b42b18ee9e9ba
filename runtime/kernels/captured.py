"""What libraries written in C print while they work: on file descriptor 2, past Python's sys.stderr."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

_STDERR = 2
_PIECE = 1 << 20  # bytes read at once
# The descriptor belongs to the whole process. A block may stand in another one of the same thread.
_LOCK = threading.RLock()


@contextmanager
def captured_stderr() -> Iterator[bytearray]:
    """Catch what appears on file descriptor 2; it is in the array once the block has ended.

    One thread at a time: another one waits. Whoever takes the bytes writes back, with `write_back`, those that are not
    its own, as other threads print there too. Where the descriptor is closed, or cannot be replaced, nothing is caught.
    """
    said = bytearray()
    with _LOCK:
        try:
            real = os.dup(_STDERR)
        except OSError:
            yield said
            return
        try:
            caught = _file()
        except OSError:
            os.close(real)
            yield said
            return
        try:
            os.dup2(caught, _STDERR)
            yield said
        finally:
            os.dup2(real, _STDERR)
            os.close(real)
            os.lseek(caught, 0, os.SEEK_SET)
            while piece := os.read(caught, _PIECE):
                said += piece
            os.close(caught)


def write_back(said: bytes) -> None:
    """Write bytes to file descriptor 2, where they were meant to go."""
    with suppress(OSError):  # closed: nobody reads it
        while said:
            said = said[os.write(_STDERR, said) :]


def _file() -> int:
    """An empty file in memory, or else on the disk. A library that holds Python's lock could fill a pipe, and hang."""
    if hasattr(os, "memfd_create"):
        caught = os.memfd_create("stderr")
    else:
        with tempfile.TemporaryFile() as file:
            caught = os.dup(file.fileno())
    if fcntl is not None:  # else two threads that write at once overwrite each other
        fcntl.fcntl(caught, fcntl.F_SETFL, fcntl.fcntl(caught, fcntl.F_GETFL) | os.O_APPEND)
    return caught
