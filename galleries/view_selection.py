"""Choosing the parts of a frame that become views: the whole frame, regions of interest, or tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import read_mask
from spade_edge.runtime import DataError, UsageError
from spade_edge.runtime.geometry.layout import MOST_VIEWS, WHOLE, Box, Layout
from spade_edge.runtime.geometry.view import View

SMALLEST = 16  # pixels of a tile's side
OVERLAP = 8  # by default, tiles overlap by this fraction (1/8) of their shorter side
SQUEEZED = 2.0  # largest ratio of the scales along both axes: beyond, textures look different in each direction
SHRUNK = 5.0  # frame pixels per view pixel, beyond which small defects are averaged away
TILED = 2.0  # frame pixels per view pixel that tiles aim at


@dataclass(frozen=True)
class Views:
    """The parts of a frame that are inspected. The default is one view of the whole frame, of any size.

    Attributes:
        tile: (height, width) of tiles in frame pixels; None for no tiles.
        overlap: pixels that adjacent tiles share at least; None for an eighth of a tile's shorter side.
        regions: (x, y, width, height) in frame pixels; each becomes a view or is covered with tiles. Empty for the
            whole frame.
        mask: an image of the size of the frames, whose pixels of value 0 are ignored; None for no mask. Without
            regions, the bounding box of the other pixels is the region.
        auto: choose tiles or one view by the size of the frames, as `propose` does.

    Raises:
        UsageError: tiles that are too small, or an overlap that does not fit them.
    """

    tile: tuple[int, int] | None = None
    overlap: int | None = None
    regions: tuple[Box, ...] = ()
    mask: Path | None = None
    auto: bool = False

    def __post_init__(self) -> None:
        if self.overlap is not None and self.tile is None and not self.auto:
            raise UsageError("expected an overlap with tiles only, found one without; give a tile's size as --views")
        if self.tile is not None:
            if min(self.tile) < SMALLEST:
                raise UsageError(
                    f"expected tiles of {SMALLEST} pixels a side or more, found {self.tile[1]}x{self.tile[0]}"
                )
            self._overlap(self.tile)

    def layout(self, frame_size: tuple[int, int], view: View, mask: NDArray[np.bool_] | None) -> Layout:
        """The layout of the views.

        Args:
            frame_size: (height, width) of all frames.
            view: of the model.
            mask: (H, W) bool, false for ignored pixels.

        Raises:
            UsageError: a region lies outside the frame, the mask ignores everything, or there are too many views.
        """
        if self.regions:
            Layout(frame=frame_size, boxes=self.regions)  # checks the regions before they are covered with tiles
        boxes: list[Box] = []
        for place in self.places(frame_size, mask):
            tile = propose((place[3], place[2]), view).tile if self.auto else self.tile
            boxes += [place] if tile is None else tiles(place, tile, self._overlap(tile))
        if not self.regions and mask is None and len(boxes) == 1 and boxes[0][2:] == frame_size[::-1]:
            return WHOLE
        if mask is not None:
            boxes = [(x, y, w, h) for x, y, w, h in boxes if mask[y : y + h, x : x + w].any()]
            if not boxes:
                raise UsageError("expected a mask that leaves part of the regions, found one that ignores them all")
        return Layout(frame=frame_size, boxes=tuple(dict.fromkeys(boxes)), masked=mask is not None)

    def _overlap(self, tile: tuple[int, int]) -> int:
        shorter = min(tile)
        if self.overlap is None:
            return shorter // OVERLAP
        if not 0 <= self.overlap <= shorter // 2:
            raise UsageError(
                f"expected an overlap of 0 to {shorter // 2} pixels, half of the shorter side of a tile of "
                f"{tile[1]}x{tile[0]}, found {self.overlap}"
            )
        return self.overlap

    def places(self, frame_size: tuple[int, int], mask: NDArray[np.bool_] | None) -> tuple[Box, ...]:
        """The regions: as given, else the bounding box of the mask, else the whole frame."""
        if self.regions:
            return self.regions
        return ((0, 0, frame_size[1], frame_size[0]) if mask is None else _box_around(mask),)


@dataclass(frozen=True)
class Proposal:
    """The proposed views for frames of a size.

    Attributes:
        tile: (height, width) of tiles in frame pixels; None for one view.
        why: the reason, a phrase.
    """

    tile: tuple[int, int] | None
    why: str


def propose(size: tuple[int, int], view: View) -> Proposal:
    """Choose between one view and tiles for a frame or region of (height, width), by how much it would shrink."""
    down, across = (pixels / seen for pixels, seen in zip(size, view.size, strict=True))
    if view.cropped:
        return Proposal(None, "the model crops its input, so it cannot be used with tiles")
    one_view = f"in one view of {view.size[1]}x{view.size[0]}"
    shrinks = f"{one_view}, {size[1]}x{size[0]} pixels shrink {max(down, across):.1f} times"
    squeeze = max(down, across) / min(down, across)
    if squeeze <= SQUEEZED and max(down, across) <= SHRUNK:
        return Proposal(None, shrinks)
    if max(down, across) <= 1:
        return Proposal(None, f"{one_view}, all {size[1]}x{size[0]} pixels fit without shrinking")
    if squeeze > SQUEEZED:
        one, other = ("width", "height") if across > down else ("height", "width")
        shrinks += f", the {one} {squeeze:.1f} times as much as the {other}"
    scale = min(max(min(down, across), 1.0), TILED)  # tiles span the height of a strip if it shrinks little enough
    tile = _tile(size, view, scale)
    while _count(size, tile) > MOST_VIEWS and (larger := _tile(size, view, 1.25 * scale)) != tile:
        scale, tile = 1.25 * scale, larger
    if min(tile) < SMALLEST or _count(size, tile) > MOST_VIEWS:
        return Proposal(None, f"{shrinks}, but no grid of tiles fits a strip this narrow")
    scale = max(pixels / seen for pixels, seen in zip(tile, view.size, strict=True))
    return Proposal(tile, f"{shrinks}; in tiles of {tile[1]}x{tile[0]} {scale:.1f} times")


def _tile(size: tuple[int, int], view: View, scale: float) -> tuple[int, int]:
    """A tile that shrinks by `scale`, but is no larger than the region and is not squeezed."""
    shrinks = [min(scale, pixels / seen) for pixels, seen in zip(size, view.size, strict=True)]
    most = SQUEEZED * min(shrinks)
    height, width = (max(1, int(min(shrink, most) * seen)) for shrink, seen in zip(shrinks, view.size, strict=True))
    return height, width


def _count(size: tuple[int, int], tile: tuple[int, int]) -> int:
    try:
        return len(tiles((0, 0, size[1], size[0]), tile, min(tile) // OVERLAP))
    except UsageError:
        return MOST_VIEWS + 1


def tiles(region: Box, tile: tuple[int, int], overlap: int) -> tuple[Box, ...]:
    """Cover a region, (x, y, width, height), with evenly spaced tiles of (height, width), row by row.

    Adjacent tiles share at least `overlap` pixels. Along an axis where the region is shorter than a tile, the tile is
    as long as the region.
    """
    x, y, width, height = region
    high, wide = min(tile[0], height), min(tile[1], width)
    return tuple(
        (x + left, y + top, wide, high)
        for top in _starts(height, high, overlap)
        for left in _starts(width, wide, overlap)
    )


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    count = 1 + math.ceil((length - tile) / max(1, tile - overlap))
    if count > MOST_VIEWS:
        raise UsageError(f"expected at most {MOST_VIEWS} views of a frame, found more; choose larger tiles")
    return [round(start) for start in np.linspace(0, length - tile, count).tolist()]


def mask_of_frames(path: Path, frame_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a mask as `read_mask` does: (H, W) bool, false where frames are ignored.

    Raises:
        DataError: the file cannot be read, or its size is not that of the frames.
        UsageError: the mask ignores everything.
    """
    mask = read_mask(path)
    if mask.shape != frame_size:
        raise DataError(
            f"{path}: expected a mask of the frames' size, {frame_size[1]}x{frame_size[0]} pixels, "
            f"found {mask.shape[1]}x{mask.shape[0]}; draw it on a frame as it is shown"
        )
    if not mask.any():
        raise UsageError(
            f"{path}: expected a mask with pixels over 0, which are inspected, found none; draw these in white"
        )
    return mask


def _box_around(mask: NDArray[np.bool_]) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top
