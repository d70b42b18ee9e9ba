"""The stitched map against its definition, pixel by pixel in float64, with scipy's Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from spade_edge.runtime.anomaly_map.stitching import Stitching, gaussian_weights
from spade_edge.runtime.geometry.layout import WHOLE, Box, Canvas, Layout
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.preprocessing.mask import Mask

torch = pytest.importorskip("torch")

SMALL = View((64, 64), (64, 64))
GRID = (16, 16)
Ramps = Callable[[Box], tuple[float, float, float, float]]  # blended at the left, the top, the right and the bottom


def tiled(
    tile: int,
    step: int,
    counts: tuple[int, int],
    *,
    offset: tuple[int, int] = (0, 0),
    frame: tuple[int, int] | None = None,
) -> Layout:
    """Square tiles, `counts` (down, across), from an offset (x, y) on."""
    boxes = tuple(
        (offset[0] + column * step, offset[1] + row * step, tile, tile)
        for row in range(counts[0])
        for column in range(counts[1])
    )
    end = max(x for x, *_ in boxes) + tile, max(y for _, y, *_ in boxes) + tile
    return Layout(frame or (end[1], end[0]), boxes)


def ramps_of(layout: Layout) -> Ramps:
    """Where tiles of a regular grid overlap: on the sides that have a neighbour, as far as it reaches."""

    def of(box: Box) -> tuple[float, float, float, float]:
        x, y, wide, high = box
        others = [other for other in layout.boxes if other != box]
        left = [o[0] + o[2] - x for o in others if o[1] == y and o[0] < x < o[0] + o[2]]
        right = [x + wide - o[0] for o in others if o[1] == y and x < o[0] < x + wide]
        top = [o[1] + o[3] - y for o in others if o[0] == x and o[1] < y < o[1] + o[3]]
        bottom = [y + high - o[1] for o in others if o[0] == x and y < o[1] < y + high]
        return (
            min(max(left, default=0), wide / 2),
            min(max(top, default=0), high / 2),
            min(max(right, default=0), wide / 2),
            min(max(bottom, default=0), high / 2),
        )

    return of


def bilinear(values: NDArray[np.float64], row: float, column: float) -> float:
    """At a place in fractions of the grid; half-pixel centres, edges repeated."""
    height, width = values.shape
    y = min(max(row * height - 0.5, 0), height - 1)
    x = min(max(column * width - 0.5, 0), width - 1)
    top, left = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    above = values[top, left] * (1 - across) + values[top, right] * across
    under = values[below, left] * (1 - across) + values[below, right] * across
    return float(above * (1 - down) + under * down)


def naive(
    canvas: Canvas,
    distances: NDArray[np.float32],
    *,
    sigma: float,
    ramps: Ramps,
    fractions: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The views' values, averaged by nearness to a view's middle and by the Gaussian; and what is covered."""
    height, width = canvas.size
    left, top, wide, high = canvas.field
    total, weight = np.zeros((height, width)), np.zeros((height, width))
    covered = np.zeros((height, width), bool)
    weights_of = np.ones_like(distances, np.float64) if fractions is None else fractions
    for number, box in enumerate(canvas.boxes):
        x, y, w, h = box
        before_x, before_y, after_x, after_y = ramps(box)
        values, known = np.zeros((height, width)), np.zeros((height, width))
        for row in range(height):
            for column in range(width):
                down = top + (row + 0.5) * high / height - y
                across = left + (column + 0.5) * wide / width - x
                if not (0 <= down < h and 0 <= across < w):
                    continue
                covered[row, column] = True
                blend = 1.0
                blend *= min(1, across / before_x if before_x else 1, (w - across) / after_x if after_x else 1)
                blend *= min(1, down / before_y if before_y else 1, (h - down) / after_y if after_y else 1)
                fraction = weights_of[number]
                values[row, column] = blend * bilinear(
                    distances[number].astype(np.float64) * fraction, down / h, across / w
                )
                known[row, column] = blend * bilinear(fraction, down / h, across / w)
        # Sigma is in pixels of the view: of so many map pixels along each axis.
        sigmas = (sigma * height / high * h / canvas.view.size[0], sigma * width / wide * w / canvas.view.size[1])
        total += scipy.ndimage.gaussian_filter(values, sigmas, mode="reflect", truncate=4)
        weight += scipy.ndimage.gaussian_filter(known, sigmas, mode="reflect", truncate=4)
    kept = covered & (weight > 0)
    return np.where(kept, total / np.where(kept, weight, 1), 0), kept


