"""Decisions as lines of a file: JSON (.jsonl) or CSV (.csv).

A full file is renamed to the next number, decisions.000001.jsonl, decisions.000002.jsonl and so on: the highest number
is the newest, whatever the clock says, and one renaming is enough.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from spade_edge.galleries.disk import flush
from spade_edge.runtime.errors import UsageError
from spade_edge.tools.line.configuration.options import FileOptions, LineConfiguration
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.decision_table import header, line, row
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.requests import Requests
from spade_edge.tools.line.state import LineState

log = logging.getLogger(__name__)

JSONL, CSV = ".jsonl", ".csv"
HEAD = 1024  # bytes by which a file of ours is known
TAIL = 1 << 20  # bytes at the end that are searched for the beginning of the last line
BEGINNING = {JSONL: b'{"version": ', CSV: b"version,line,camera,number,"}  # of each file of ours


class FileOutput:
    """Appends each decision to a file, and flushes it to the disk at each heartbeat.

    Args:
        options: which file, and when the next one begins.
        name: of the output.
        line: name of the line.
        configuration: not needed.
        requests: not needed; a file asks for nothing.

    Raises:
        UsageError: the file's name ends neither with .jsonl nor with .csv.
    """

    def __init__(
        self,
        options: FileOptions,
        *,
        name: str,
        line: str,
        configuration: LineConfiguration,
        requests: Requests | None,
    ) -> None:
        if options.path.suffix not in BEGINNING:
            raise UsageError(
                f"[output.{name}] path: expected a name that ends with {JSONL} or {CSV}, found {options.path.name}"
            )
        self._options, self._path, self._suffix = options, options.path, options.path.suffix
        self._header = header().encode() if self._suffix == CSV else b""
        self._file: int | None = None
        self._size = 0
        self._unflushed = False

    def open(self) -> None:
        """Open the file, or begin it, after a look at what is in it.

        Raises:
            OutputError: it cannot be written, another program wrote it, or another service writes to it.
        """
        self.close()
        try:
            # A pipe would wait for a reader for ever.
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o644)
            about = os.fstat(self._file)
            if not stat.S_ISREG(about.st_mode):
                raise OutputError(f"{self._path}: expected a file, found something else")
            self._reserve(self._file)
            self._size = about.st_size
            self._begin(self._file)
        except OutputError:
            self.close()
            raise
        except OSError as problem:
            self.close()
            raise self._fault(problem) from None

    def send(self, decision: Decision) -> None:
        """Append a decision; see `Output.send`."""
        fields = decision.to_json()
        text = line(row(fields)) if self._suffix == CSV else json.dumps(fields, allow_nan=False) + "\n"
        content = text.encode()
        try:
            if self._file is None or not self._is_current(self._file):
                self.open()  # somebody has moved the file away
            if len(self._header) < self._size and self._size + len(content) > self._options.rotate:
                self._rotate()
            self._append(content)
        except OSError as problem:
            raise self._fault(problem) from None

    def stale(self, decision: Decision) -> bool:
        """Never: this is a record."""
        return False

    def beat(self, state: LineState) -> None:
        """Flush what was written to the disk, so that a power failure costs no more than one heartbeat."""
        if self._file is None:
            return
        try:
            if not self._is_current(self._file):
                self.open()
            if self._unflushed and self._file is not None:
                os.fsync(self._file)
                self._unflushed = False
        except OSError as problem:
            raise self._fault(problem) from None

    def close(self) -> None:
        """Flush and close the file."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                if self._unflushed:
                    os.fsync(file)
            self._unflushed = False
            os.close(file)

    def test(self, decision: Decision, state: LineState) -> str:
        """Write a file beside the record and remove it. The record itself stays as it is: no part belongs to a test."""
        beside = self._path.with_name(f".{secrets.token_hex(8)}.test")
        try:
            if self._path.exists() and not _is_ours(self._path, self._suffix):
                raise self._foreign()
            size = self._path.stat().st_size if self._path.exists() else 0
            if size and not os.access(self._path, os.W_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            try:
                beside.write_text(json.dumps(decision.to_json()))
            finally:
                beside.unlink(missing_ok=True)
        except OSError as problem:
            raise self._fault(problem) from None
        found = f"has {size} bytes of decisions" if size else "will be begun"
        return f"a file could be written beside {self._path}, which {found}; nothing was added to it"

    def _begin(self, file: int) -> None:
        """Look at what is in the file, end a line that was cut off, and write the header of a new file."""
        head = os.pread(file, HEAD, 0)
        mark = BEGINNING[self._suffix]
        if head[: len(mark)] != mark[: len(head)]:
            raise self._foreign()
        if len(head) < len(self._header):
            if not self._header.startswith(head):
                self._rotate()
            elif head or self._header:
                self._append(self._header[len(head) :])
        elif not head.startswith(self._header):  # of a version with other columns
            self._rotate()
        elif self._size and os.pread(file, 1, self._size - 1) != b"\n":
            start = max(0, self._size - TAIL)
            cut = os.pread(file, TAIL, start).rpartition(b"\n")[2]
            # An open quotation mark would swallow the next line.
            self._append(b'"\n' if self._suffix == CSV and cut.count(b'"') % 2 else b"\n")
            log.warning(
                "%s: the last line was cut off, and %d bytes of it are left; going on below", self._path, len(cut)
            )

    def _append(self, content: bytes) -> None:
        """Append all of something, or nothing."""
        assert self._file is not None  # noqa: S101
        self._unflushed = True
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(content)

    def _rotate(self) -> None:
        """Rename the file to the next number, begin a new one, and remove the lowest numbers."""
        former = self._numbered()
        number = 1 + max(former, default=0)
        target = self._path.with_name(f"{self._path.stem}.{number:06d}{self._suffix}")
        self.close()
        self._path.rename(target)
        self.open()
        flush(self._path.parent)
        for old in sorted(former)[: max(0, len(former) + 1 - self._options.keep)]:
            if _is_ours(former[old], self._suffix):
                former[old].unlink(missing_ok=True)

    def _numbered(self) -> dict[int, Path]:
        """The former files by their numbers."""
        name = re.compile(rf"{re.escape(self._path.stem)}\.([0-9]{{6,12}}){re.escape(self._suffix)}")
        with os.scandir(self._path.parent) as found:
            matches = {one.name: name.fullmatch(one.name) for one in found if one.is_file(follow_symlinks=False)}
        return {int(match[1]): self._path.with_name(file) for file, match in matches.items() if match}

    def _is_current(self, file: int) -> bool:
        """Whether the file that is open still has its name. Finds its size, too."""
        try:
            named, opened = self._path.stat(), os.fstat(file)
        except FileNotFoundError:
            return False
        self._size = opened.st_size
        return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)

    def _reserve(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"{self._path}: expected a file of its own, found that another service writes to it"
            ) from None
        except OSError as problem:
            if problem.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                raise

    def _foreign(self) -> OutputError:
        return OutputError(
            f"{self._path}: expected a file with decisions, found one that spade-edge did not write; take another name"
        )

    def _fault(self, problem: OSError) -> OutputError:
        return OutputError(
            f"{self._path}: expected to write decisions there, found: {problem.strerror}; is the folder there, "
            "writable and the disk not full?"
        )


def _is_ours(path: Path, suffix: str) -> bool:
    with path.open("rb") as file:
        head = file.read(HEAD)
    mark = BEGINNING[suffix]
    return head[: len(mark)] == mark[: len(head)]
