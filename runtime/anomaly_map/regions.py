"""Connected parts of an anomaly map above a threshold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Blob:
    """A connected part of a map, in pixels of the map.

    Attributes:
        box: (x, y, width, height).
        peak: (row, column) of its highest value.
        score: the highest value.
        mean: the mean of its values.
        area: number of its pixels.
    """

    box: tuple[int, int, int, int]
    peak: tuple[int, int]
    score: float
    mean: float
    area: int


def blobs(heatmap: NDArray[np.float32], threshold: float) -> tuple[Blob, ...]:
    """Find the 8-connected parts of `heatmap` (h, w) above `threshold`, highest first.

    Runs of neighbouring pixels in a row are found first; a smooth map has few. Runs that touch are then joined.
    """
    if not (heatmap > threshold).any():
        return ()
    over = np.zeros((heatmap.shape[0], heatmap.shape[1] + 2), np.int8)
    over[:, 1:-1] = heatmap > threshold
    turns = np.diff(over, axis=1)
    rows, starts = np.nonzero(turns == 1)
    stops = np.nonzero(turns == -1)[1]  # one past the end; nonzero goes row by row, so starts and stops correspond
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first_of_row = np.searchsorted(rows, np.arange(len(heatmap) + 1)).tolist()
    for row in range(1, len(heatmap)):
        above, here, end = first_of_row[row - 1], first_of_row[row], first_of_row[row + 1]
        last_above = here
        while above < last_above and here < end:
            if starts[above] <= stops[here] and starts[here] <= stops[above]:  # touching corners count
                parent[root(here)] = root(above)
            if stops[above] < stops[here]:
                above += 1
            else:
                here += 1

    members: dict[int, list[int]] = {}
    for run in range(len(rows)):
        members.setdefault(root(run), []).append(run)
    found = [_blob(heatmap, rows[runs], starts[runs], stops[runs]) for runs in members.values()]
    return tuple(sorted(found, key=lambda blob: (-blob.score, blob.box)))


def worst_blob(heatmap: NDArray[np.float32], excess: NDArray[np.float32]) -> tuple[Blob, ...]:
    """Find where a map is furthest over its baseline, down to half of that height.

    Args:
        heatmap: (h, w) float32, which the blob's score and mean are taken from.
        excess: (h, w) float32, the map less its baseline, which the blob's shape is taken from.

    Returns:
        one blob; none if `excess` is nowhere positive.
    """
    limit = float(excess.max()) / 2
    found = []
    for blob in blobs(excess, limit)[:1]:
        x, y, width, height = blob.box
        box = slice(y, y + height), slice(x, x + width)
        values = heatmap[box][excess[box] > limit]
        found.append(replace(blob, score=float(values.max()), mean=float(values.mean(dtype=np.float64))))
    return tuple(found)


def _blob(
    heatmap: NDArray[np.float32], rows: NDArray[np.intp], starts: NDArray[np.intp], stops: NDArray[np.intp]
) -> Blob:
    left, top = int(starts.min()), int(rows[0])
    box = (left, top, int(stops.max()) - left, int(rows[-1]) - top + 1)
    peaks = [
        (float(heatmap[row, start:stop].max()), int(row), int(start + heatmap[row, start:stop].argmax()))
        for row, start, stop in zip(rows, starts, stops, strict=True)
    ]
    score, row, column = max(peaks, key=lambda peak: peak[0])
    area = int((stops - starts).sum())
    total = sum(
        float(heatmap[row, start:stop].sum(dtype=np.float64))
        for row, start, stop in zip(rows, starts, stops, strict=True)
    )
    return Blob(box=box, peak=(row, column), score=score, mean=total / area, area=area)
