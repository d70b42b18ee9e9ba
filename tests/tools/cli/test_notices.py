"""A stderr that cannot be written ends nothing: the work is done, and the exit code is that of the work."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spade_edge.galleries import Built
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.tools.cli.notices import notices

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def run(*arguments: object, stderr: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spade_edge", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False)


@needs_full
def test_a_build_with_a_full_disk_behind_stderr_makes_its_bundle(
    model: Path, good_images: Path, tmp_path: Path
) -> None:
    descriptor = os.open(FULL, os.O_WRONLY)
    done = run("build", "--model", model, "--images", good_images, "--output", tmp_path / "a.spade", stderr=descriptor)
    os.close(descriptor)
    assert done.returncode == 0 and "a.spade" in done.stdout
    assert len(Bundle.open(tmp_path / "a.spade").gallery) == 8


def test_the_reader_of_stderr_may_leave(edge: Built, good_images: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = run("score", "--bundle", edge.path, good_images, stderr=write)
    os.close(write)
    assert done.returncode in (0, 1) and len(done.stdout.splitlines()) == 8


@needs_full
@pytest.mark.parametrize(("arguments", "code"), [(["build"], 2), (["threshold", "--bundle", "absent.spade"], 3)])
def test_the_exit_code_is_told_even_if_the_reason_cannot_be(arguments: list[str], code: int) -> None:
    descriptor = os.open(FULL, os.O_WRONLY)
    assert run(*arguments, stderr=descriptor).returncode == code
    os.close(descriptor)


def test_text_arrives_line_by_line_where_it_can_be_written(tmp_path: Path) -> None:
    for buffered in (True, False):
        path = tmp_path / f"{buffered}.log"
        file = path.open("wb") if buffered else path.open("wb", buffering=0)
        own = notices(io.TextIOWrapper(file, encoding="ascii", errors="backslashreplace", write_through=not buffered))
        assert notices(own) is own and own.fileno() == file.fileno() and not own.isatty() and own.writable()
        print("σ = 4", file=own)
        assert path.read_bytes() == b"\\u03c3 = 4\n"
        own.write("x" * 100_000)
        own.flush()
        assert path.stat().st_size == 11 + 100_000


def test_a_full_pipe_that_does_not_wait_drops_the_rest() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    own = notices(io.TextIOWrapper(os.fdopen(write, "wb")))
    for _ in range(100):
        print("x" * 10_000, file=own)
    own.flush()
    assert os.read(read, 5) == b"xxxxx"
    os.close(read)


def test_nothing_is_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "log"
    own = notices(io.TextIOWrapper(path.open("wb")))
    for number in np.arange(50):
        print(number, file=own)
    assert path.read_text().split() == [str(n) for n in range(50)]