def distances_of(canvas: Canvas, grid: tuple[int, int] = GRID, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).gamma(2, 10, (len(canvas.boxes), *grid)).astype(np.float32)


def check(canvas: Canvas, *, sigma: float, ramps: Ramps, grid: tuple[int, int] = GRID) -> Stitching:
    distances = distances_of(canvas, grid)
    before = distances.copy()
    stitching = Stitching(canvas, grid, sigma=sigma, threads=1)
    heatmap = stitching(list(distances))
    expected, kept = naive(canvas, distances, sigma=sigma, ramps=ramps)
    assert heatmap.shape == canvas.size and heatmap.dtype == np.float32
    np.testing.assert_allclose(heatmap, expected, rtol=2e-5)
    assert np.array_equal(kept, np.ones_like(kept) if stitching.kept is None else stitching.kept)
    assert np.array_equal(distances, before)
    assert np.array_equal(stitching(list(distances)), heatmap)  # no state
    return stitching


@pytest.mark.parametrize("sigma", [0, 1.5, 4])
@pytest.mark.parametrize(
    "layout",
    [
        tiled(64, 48, (2, 2)),
        tiled(40, 30, (2, 2)),  # enlarged to the view
        tiled(128, 100, (2, 3)),  # shrunk
        tiled(64, 64, (1, 3)),  # no overlap
        tiled(64, 32, (2, 2)),  # half a tile
        tiled(64, 24, (2, 3)),  # more than half of it
        tiled(60, 50, (2, 1), offset=(7, 13), frame=(200, 100)),  # within a larger frame
    ],
    ids=["as they are", "grown", "shrunk", "side by side", "half", "more", "offset"],
)
def test_tiles_are_the_weighted_average_that_the_docstring_says(layout: Layout, sigma: float) -> None:
    stitching = check(Canvas(layout, SMALL), sigma=sigma, ramps=ramps_of(layout))
    assert stitching.kept is None  # every pixel is covered


@pytest.mark.parametrize("sigma", [0, 3])
@pytest.mark.parametrize(
    "boxes",
    [
        ((10, 5, 70, 40),),
        ((0, 0, 40, 40), (80, 50, 60, 40)),
        ((0, 0, 64, 64), (70, 0, 64, 64)),  # the Gaussian of one reaches the other
        ((5, 0, 100, 40), (110, 40, 40, 52)),
    ],
)
def test_regions_of_other_sizes_and_the_gaps_between_them(boxes: tuple[Box, ...], sigma: float) -> None:
    stitching = check(Canvas(Layout((100, 160), boxes), SMALL), sigma=sigma, ramps=lambda box: (0, 0, 0, 0))
    assert (stitching.kept is None) == (len(boxes) == 1)


def test_grids_that_are_not_square() -> None:
    view = View((32, 96), (32, 96))
    boxes = tuple((x, y, 90, 40) for y in (0, 30) for x in (0, 70))
    layout = Layout((70, 160), boxes)
    check(Canvas(layout, view), sigma=2, ramps=ramps_of(layout), grid=(4, 12))


@pytest.mark.parametrize("sigma", [0, 4])
def test_a_region_is_torchs_bilinear_then_scipys_gaussian_as_the_whole_frame_is(sigma: float) -> None:
    distances = distances_of(Canvas(WHOLE, SMALL))
    large = torch.nn.functional.interpolate(torch.from_numpy(distances)[None], size=(64, 64), mode="bilinear")[0, 0]
    expected = scipy.ndimage.gaussian_filter(large.numpy().astype(np.float64), sigma) if sigma else large.numpy()
    for layout in (WHOLE, Layout((300, 500), ((17, 40, 222, 131),)), Layout((30, 30), ((5, 5, 7, 9),))):
        heatmap = Stitching(Canvas(layout, SMALL), GRID, sigma=sigma)(list(distances))
        np.testing.assert_allclose(heatmap, expected, rtol=1e-5)


