"""The machine under examination: its files below one root, its commands, and facts about this process.

Tests create machines from a folder and a few values.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spade_edge.tools.hardware.commands import Answer, Commands
from spade_edge.tools.hardware.time_server import clock_is_set

LARGEST = 4 << 20  # bytes; /proc/cpuinfo of 512 cores has 1 MB


@dataclass(frozen=True)
class Host:
    """A machine.

    Attributes:
        root: the folder that contains /sys, /proc, /etc and /dev.
        run: runs commands, see `Commands`.
        environment: of this process.
        system: "Linux", "Darwin", "Windows".
        machine: architecture of the kernel, e.g. "x86_64", "aarch64".
        release: version of the kernel.
        bits: of this Python, 32 or 64.
        libc: e.g. "glibc 2.36"; empty for other C libraries.
        cores: number of cores that this process may use.
        home: home folder of the user.
        opens: whether this user may read and write a path.
        free: free bytes of the disk that a folder is on.
        clock_is_set: whether a time server sets the clock, as the kernel knows it; None if it is not known.
    """

    root: Path
    run: Callable[..., Answer]
    environment: Mapping[str, str]
    system: str
    machine: str
    release: str
    bits: int
    libc: str
    cores: int
    home: Path
    opens: Callable[[Path], bool] = field(default=lambda path: os.access(path, os.R_OK | os.W_OK))
    free: Callable[[Path], int] = field(default=lambda path: shutil.disk_usage(path).free)
    clock_is_set: Callable[[], bool | None] = field(default=clock_is_set)

    @classmethod
    def here(cls) -> Host:
        """This machine."""
        environment = dict(os.environ)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cls(
            root=Path("/"),
            run=Commands(environment),
            environment=environment,
            system=platform.system(),
            machine=platform.machine(),
            release=platform.release(),
            bits=8 * struct.calcsize("P"),
            libc=_libc(),
            cores=cores,
            home=Path(os.path.expanduser("~")),  # noqa: PTH111  (Path.home raises where there is none)
        )

    @property
    def hidden(self) -> str:
        """The remedy for something that cannot be determined on this machine."""
        if self.system != "Linux":
            return f"only checked on Linux, this is {self.system or 'another system'}"
        return "a container or virtual machine hides it: check on the host"

    def path(self, name: str) -> Path:
        """A path below the root."""
        return self.root / name.lstrip("/")

    def text(self, name: str | Path, *, most: int = LARGEST) -> str | None:
        """The printable text of a file; None if it is not a file, too long, empty or unreadable.

        Args:
            name: below the root, or a path that `find` returned.
            most: largest size in bytes.
        """
        path = self.path(name) if isinstance(name, str) else name
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for its writer
                return None
            with path.open("rb") as file:
                content = file.read(most + 1)
        except (OSError, ValueError):
            return None
        if len(content) > most:
            return None
        # In the device tree, zero bytes separate and end texts.
        text = content.replace(b"\0", b"\n").decode(errors="replace")
        return "".join(c for c in text if c.isprintable() or c in "\n\t").strip() or None

    def label(self, name: str | Path) -> str | None:
        """The name that a file contains, in one line; None if the content is not a name."""
        text = " ".join((self.text(name, most=4096) or "").split())
        return text if text and len(text) <= 100 and "\N{REPLACEMENT CHARACTER}" not in text else None

    def number(self, name: str | Path) -> int | None:
        """The integer that a file contains; None if it contains something else."""
        text = self.text(name, most=4096)
        return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,20}", text) else None

    def find(self, pattern: str) -> list[Path]:
        """Paths below the root that match a pattern, in natural order."""
        try:
            return sorted(self.root.glob(pattern), key=_natural)
        except (OSError, ValueError):
            return []


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"([0-9]{1,9})", str(path))
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):  # another system, another C library
        return ""
