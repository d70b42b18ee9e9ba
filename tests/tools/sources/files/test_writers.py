"""Many ways in which programs put a file into a watched folder: each picture is one shot, bit by bit as it was made."""

from __future__ import annotations

import mmap
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.tools.sources.acquisition import ALL, Acquisition
from spade_edge.tools.sources.files.arrival import QUIET, RESERVED
from spade_edge.tools.sources.files.watched_folder import WatchedFolder

SUFFIXES = (".png", ".jpg", ".pgm", ".npy", ".bmp", ".tif")
PIECES, SHORT, LONG = 4, 0.02, 1.5 * QUIET  # seconds between two pieces


def picture(seed: int) -> NDArray[np.uint8]:
    """Noise with a black corner, as the dark background of a part: (40, 64) uint8."""
    image = np.random.default_rng(seed).integers(1, 256, (40, 64), np.uint8)
    image[:10, :32] = 0
    return image


def pieces(raw: bytes) -> list[tuple[int, bytes]]:
    step = len(raw) // PIECES + 1
    return [(start, raw[start : start + step]) for start in range(0, len(raw), step)]


def fill(path: Path, raw: bytes, *, pause: float, backwards: bool = False) -> None:
    with path.open("r+b", buffering=0) as file:
        for start, piece in sorted(pieces(raw), reverse=backwards):
            time.sleep(pause)
            file.seek(start)
            file.write(piece)


def in_pieces(path: Path, raw: bytes) -> None:
    path.touch()
    fill(path, raw, pause=SHORT)


def slowly(path: Path, raw: bytes) -> None:
    path.touch()
    fill(path, raw, pause=LONG)


def into_reserved_space(path: Path, raw: bytes) -> None:
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, len(raw))
        else:
            file.truncate(len(raw))
    fill(path, raw, pause=LONG)


def into_a_hole(path: Path, raw: bytes) -> None:
    with path.open("wb") as file:
        file.truncate(len(raw))
    fill(path, raw, pause=LONG)


def over_zeros(path: Path, raw: bytes) -> None:
    path.write_bytes(bytes(len(raw)))
    fill(path, raw, pause=LONG)


def from_the_end(path: Path, raw: bytes) -> None:
    with path.open("wb") as file:
        file.truncate(len(raw))
    fill(path, raw, pause=LONG, backwards=True)


def through_memory(path: Path, raw: bytes) -> None:
    """The time of the file does not change while its pages are filled."""
    path.write_bytes(bytes(len(raw)))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), len(raw)) as memory:
        for start, piece in pieces(raw):
            time.sleep(SHORT)
            memory[start : start + len(piece)] = piece


def twice(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    time.sleep(LONG)
    fill(path, raw, pause=SHORT)


def under_another_name(path: Path, raw: bytes) -> None:
    hidden = path.with_name(f".{path.name}.part")
    hidden.touch()
    fill(hidden, raw, pause=SHORT)
    hidden.rename(path)


def renamed_late(path: Path, raw: bytes) -> None:
    early = path.with_name(f"unfinished {path.name}")
    early.touch()
    fill(early, raw, pause=SHORT)
    time.sleep(LONG)
    early.rename(path)


def moved_on(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    time.sleep(6 * LONG)
    (path.parent / "done").mkdir(exist_ok=True)
    path.rename(path.parent / "done" / path.name)


def copied_with_its_time(path: Path, raw: bytes) -> None:
    source = path.with_name(f".source {path.name}")
    source.write_bytes(raw)
    os.utime(source, (1_000_000, 1_000_000))
    shutil.copy2(source, path)
    time.sleep(LONG)
    shutil.copy2(source, path)


def linked(path: Path, raw: bytes) -> None:
    """A hard link, then a symbolic link and a second hard link to the same file."""
    source = path.with_name(f".source {path.name}")
    source.write_bytes(raw)
    os.link(source, path)
    path.with_name(f"latest{path.suffix}").unlink(missing_ok=True)
    path.with_name(f"latest{path.suffix}").symlink_to(path.name)
    time.sleep(LONG)
    os.link(source, path.with_name(f"second {path.name}"))


def touched(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    for _ in range(3):
        time.sleep(LONG)
        path.touch()
        path.chmod(0o600)


def padded(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    if path.suffix in (".png", ".jpg"):  # other formats say how many bytes follow
        time.sleep(LONG)
        with path.open("ab") as file:
            file.write(b"what some cameras append")


WAYS: tuple[Callable[[Path, bytes], None], ...] = (
    *(in_pieces, slowly, into_reserved_space, into_a_hole, over_zeros, from_the_end, through_memory, twice),
    *(under_another_name, renamed_late, moved_on, copied_with_its_time, linked, touched, padded),
)


def encoded(image: NDArray[np.uint8], suffix: str) -> bytes:
    if suffix == ".npy":
        return b"\x93NUMPY\x01\0\x76\0" + f"{{'descr': '|u1', 'fortran_order': False, 'shape': {image.shape}}}".encode(
        ).ljust(117) + b"\n" + image.tobytes()  # fmt: skip
    return bytes(cv2.imencode(suffix, image)[1])


def test_each_picture_is_one_shot(tmp_path: Path) -> None:
    """Real time, and a thread for each way and kind of file."""
    jobs = [(way, suffix) for way in WAYS for suffix in SUFFIXES]
    wanted, threads = {}, []
    for seed, (way, suffix) in enumerate(jobs):
        image = picture(seed)
        raw = encoded(image, suffix)
        threads.append(threading.Thread(target=way, args=(tmp_path / f"{way.__name__}{suffix}", raw)))
        decoded = cv2.imdecode(np.frombuffer(raw, np.uint8), 0) if suffix == ".jpg" else image
        wanted[decoded.tobytes()] = f"{way.__name__} {suffix}"
    ended = threading.Event()
    watch = WatchedFolder(tmp_path, tries=0, pause=ended.wait)

    def write() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ended.wait(RESERVED + 0.5)
        ended.set()

    found: Counter[str] = Counter()
    with Acquisition(watch, keep=ALL, ended=ended) as shots:
        writer = threading.Thread(target=write)
        writer.start()
        for shot in shots:
            assert shot.frame is not None, shot.fault
            found[wanted.get(shot.frame.tobytes(), f"another picture, {shot.name}")] += 1
        writer.join()
    assert found == Counter(wanted.values())
