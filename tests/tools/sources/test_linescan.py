"""Strips against a naive oracle: put all lines together, cut."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.tools.sources import Shot
from spade_edge.tools.sources.linescan import strips


def lines_of(count: int, *, channels: tuple[int, ...] = (3,), width: int = 7) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, width, *channels), np.uint8)


def oracle(rows: NDArray[np.uint8], lines: int, overlap: int) -> list[NDArray[np.uint8]]:
    """What the strips of so many lines are, by slicing."""
    found, start = [], 0
    while start + lines <= len(rows):
        found.append(rows[start : start + lines])
        start += lines - overlap
    if found and len(rows) > start + overlap:  # lines that no strip has yet
        found.append(rows[-lines:])
    return found


CHANNELS, SIZES, STRIPS, COUNTS = (
    ((), (1,), (3,)), (1, 2, 5, 8, 13, 40), ((8, 0), (8, 3), (8, 7), (1, 0), (64, 1)), (64, 71, 100),
)  # fmt: skip
# Pairwise: every size of a block with every kind of strip; channels and counts take turns, so that each pair occurs.
CASES = [
    (CHANNELS[(i + j) % 3], size, *strip, COUNTS[(2 * i + j) % 3 if i < 3 else (i + 2 * j) % 3])
    for i, size in enumerate(SIZES)
    for j, strip in enumerate(STRIPS)
]


def test_the_cases_below_have_every_pair() -> None:
    factors = (CHANNELS, SIZES, STRIPS, COUNTS)
    rows = [(channels, size, (lines, overlap), count) for channels, size, lines, overlap, count in CASES]
    for (i, one), (j, other) in combinations(enumerate(factors), 2):
        assert {(row[i], row[j]) for row in rows} == set(product(one, other))


@pytest.mark.parametrize(("channels", "size", "lines", "overlap", "count"), CASES)
def test_strips_are_slices_of_all_lines(
    channels: tuple[int, ...], size: int, lines: int, overlap: int, count: int
) -> None:
    rows = lines_of(count, channels=channels)
    blocks = (Shot(i, rows[i : i + size], time=float(i), part=str(i)) for i in range(0, count, size))
    shots = list(strips(blocks, lines=lines, overlap=overlap))
    assert [shot.name for shot in shots] == list(range(len(shots)))
    expected = oracle(rows, lines, overlap)
    assert len(shots) == len(expected)
    end = 0
    for place, (shot, strip) in enumerate(zip(shots, expected, strict=True)):
        assert shot.frame is not None and shot.frame.flags.owndata
        assert np.array_equal(shot.frame, strip) and shot.frame.shape == strip.shape
        end = (
            count
            if place == len(shots) - 1 and end + lines - overlap > count
            else end + (lines - overlap * (place > 0))
        )
        last_block = (end - 1) // size * size
        assert (shot.time, shot.part) == (float(last_block), str(last_block))


def test_too_few_lines_are_a_fault_at_the_end() -> None:
    (shot,) = strips([Shot(0, lines_of(5))], lines=8)
    assert (shot.name, shot.frame, shot.fault) == (0, None, "expected 8 lines, found 5 at the end")


def test_nothing_is_left_where_the_lines_are_used_up() -> None:
    assert len(list(strips([Shot(0, lines_of(16))], lines=8))) == 2
    assert list(strips([], lines=8)) == []


def test_a_fault_and_news_empty_the_strip_and_are_passed_on() -> None:
    rows = lines_of(40)
    blocks = [
        Shot(0, rows[:10]),
        Shot(1, None, "damaged", part="9"),
        Shot(2, rows[10:18]),
        Shot(None, None, "stopped"),
        Shot(3, rows[18:23]),
        Shot(4, rows[23:31]),
    ]
    shots = list(strips(blocks, lines=8))
    assert [(shot.name, shot.fault) for shot in shots] == [
        (0, ""), (1, "damaged"), (2, ""), (None, "stopped"), (3, ""), (4, ""),
    ]  # fmt: skip
    assert shots[1].part == "9"
    for shot, start in ((shots[0], 0), (shots[2], 10), (shots[4], 18), (shots[5], 23)):
        assert np.array_equal(shot.frame, rows[start : start + 8])


def test_another_width_is_a_fault_and_a_new_beginning() -> None:
    wide, narrow = lines_of(12), lines_of(9, width=6)
    shots = list(strips([Shot(0, wide), Shot(1, narrow)], lines=8, overlap=2))
    assert [shot.frame is None for shot in shots] == [False, True, False, False]
    assert shots[1].fault == (
        "expected lines 7 pixels wide with 3 channels, found 6 pixels wide with 3 channels: a new strip begins"
    )
    assert np.array_equal(shots[0].frame, wide[:8])
    assert np.array_equal(shots[2].frame, narrow[:8]) and np.array_equal(shots[3].frame, narrow[1:])
    assert [shot.name for shot in shots] == [0, 1, 2, 3]


def test_what_is_no_frame_is_a_fault() -> None:
    shots = list(strips([Shot(0, lines_of(3).astype(np.float32)), Shot(1, lines_of(8))], lines=8))  # type: ignore[arg-type]
    assert "expected a uint8 array" in shots[0].fault and shots[1].frame is not None


def test_memory_stays_what_two_strips_take() -> None:
    from spade_edge.tools.sources.linescan import LineBuffer

    latest = LineBuffer(lines_of(1), lines=100)
    for _ in range(1000):
        latest.add(lines_of(1))
    assert len(latest.rows) == 200 and len(latest) == 100
