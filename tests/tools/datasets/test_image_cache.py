"""Copies of images: whole, bounded, and safe with several users."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Barrier, Thread

import pytest

from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.tools.datasets.image_cache import SIZE, ImageCache, _new_room


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def keep(cache: ImageCache, content: bytes) -> str:
    with cache.room() as room:
        (room / "x").write_bytes(content)
        cache.keep(sha(content), room / "x")
    return sha(content)


def held(cache: ImageCache) -> set[str]:
    return {path.name for path in cache.folder.glob("??/*")}


def test_what_is_kept_can_be_taken(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    digest = keep(cache, b"content")
    with cache.room() as room:
        assert cache.take(digest, room / "deep" / "a.png") and (room / "deep" / "a.png").read_bytes() == b"content"
        assert not cache.take(sha(b"other"), room / "b.png") and not (room / "b.png").exists()
        with pytest.raises(FileExistsError):
            cache.take(digest, room / "deep" / "a.png")
    assert held(cache) == {digest} and list((tmp_path / "rooms").iterdir()) == []


@pytest.mark.parametrize("spoilt", [b"", b"contenu", b"content and more"])
def test_a_damaged_copy_is_not_taken_and_makes_room(tmp_path: Path, spoilt: bytes) -> None:
    cache = ImageCache(tmp_path)
    digest = keep(cache, b"content")
    (tmp_path / digest[:2] / digest).write_bytes(spoilt)
    with cache.room() as room:
        assert not cache.take(digest, room / "a.png") and not (room / "a.png").exists()
    assert held(cache) == set()
    assert keep(cache, b"content") == digest and held(cache) == {digest}


def test_what_was_used_last_is_kept(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path, most=2500)
    digests = [keep(cache, bytes([number]) * 1000) for number in range(2)]
    for age, digest in enumerate(digests):
        os.utime(tmp_path / digest[:2] / digest, (1000 + age, 1))
    with cache.room() as room:
        assert cache.take(digests[0], room / "x")  # now the younger one
    digests.append(keep(cache, bytes([7]) * 1000))
    assert held(cache) == {digests[0], digests[2]}


def test_the_bound_holds_also_while_a_room_is_in_use(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path, most=1000)
    with cache.room() as room:
        for number in range(40):
            content = bytes([number]) * 100
            (room / "x").write_bytes(content)
            cache.keep(sha(content), room / "x")
            (room / "x").unlink()
            assert sum(path.stat().st_size for path in tmp_path.glob("??/*")) <= 1200


def test_nothing_is_kept_if_nothing_may_be(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path, most=0)
    keep(cache, b"content")
    assert held(cache) == set()


def test_the_time_of_a_copy_depends_on_its_content_alone(tmp_path: Path) -> None:
    times = []
    for folder in ("a", "b"):
        cache = ImageCache(tmp_path / folder)
        digest = keep(cache, b"content")
        with cache.room() as room:
            assert cache.take(digest, room / "x")
            times.append((room / "x").stat().st_mtime_ns)
    assert times[0] == times[1]


def test_a_copy_in_use_stays_when_it_is_removed(tmp_path: Path) -> None:
    cache, other = ImageCache(tmp_path), ImageCache(tmp_path, most=1)
    digest = keep(cache, b"content")
    with cache.room() as room:
        assert cache.take(digest, room / "x")
        with other.room():
            pass
        assert held(cache) == set() and (room / "x").read_bytes() == b"content"


def test_a_disk_without_hard_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    cache = ImageCache(tmp_path)
    digest = keep(cache, b"content")
    with cache.room() as room:
        assert cache.take(digest, room / "x") and (room / "x").read_bytes() == b"content"
        with pytest.raises(PermissionError):
            cache.take(digest, room / "x")


def test_many_at_once_keep_and_take_the_same(tmp_path: Path) -> None:
    contents = [bytes([number]) * 5000 for number in range(20)]
    together, faults = Barrier(6), []

    def work(most: int) -> None:
        cache = ImageCache(tmp_path, most=most)
        together.wait()
        try:
            for number, content in enumerate(contents):
                with cache.room() as room:
                    if not cache.take(sha(content), room / "x"):
                        (room / "y").write_bytes(content)
                        cache.keep(sha(content), room / "y")
                    elif (room / "x").read_bytes() != content:
                        faults.append(f"{number}: other bytes")
        except Exception as problem:
            faults.append(repr(problem))

    threads = [Thread(target=work, args=(most,)) for most in (1, 20_000, 10**9, 10**9, 10**9, 50_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == [] and list((tmp_path / "rooms").iterdir()) == []


def test_the_room_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from spade_edge.tools.datasets.image_cache import ImageCache\n"
        "with ImageCache(Path(sys.argv[1])).room() as room: (room / 'x').write_bytes(b'1'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    (killed,) = (tmp_path / "rooms").iterdir()
    cache = ImageCache(tmp_path)
    with cache.room() as room:
        with cache.room():  # which looks around, too, and must not remove the other one's
            assert room.exists()
        assert not killed.exists()


def test_a_room_that_was_taken_for_a_forgotten_one_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    locked = []
    flock = fcntl.flock

    def late(file: object, kind: int) -> None:
        flock(file, kind)
        if not locked:  # another process was faster
            shutil.rmtree(next(tmp_path.iterdir()))
        locked.append(file)

    monkeypatch.setattr(fcntl, "flock", late)
    room, lock = _new_room(tmp_path)
    with lock:
        assert room.exists() and len(locked) == 2


def test_where_it_is_and_how_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(SIZE, raising=False)
    assert ImageCache().folder == tmp_path / "spade-edge" / "images" and ImageCache().most == 20_000_000_000
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert ImageCache().folder == tmp_path / "home" / ".cache" / "spade-edge" / "images"
    for text, most in (("0", 0), ("1.5", 1_500_000_000)):
        monkeypatch.setenv(SIZE, text)
        assert ImageCache().most == most
    for text in ("-1", "nan", "inf", "much"):
        monkeypatch.setenv(SIZE, text)
        with pytest.raises(UsageError, match=f"{SIZE}: expected gigabytes"):
            ImageCache()


def test_a_place_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="set XDG_CACHE_HOME"), ImageCache(tmp_path / "file" / "x").room():
        pass
