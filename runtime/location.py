"""Where a suspicious part of the anomaly map lies on the frame, and which place in a good image it resembles most."""

from __future__ import annotations

from collections.abc import Sequence

from spade_edge.runtime.anomaly_map.regions import Blob
from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.matching.distances import Matches
from spade_edge.runtime.matching.gallery import Features
from spade_edge.runtime.preprocessing.moved import Moved
from spade_edge.runtime.result import Match, Region


def region_in_frame(blob: Blob, canvas: Canvas, frame_size: tuple[int, int]) -> Region:
    """Carry a part of the map to a frame of (height, width)."""
    x, y, width, height = canvas.box_in_frame(blob.box, frame_size)
    area = blob.area * canvas.pixel_area(frame_size)
    return Region(x=x, y=y, width=width, height=height, score=blob.score, mean=blob.mean, area=area)


def nearest_match(
    blob: Blob,
    canvas: Canvas,
    gallery: Features,
    matches: Sequence[Matches],
    *,
    moved: Moved | None = None,
) -> Match:
    """Find the place in a good image that resembles the highest pixel of a part of the map most.

    Args:
        blob: the part of the map.
        canvas: places the views and the map on the frame.
        gallery: the good images.
        matches: what was matched at each position of each view of the frame.
        moved: how the frame's view was brought back to where good parts lie before it was matched; None if it was not.
    """
    row, column = canvas.centre_of(blob.peak)
    # Of the views that see this pixel, the one in which it is furthest from the edge.
    view = canvas.view_of(row, column)
    within = canvas.in_view(view, row, column)
    if moved is not None:
        within = moved.on_good(*within)
    position = (min(max(int(part * count), 0), count - 1) for part, count in zip(within, gallery.grid, strict=True))
    place = matches[view].nearest(*position)
    matched_view, image = divmod(place.item, len(gallery))
    matched = divmod(place.position, gallery.grid[1])
    centre = ((at + 0.5) / count for at, count in zip(matched, gallery.grid, strict=True))
    y, x = canvas.in_frame(matched_view, *centre)
    return Match(image=gallery.names[image], x=x, y=y, distance=place.distance, view=matched_view, item=place.item)
