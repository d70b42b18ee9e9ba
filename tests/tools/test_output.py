"""Files that appear whole or not at all, and never in the place of what something else wrote."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from spade_edge.runtime import DataError, UsageError
from spade_edge.tools.output import check_replaceable, creating, replacing


def ours(head: bytes) -> bool:
    return head.startswith(b"ours")


def test_a_file_is_replaced_in_one_step_and_others_may_read_it(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    path = tmp_path / "new" / "folder" / "a"
    for content in (b"ours 1", b"ours 2"):
        with replacing(path) as file:
            file.write(content)
            assert not path.exists() or path.read_bytes() == b"ours 1"
        assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["a"]
    assert path.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize(
    "problem", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
def test_a_failure_leaves_what_was_there(problem: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"former")
    with pytest.raises(DataError if isinstance(problem, OSError) else type(problem)), replacing(path) as file:
        file.write(b"half")
        raise problem
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"a": b"former"}


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(b"original")
    for kind in (os.symlink, os.link):
        path = tmp_path / kind.__name__
        kind(original, path)
        with replacing(path) as file:
            file.write(b"new")
        assert original.read_bytes() == b"original" and path.read_bytes() == b"new" and not path.is_symlink()


def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / (255 * "x")
    with replacing(path) as file:
        file.write(b"ours")
    assert path.read_bytes() == b"ours"
    with pytest.raises(DataError, match="name too long"), replacing(tmp_path / (256 * "x")):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"), replacing(tmp_path / "file" / "a"):
        pass


def test_only_what_was_written_here_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "ours").write_bytes(b"ours")
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    (tmp_path / "hard link").hardlink_to(tmp_path / "other")
    os.mkfifo(tmp_path / "pipe")
    for name in ("ours", "free"):
        check_replaceable(tmp_path / name, ours)
    for name in ("other", "empty", "folder", "link", "nowhere", "hard link", "pipe"):
        with pytest.raises(UsageError, match=name):
            check_replaceable(tmp_path / name, ours)


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_appears_whole_and_replaces_nothing(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:  # a memory card

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "new" / "a"
    with creating(path) as file:
        file.write(b"first")
        assert not path.exists()
    with pytest.raises(UsageError), creating(path) as file:
        file.write(b"second")
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(UsageError), creating(path) as file:
        file.write(b"third")
    assert [entry.name for entry in path.parent.iterdir()] == ["a"] and path.is_symlink()


@pytest.mark.parametrize(
    "problem", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
def test_a_new_file_that_fails_leaves_nothing(problem: BaseException, tmp_path: Path) -> None:
    with pytest.raises(DataError if isinstance(problem, OSError) else type(problem)), creating(tmp_path / "a") as file:
        file.write(b"half")
        raise problem
    assert list(tmp_path.iterdir()) == []
