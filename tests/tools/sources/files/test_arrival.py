"""Telling files from each other, and how long to wait for one."""

from __future__ import annotations

import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from spade_edge.tools.sources.files.arrival import (
    AGAIN,
    QUIET,
    RESERVED,
    Known,
    State,
    Unread,
    content,
    is_touched,
    quiet_time,
)

STATE = State(changed=5, size=4, disk=1, number=7)


@pytest.mark.parametrize(
    ("other", "unread", "read"),
    [
        (STATE, True, True),
        (STATE._replace(changed=6), False, False),
        (STATE._replace(size=5), False, False),
        (STATE._replace(disk=2), True, True),  # mounted again
        (STATE._replace(disk=2, number=8), True, True),
        (STATE._replace(number=8), True, False),  # perhaps another file, so that it has to be read
    ],
)
def test_a_file_that_is_unchanged(other: State, unread: bool, read: bool) -> None:
    assert Known(STATE).is_unchanged(other) is unread
    assert Known.given(STATE, b"abcd", faulty=False).is_unchanged(other) is read


@pytest.mark.parametrize(
    ("state", "raw", "good", "faulty"),
    [
        (STATE._replace(changed=6), b"ab\0\0", True, True),
        (STATE._replace(changed=6), b"ab\0\0c", True, True),
        (STATE._replace(changed=6), b"ab", False, True),
        (STATE._replace(changed=6), b"abcd", False, True),  # reserved space that has been filled
        (STATE._replace(changed=6), b"aX\0\0", False, False),
        (STATE._replace(changed=6), None, False, False),
        (STATE._replace(changed=6, number=8), b"ab\0\0", False, False),
        (STATE._replace(number=8), b"ab\0\0", True, True),  # on a disk that gives its files other numbers
    ],
)
def test_a_file_that_goes_on(state: State, raw: bytes | None, good: bool, faulty: bool) -> None:
    assert Known.given(STATE, b"ab\0\0", faulty=False).goes_on(state, raw) is good
    assert Known.given(STATE, b"ab\0\0", faulty=True).goes_on(state, raw) is faulty
    assert not Known(STATE).goes_on(state, raw)


def test_bytes_that_change_without_a_change_of_the_time_start_the_wait_again() -> None:
    unread = Unread(STATE, linked=False, due=0, since=0, rest=0)
    first = unread.seen(b"ab", now=1, rest=3)
    assert first.since == 0 and first.seen(b"ab", now=2, rest=0).since == 0
    assert first.seen(b"ac", now=2, rest=0).since == 2
    assert first.later(now=1, wait=100).due == 3  # reading took long
    assert first.seen(b"ab", now=2, rest=0).later(now=2, wait=2.1).due == 2.1
    assert first.seen(b"ab", now=2, rest=0).later(now=2, wait=100).due == 2 + QUIET


@pytest.mark.parametrize("suffix", [".pgm", ".png"])
def test_how_long_to_wait(suffix: str, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(1, 256, (64, 64), np.uint8)
    path = tmp_path / f"a{suffix}"

    def wait(raw: bytes, *, again: bool = False) -> float:
        path.write_bytes(raw)
        return quiet_time(path, content(path), again=again)

    whole = cv2.imencode(suffix, image)[1].tobytes()
    assert wait(whole) == 0.0 and wait(whole, again=True) == AGAIN
    assert wait(whole[:-1]) == wait(b"") == math.inf
    assert quiet_time(path, None, again=False) == math.inf
    assert wait(b"P2 2 1 255\n12 13\n") == QUIET
    image[20:40] = 0  # black in the middle
    black = b"P5 64 64 255\n" + image.tobytes()
    assert wait(black) == RESERVED and wait(black, again=True) == AGAIN
    image[20:40], image[-1] = 9, 0
    assert wait(b"P5 64 64 255\n" + image.tobytes()) == RESERVED


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="this system does not tell holes")
def test_a_file_with_holes_is_waited_for_even_if_it_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    with path.open("wb") as file:
        file.write(b"P5 512 256 255\n")
        file.seek(65536)
        file.write(bytes(512 * 256 - 65536 + 15))
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_HOLE) == path.stat().st_size:
            pytest.skip("this disk has no holes")
    assert quiet_time(path, content(path), again=True) in (RESERVED, math.inf)


def test_what_is_too_large_for_an_image_or_cannot_be_read_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"a")
    assert content(path) == b"a"
    os.truncate(path, (2 << 30) + 1)
    assert content(path) is None and content(tmp_path) is None and content(tmp_path / "absent") is None


def test_what_was_touched_and_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"a")
    os.utime(path, (1000, 1000))
    assert not is_touched(path)
    path.touch()
    assert is_touched(path)
    assert not is_touched(tmp_path / "absent")
