"""Building where the system is like Windows or macOS, as far as Linux can show it, and locks on folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from spade_edge.galleries import Built, disk
from spade_edge.galleries.disk import LOCK, flush, in_use, own_folder, remove_abandoned
from spade_edge.galleries.generation_log import LOG
from spade_edge.runtime.bundle.manifest import HISTORY, Manifest

# No fcntl, no posix_fallocate, no folders that can be opened, and no moving or removing of what is open or mapped.
LIKE_WINDOWS = """
import os, pathlib, shutil, sys

sys.modules["fcntl"] = None
shutil._use_fd_functions = False  # else rmtree opens folders
del os.posix_fallocate, os.O_DIRECTORY
refused = []

def used():
    maps = pathlib.Path("/proc/self/maps").read_text().splitlines()
    mapped = {line.split(maxsplit=5)[5] for line in maps if len(line.split(maxsplit=5)) == 6}
    opened = {os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}
    return mapped | opened

def refuse(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and os.path.isdir(arguments[0]) and "spade" in arguments[0]:
        refused.append(f"open {arguments[0]}")
        raise PermissionError(13, "Permission denied", arguments[0])
    if event in ("os.rename", "os.remove") and os.path.isabs(os.fspath(arguments[0])):
        paths = [os.path.realpath(path) for path in arguments[: 2 if event == "os.rename" else 1]]
        busy = [name for name in used() for path in paths if name == path or name.startswith(path + os.sep)]
        if busy:
            refused.append(f"{event} {busy[0]}")
            raise PermissionError(13, "Permission denied", busy[0])

from spade_edge.galleries import BuildOptions, build, set_threshold
from spade_edge.runtime import Scorer

images, model, output, profile = sys.argv[1:]
sys.addaudithook(refuse)
for _ in range(2):  # the second replaces the first
    built = build(
        pathlib.Path(images), model=pathlib.Path(model), output=pathlib.Path(output),
        options=BuildOptions(profile=profile),
    )
assert refused == [], refused
assert built.former is not None
set_threshold(built.path, score=5.0, reason="x")
assert refused == [], refused
scorer = Scorer.open(built.path)  # keeps the files mapped
again = build(
    pathlib.Path(images), model=pathlib.Path(model), output=pathlib.Path(output), options=BuildOptions(profile=profile)
)
assert refused and again.manifest.files == built.manifest.files
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is open")
@pytest.mark.parametrize("profile", ["edge", "paper"])
def test_a_system_like_windows(tiny_model: Path, textures: Path, tmp_path: Path, profile: str) -> None:
    output = tmp_path / "part.spade"
    line = [sys.executable, "-c", LIKE_WINDOWS, str(textures), str(tiny_model), str(output), profile]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifest = Manifest.read(output)
    expected = {payload.name for payload in manifest.files.values()} | {"manifest.json", HISTORY, LOG}
    assert {path.name for path in output.iterdir()} == expected
    assert len(list((output / HISTORY).iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["part.spade"]


def test_folders_in_use_are_not_removed(tmp_path: Path) -> None:
    for name in ("left", "used"):
        (tmp_path / f".x-{name}").mkdir()
    with in_use(tmp_path / ".x-used"):
        with pytest.raises(OSError), in_use(tmp_path / ".x-used"):
            pass
        remove_abandoned(tmp_path, ".x-")
        assert [path.name for path in tmp_path.iterdir()] == [".x-used"]
    assert (tmp_path / ".x-used" / LOCK).is_file()
    remove_abandoned(tmp_path, ".x-")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["before the mark", "between lock and look"])
def test_a_folder_that_another_takes_for_abandoned_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    made: list[Path] = []
    mkdtemp, lock = tempfile.mkdtemp, disk.lock

    def make(**options: object) -> str:
        made.append(Path(mkdtemp(**options)))  # type: ignore[call-overload]
        if len(made) == 1 and moment == "before the mark":
            shutil.rmtree(made[0])
        return str(made[-1])

    def locked(descriptor: int) -> None:
        lock(descriptor)
        if len(made) == 1 and moment != "before the mark":
            shutil.rmtree(made[0])

    monkeypatch.setattr(tempfile, "mkdtemp", make)
    monkeypatch.setattr(disk, "lock", locked)
    with own_folder(tmp_path, ".x-") as folder:
        assert folder == made[1] != made[0]
        remove_abandoned(tmp_path, ".x-")
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_flushed_is_an_error(tmp_path: Path, edge: Built) -> None:
    flush(edge.path)
    with pytest.raises(FileNotFoundError):
        flush(tmp_path / "absent")


def test_windows_locks_a_byte_that_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked: set[tuple[int, int]] = set()

    class FakeMsvcrt:
        """The part of Windows' module that is used: locks a byte at the present position."""

        LK_NBLCK = 2

        @staticmethod
        def locking(descriptor: int, mode: int, count: int) -> None:
            assert (mode, count) == (2, 1)
            found = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
            if found in locked:
                raise PermissionError(13, "Permission denied")
            locked.add(found)

    monkeypatch.setattr(disk, "fcntl", None)
    monkeypatch.setattr(disk, "msvcrt", FakeMsvcrt)
    (tmp_path / "log").write_bytes(b"x" * 100)
    with (tmp_path / "log").open("rb") as first, (tmp_path / "log").open("rb") as second:
        os.lseek(first.fileno(), 7, os.SEEK_SET)
        disk.lock(first.fileno())
        assert os.lseek(first.fileno(), 0, os.SEEK_CUR) == 7
        ((_, place),) = locked
        assert 100 < place < 1 << 31
        with pytest.raises(BlockingIOError):
            disk.lock(second.fileno())