@pytest.mark.parametrize("sigma", [0, 1, 4, 20])
@pytest.mark.parametrize(
    "layout",
    [
        WHOLE,
        tiled(64, 48, (3, 3)),
        tiled(100, 77, (2, 3), offset=(3, 9), frame=(400, 400)),
        Layout((200, 200), ((0, 0, 64, 64), (40, 20, 90, 70), (30, 30, 40, 40), (150, 150, 50, 50))),
        Layout((200, 200), ((0, 0, 128, 128), (0, 0, 64, 64), (100, 100, 100, 100))),
    ],
)
def test_equal_distances_make_an_even_map_up_to_every_border(layout: Layout, sigma: float) -> None:
    canvas = Canvas(layout, SMALL)
    stitching = Stitching(canvas, GRID, sigma=sigma)
    heatmap = stitching([np.full(GRID, 7.5, np.float32)] * len(canvas.boxes))
    covered = np.zeros(canvas.size, bool)
    for x, y, wide, high in canvas.boxes:
        rows, columns = canvas.centres(0), canvas.centres(1)
        covered |= np.outer((rows >= y) & (rows < y + high), (columns >= x) & (columns < x + wide))
    kept = np.ones(canvas.size, bool) if stitching.kept is None else stitching.kept
    assert np.array_equal(kept, covered)
    np.testing.assert_allclose(heatmap[covered], 7.5, rtol=1e-5)
    assert (heatmap[~covered] == 0).all()
    assert stitching.score(heatmap) == pytest.approx(7.5, rel=1e-5)


def test_a_pixel_where_only_the_start_of_a_view_lies_is_covered_without_smoothing() -> None:
    # The second view's ramp, which it has because of the first, begins at 0 in the middle of a pixel.
    boxes = ((0, 0, 128, 128), (101, 64, 128, 128), (102, 150, 128, 128))
    canvas = Canvas(Layout((300, 300), boxes), SMALL)
    assert 101 in canvas.centres(1)
    stitching = Stitching(canvas, GRID, sigma=0)
    column = canvas.centres(1).tolist().index(101)
    row = int(np.searchsorted(canvas.centres(0), 140))
    assert stitching.kept is not None and stitching.kept[row, column + 1] and stitching.kept[row, column]


