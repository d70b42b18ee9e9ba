"""Files in a folder of this machine, with the standard library alone."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path

from spade_edge.tools.remote.files import Listed, Readable

_PART = re.compile(r"\.[0-9a-f]{16}\.part")  # what a writer that was killed has left


class Folder:
    """The files of a folder; see `Files`.

    Args:
        root: the folder; it is made when the first file is written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def listed(self) -> Iterator[Listed]:
        if not self._root.is_dir():
            raise FileNotFoundError(str(self._root))
        for place, _, names in os.walk(self._root, onerror=_raised):
            for name in names:
                path = Path(place, name)
                if _PART.fullmatch(name):
                    continue
                with suppress(FileNotFoundError):  # removed since
                    status = path.stat()
                    yield Listed(
                        name=path.relative_to(self._root).as_posix(),
                        size=status.st_size,
                        time=datetime.fromtimestamp(status.st_mtime).astimezone(),
                        mark=f"{status.st_ino}-{status.st_mtime_ns}",
                    )

    def opened(self, name: str, *, size: int | None) -> AbstractContextManager[Readable]:
        del size
        path = self._path(name)
        if path.exists() and not path.is_file():  # a pipe might never end
            raise FileNotFoundError(str(path))
        return path.open("rb")

    def write(self, name: str, content: bytes | Path) -> None:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with part.open("xb") as file:
                if isinstance(content, Path):
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, file, 1 << 20)
                else:
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())  # the name must not outlive the content if the power fails
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        return self._path(name).is_file()

    def remove(self, name: str) -> None:
        self._path(name).unlink()

    def passes(self, problem: Exception) -> bool:
        del problem
        return False

    def _path(self, name: str) -> Path:
        return self._root / name if name else self._root


def _raised(problem: OSError) -> None:
    raise problem
