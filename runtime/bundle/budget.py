"""The memory that a frame takes, worked out before anything is allocated.

A bundle may ask for more than any machine has: a finest level with a position for every pixel, thousands of candidates.
Its files grow with most of what it needs, so a bundle may use four times their size, or 1 GB if that is more. This does
not depend on the machine: a bundle that one accepts, all accept. The estimate leaves out what the network itself needs.
"""

from __future__ import annotations

import math

from spade_edge.runtime.errors import UsageError
from spade_edge.runtime.geometry.layout import Canvas, Layout
from spade_edge.runtime.matching.config import EXACT, PER_VIEW, PLACE, Matching
from spade_edge.runtime.matching.distances import CELLS, TABLE
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN

LEAST = 1 << 30  # bytes that any bundle may use
TIMES = 4  # so many times the size of its files it may use
BANDS = 4  # bands of cells that are compared at the same time, one on each thread
NUMBER = 4  # bytes of a float32
RECORD = 8  # bytes of a record of the search: distance and number of a key

VIEW = "views, their features and the anomaly map; use a smaller view, or fewer views"
WINDOWS = "the windows of its cells; use levels whose strides are closer to each other"
CANDIDATES = "{} candidates of a cell; use fewer --candidates"
NEAREST = "the {} nearest of each position; use a smaller --kappa"
SEARCH = "the search for candidates; use fewer --candidates, a smaller --ef or a smaller --place"


def check_budget(card: ModelCard, matching: Matching, layout: Layout, *, images: int, size: int) -> None:
    """Refuse what would take far more memory than its files.

    Args:
        card: of the model.
        matching: how frames are matched.
        layout: the views of a frame.
        images: number of good images.
        size: of all files of the bundle, in bytes.

    Raises:
        UsageError: it takes more than is allowed.
    """
    parts = frame_bytes(card, matching, layout, images=images)
    taken, allowed = sum(parts.values()), max(LEAST, TIMES * size)
    if taken > allowed:
        reason = max(parts, key=lambda part: parts[part])
        raise UsageError(
            f"expected a frame to take at most {allowed / 1e6:,.0f} MB of memory (1,074 MB, or four times the size of "
            f"the files), found {taken / 1e6:,.0f} MB, of which {parts[reason] / 1e6:,.0f} MB are for {reason}"
        )


def frame_bytes(card: ModelCard, matching: Matching, layout: Layout, *, images: int) -> dict[str, int]:
    """The memory that scoring one frame takes, in bytes, by what takes it. Arguments as for `check_budget`."""
    view, places, side, cells = card.view, card.positions(card.levels[0]), card.side, card.cells
    run = min(len(layout), VIEWS_PER_RUN)
    features = sum(card.positions(level) * level.channels for level in card.levels)
    items = images * (1 if matching.gallery == PER_VIEW else len(layout))
    candidates = matching.candidates_among(cells, items=items)
    few = min(matching.kappa, places * items)
    parts = {
        VIEW: 2 * 3 * NUMBER * math.prod(view.resize)
        + run * (3 * NUMBER * math.prod(view.size) + (NUMBER + 1) * features)
        + 6 * NUMBER * math.prod(Canvas(layout, view).size)
    }
    if matching.search == EXACT:
        embeddings = places * sum(level.channels for level in card.levels)
        # A table of a few positions, in three steps, beside embeddings of the view; and for each of the κ nearest its
        # distance, its item and its position.
        parts[VIEW] += 3 * NUMBER * (max(TABLE, places) + embeddings)
        parts[NEAREST.format(f"{few:,}")] = places * few * (2 * NUMBER + 2 * 8)
        return parts
    taken, windows, products = 0, cells * 8, 0
    for level in card.levels:
        count, padded = _window(card.span(level), side)
        windows += cells * count * (8 + 4) + NUMBER * side**2 * padded + 3 * NUMBER * padded**2 * side**2
        taken += count * level.channels
        products += 2 * NUMBER * count * padded
    parts[WINDOWS] = windows
    beside = taken + products + 2 * NUMBER * side**4  # for each candidate of a cell, in a band
    parts[CANDIDATES.format(f"{candidates:,}")] = candidates * (
        len(layout) * NUMBER * places * side**2 + BANDS * min(cells, CELLS) * beside
    )
    if matching.kappa > 1:
        parts[NEAREST.format(f"{few:,}")] = (
            BANDS * min(cells, CELLS) * min(few, candidates * side**2) * NUMBER * side**2
        )
    if matching.search == PLACE and matching.place is not None:
        slots = math.prod(2 * min(matching.place, length - 1) + 1 for length in card.grid(card.levels[-1]))
        parts[SEARCH] = cells * slots * (2 * 9 + min(candidates, images) * (NUMBER + 4 * RECORD))
    else:
        parts[SEARCH] = 6 * RECORD * cells * min(max(candidates, matching.ef), cells * items)
    return parts


def _window(span: int, side: int) -> tuple[int, int]:
    """Positions of a level that the embeddings of a cell are computed from, and the same padded; see `Window`."""
    count = span**2 if span == side else (span + 2) ** 2
    return count, count + -count % 16