def field(row: NDArray[np.floating[Any]], column: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """What distances might be of a frame: smooth, hundreds of pixels from crest to crest."""
    return 50 + 20 * np.sin(row / 37 + 0.3) * np.cos(column / 45) + 0.1 * column


def sampled(canvas: Canvas) -> list[NDArray[np.float32]]:
    """The field at the positions of each view's grid."""
    views = []
    for x, y, wide, high in canvas.boxes:
        rows = y + (np.arange(GRID[0]) + 0.5) * high / GRID[0]
        columns = x + (np.arange(GRID[1]) + 0.5) * wide / GRID[1]
        views.append(field(rows[:, None], columns[None]).astype(np.float32))
    return views


@pytest.mark.parametrize("shift", [4, 7, 19, 24])
def test_where_tiles_lie_does_not_show_in_the_map(shift: int) -> None:
    frame = (300, 360)
    first = Canvas(tiled(64, 48, (5, 6), frame=frame), SMALL)
    second = Canvas(tiled(64, 48, (5, 6), offset=(shift, shift), frame=frame), SMALL)
    maps = [Stitching(canvas, GRID, sigma=4)(sampled(canvas)) for canvas in (first, second)]
    assert first.size == second.size == (256, 304)
    inner = 20  # of the map's own edge, where the Gaussian is mirrored
    have, want = (
        maps[0][shift + inner : -inner, shift + inner : -inner],
        maps[1][inner : -shift - inner, inner : -shift - inner],
    )
    assert have.shape == want.shape
    assert np.abs(have - want).max() < 0.005 * np.ptp(have)


@pytest.mark.parametrize("sigma", [1, 4])
def test_no_jump_where_tiles_meet(sigma: float) -> None:
    canvas = Canvas(tiled(64, 48, (4, 5)), SMALL)
    heatmap = Stitching(canvas, GRID, sigma=sigma)(sampled(canvas)).astype(np.float64)
    rows, columns = np.arange(208) + 0.5, np.arange(256) + 0.5
    assert heatmap.shape == (208, 256)
    expected = scipy.ndimage.gaussian_filter(field(rows[:, None], columns[None]), sigma)
    inner = np.s_[20:-20, 20:-20]
    assert np.abs(heatmap - expected)[inner].max() < 0.01 * np.ptp(expected)
    for axis in (0, 1):
        bends = np.abs(np.diff(heatmap, n=2, axis=axis))[inner]
        lines = np.arange(20, 20 + bends.shape[axis]) + 1  # the middle one of three
        edges = {edge for start in range(0, 240, 48) for edge in (start, start + 64)}
        near = np.array([any(abs(line + 0.5 - edge) <= 1.5 for edge in edges) for line in lines])
        most = bends.max(axis=1 - axis)
        assert most[near].max() <= 1.25 * most[~near].max()


@pytest.mark.parametrize("overlap", [8, 16, 32])
@pytest.mark.parametrize("sigma", [0, 4])
def test_tiles_that_disagree_pass_over_into_each_other_gradually(overlap: int, sigma: float) -> None:
    canvas = Canvas(tiled(64, 64 - overlap, (3, 4)), SMALL)
    rng = np.random.default_rng(0)
    levels = rng.permutation(12) * 10.0
    heatmap = Stitching(canvas, GRID, sigma=sigma)([np.full(GRID, level, np.float32) for level in levels])
    grid = levels.reshape(3, 4)
    for axis in (0, 1):
        offset = np.abs(np.diff(grid, axis=axis)).max()
        steps = np.abs(np.diff(heatmap.astype(np.float64), axis=axis)).max()
        assert steps <= 1.05 * offset / overlap
    if overlap < 32:  # away from its neighbours a tile has its own value
        np.testing.assert_allclose(heatmap[:8, :8], levels[0], rtol=1e-4, atol=1e-3)
    assert heatmap.min() >= levels.min() - 1e-3 and heatmap.max() <= levels.max() * (1 + 1e-5)


def masked(layout: Layout, looked_at: NDArray[np.bool_], *, sigma: float = 4) -> tuple[Canvas, Mask, Stitching]:
    canvas = Canvas(Layout(layout.frame, layout.boxes, masked=True), SMALL)
    mask = Mask(looked_at)
    return canvas, mask, Stitching(canvas, GRID, sigma=sigma, mask=mask)


MASKED = {
    "one view": Layout((64, 64), ((0, 0, 64, 64),)),
    "shrunk": Layout((200, 150), ((0, 0, 150, 200),)),
    "grown": Layout((40, 30), ((3, 5, 25, 35),)),
    "tiles": tiled(64, 48, (3, 3)),
    "larger tiles": tiled(100, 80, (2, 3), offset=(5, 0), frame=(200, 300)),
}


def a_mask(layout: Layout) -> NDArray[np.bool_]:
    """Ignores a disc in the middle and a corner."""
    assert layout.frame is not None
    height, width = layout.frame
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (min(height, width) / 5) ** 2
    return np.asarray(~disc & ~((rows < height / 4) & (columns < width / 3)))


def fractions_counted(canvas: Canvas, looked_at: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much of each grid position is not touched by an ignored pixel, from the definition of the viewer."""
    height, width = canvas.view.size
    fractions = []
    for x, y, wide, high in canvas.boxes:
        seen = np.zeros((height, width), bool)
        for row in range(height):
            for column in range(width):
                spans = []
                for place, source, target in ((row, high, height), (column, wide, width)):
                    if target < source:  # averages over areas
                        first, last = place * source / target, (place + 1) * source / target
                        span = range(math.floor(first + 1e-9), math.ceil(last - 1e-9))
                    else:  # between two pixels
                        at = min(max((place + 0.5) * source / target - 0.5, 0), source - 1)
                        span = range(math.floor(at + 1e-9), math.ceil(at - 1e-9) + 1)
                    spans.append(span)
                part = looked_at[y + spans[0].start : y + spans[0].stop, x + spans[1].start : x + spans[1].stop]
                seen[row, column] = part.all()
        blocks = seen.reshape(GRID[0], height // GRID[0], GRID[1], width // GRID[1])
        fractions.append(blocks.mean(axis=(1, 3)))
    return np.stack(fractions)


@pytest.mark.parametrize("name", MASKED)
def test_what_is_looked_at_of_a_position_counts_for_as_much(name: str) -> None:
    layout = MASKED[name]
    looked_at = a_mask(layout)
    canvas, mask, stitching = masked(layout, looked_at)
    fractions = mask.fractions(canvas, GRID)
    assert fractions.dtype == np.float32 and fractions.shape == (len(canvas.boxes), *GRID)
    np.testing.assert_allclose(fractions, fractions_counted(canvas, looked_at), atol=1e-6)
    distances = distances_of(canvas)
    ramps: Ramps = ramps_of(layout)
    expected, kept = naive(canvas, distances, sigma=4, ramps=ramps, fractions=fractions.astype(np.float64))
    for row in range(canvas.size[0]):
        for column in range(canvas.size[1]):
            y, x = canvas.centres(0)[row], canvas.centres(1)[column]
            kept[row, column] &= looked_at[int(y), int(x)]
    assert stitching.kept is not None and np.array_equal(stitching.kept, kept)
    np.testing.assert_allclose(stitching(list(distances)), np.where(kept, expected, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("sigma", [0, 4])
def test_what_stands_under_the_mask_does_not_leak(name: str, sigma: float) -> None:
    layout = MASKED[name]
    canvas, mask, stitching = masked(layout, a_mask(layout), sigma=sigma)
    distances = distances_of(canvas)
    ignored = mask.fractions(canvas, GRID) == 0
    assert ignored.any() and stitching.kept is not None
    clean = stitching(list(distances))
    for value in (0, 1e30, 3e38):
        spoilt = np.where(ignored, np.float32(value), distances)
        heatmap = stitching(list(spoilt))
        assert np.array_equal(heatmap, clean)
        assert stitching.score(heatmap) == stitching.score(clean)
    assert (clean[~stitching.kept] == 0).all() and (clean[stitching.kept] > 0).all()
    assert clean.max() <= distances[~ignored].max() * (1 + 1e-5)


def test_equal_distances_make_an_even_map_beside_a_mask_too() -> None:
    for layout in MASKED.values():
        canvas, _, stitching = masked(layout, a_mask(layout))
        heatmap = stitching([np.full(GRID, 3.25, np.float32)] * len(canvas.boxes))
        assert stitching.kept is not None
        np.testing.assert_allclose(heatmap[stitching.kept], 3.25, rtol=1e-4)


def score_by_hand(canvas: Canvas, heatmap: NDArray[np.float32], kept: NDArray[np.bool_]) -> float:
    """The mean of the highest pixels, as many as 3 in 1,000 of what a view covers on average, or of all looked at."""
    pixels = []
    for _, _, wide, high in canvas.boxes:
        pixels.append(high * canvas.size[0] / canvas.field[3] * wide * canvas.size[1] / canvas.field[2])
    count = max(1, math.floor(min(sum(pixels) / len(pixels), int(kept.sum())) * 3 / 1000 + 1e-9))
    values = sorted((float(v) for v, keep in zip(heatmap.ravel(), kept.ravel(), strict=True) if keep), reverse=True)
    return math.fsum(values[:count]) / count


@pytest.mark.parametrize("name", [*MASKED, "few pixels", "regions"])
@pytest.mark.parametrize("with_mask", [False, True])
def test_the_score_is_the_mean_of_as_many_highest_pixels_as_3_in_1000_of_a_view(name: str, with_mask: bool) -> None:
    layout = {
        "few pixels": Layout((20, 30), ((0, 0, 9, 9), (15, 7, 11, 11))),
        "regions": Layout((300, 300), ((0, 0, 100, 50), (120, 100, 70, 170))),
    }.get(name) or MASKED[name]
    looked_at = a_mask(layout)
    if with_mask:
        canvas, _, stitching = masked(layout, looked_at)
    else:
        canvas = Canvas(layout, SMALL)
        stitching = Stitching(canvas, GRID, sigma=4)
    heatmap = np.random.default_rng(3).gamma(1, 10, canvas.size).astype(np.float32)
    kept = np.ones(canvas.size, bool) if stitching.kept is None else stitching.kept
    expected = score_by_hand(canvas, heatmap, kept)
    assert stitching.score(heatmap) == pytest.approx(expected, rel=1e-6)
    if stitching.kept is not None:
        loud = np.where(kept, heatmap, np.float32(1e9))
        assert stitching.score(loud) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("part", [slice(0, 5), slice(3, 9), slice(11, 20), slice(0, 20)])
@pytest.mark.parametrize("sigma", [0, 0.7, 3, 30])
def test_smoothing_a_part_is_smoothing_with_zeros_around_it(part: slice, sigma: float) -> None:
    signal = np.random.default_rng(4).normal(size=20)
    spread, weights = gaussian_weights(20, sigma, part=part)
    have = np.zeros(20)
    have[spread] = weights @ signal[part]
    zeroed = np.zeros(20)
    zeroed[part] = signal[part]
    want = scipy.ndimage.gaussian_filter1d(zeroed, sigma) if sigma else zeroed
    np.testing.assert_allclose(have, want, atol=1e-12)


def test_one_thread_or_two_make_the_same_map() -> None:
    canvas = Canvas(tiled(64, 48, (3, 3)), SMALL)
    distances = list(distances_of(canvas))
    one, two = (Stitching(canvas, GRID, sigma=4, threads=threads)(distances) for threads in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-6)
