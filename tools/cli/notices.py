"""Notices and progress on stderr: what cannot be written there is lost, and ends nothing."""

from __future__ import annotations

import io
from typing import Any


class _Lossy(io.RawIOBase):
    """A file that takes everything: what a full disk or a closed pipe refuses is dropped.

    Args:
        file: what is written to; it is never closed, as other parts of the process may write to it.
        owner: the stream that would close it if it were forgotten.
    """

    def __init__(self, file: io.FileIO, *, owner: io.TextIOWrapper) -> None:
        self._file = file
        self._owner = owner

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        try:
            while left and (written := self._file.write(left)):  # None if a pipe is full and does not wait
                left = left[written:]
        except OSError:
            pass
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()


def notices(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """A stream of text to the same file as another one, which never fails.

    Without it a full disk behind a log file would end the work that the log is about.

    Args:
        stream: stderr as Python opens it.
    """
    file: Any = getattr(stream.buffer, "raw", stream.buffer)
    if isinstance(file, _Lossy):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Lossy(file, owner=stream)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )
