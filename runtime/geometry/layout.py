"""The parts of a frame that are inspected, and where their anomaly map lies on the frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import FrameError, UsageError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.geometry.view import LARGEST_SIDE, View

Box = tuple[int, int, int, int]  # x, y, width, height

MOST_VIEWS = 1024
LARGEST_MAP = 64 << 20  # pixels


@dataclass(frozen=True)
class Layout:
    """How a frame is divided into views: one view of the whole frame, or one view per box.

    Tiles and regions of interest are both boxes. They may overlap.

    Attributes:
        frame: (height, width) that frames must have, as boxes are fixed in pixels; None for one view of the whole
            frame, which may have any size.
        boxes: (x, y, width, height) in pixels of the frame; empty for one view of the whole frame.
        masked: whether a mask excludes pixels inside the boxes.
    """

    frame: tuple[int, int] | None = None
    boxes: tuple[Box, ...] = ()
    masked: bool = False

    def __post_init__(self) -> None:
        if self.frame is None:
            if self.boxes or self.masked:
                raise UsageError("expected no boxes and no mask where a frame may have any size, found some")
            return
        height, width = self.frame
        if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
            raise UsageError(f"expected frames of 1 to {LARGEST_SIDE} pixels a side, found {width}x{height}")
        if not 1 <= len(self.boxes) <= MOST_VIEWS:
            raise UsageError(
                f"expected 1 to {MOST_VIEWS} views of a frame, found {len(self.boxes)}; choose larger tiles or regions"
            )
        for x, y, wide, high in self.boxes:
            if x < 0 or y < 0 or wide < 1 or high < 1 or x + wide > width or y + high > height:
                raise UsageError(
                    f"expected regions inside the frame of {width}x{height} pixels, found {wide}x{high} at ({x}, {y})"
                )
        if len(set(self.boxes)) != len(self.boxes):
            raise UsageError("expected every region once, found one twice")

    def __len__(self) -> int:
        """Number of views of a frame."""
        return max(1, len(self.boxes))

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse a frame whose size differs from that of the good images, if the layout has boxes.

        Raises:
            FrameError: the boxes were chosen for frames of another size.
        """
        if self.frame is not None and shape[:2] != self.frame:
            raise FrameError(
                f"expected frames of {self.frame[1]}x{self.frame[0]} pixels, as regions, tiles and masks are fixed in "
                f"pixels, found {shape[1]}x{shape[0]}; restore the camera's setting or build a bundle for this size"
            )

    def to_json(self) -> dict[str, Any]:
        return {
            "frame": None if self.frame is None else list(self.frame),
            "boxes": [list(box) for box in self.boxes],
            "masked": self.masked,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Layout:
        frame = fields.integers_or_none("frame", count=2, most=LARGEST_SIDE)
        boxes = fields.rows("boxes", count=4, most=LARGEST_SIDE)
        masked = fields.flag("masked")
        fields.done()
        return cls(
            frame=None if frame is None else (frame[0], frame[1]),
            boxes=tuple((x, y, width, height) for x, y, width, height in boxes),
            masked=masked,
        )


WHOLE = Layout()


@dataclass(frozen=True)
class Canvas:
    """Places the views and the anomaly map on the frame.

    The map covers all views at the resolution of the finest one. With one view it has that view's resolution; with
    several it is never finer than the frame's own pixels.

    Attributes:
        layout: the views.
        view: how a part of a frame becomes the network's input.

    Raises:
        UsageError: the model crops its input although there are boxes, or the map would be too large.
    """

    layout: Layout
    view: View

    def __post_init__(self) -> None:
        if self.layout.boxes and self.view.cropped:
            raise UsageError(
                "expected a model that sees all of a region or tile, found one that crops it; "
                "export it with --input instead of --resize and --crop"
            )
        height, width = self.size
        if height * width > LARGEST_MAP:
            raise UsageError(
                f"expected an anomaly map of at most {LARGEST_MAP >> 20} million pixels, found {width}x{height}; "
                "choose larger tiles or regions closer together"
            )

    @property
    def reference(self) -> tuple[int, int]:
        """Size of the frame, (height, width), in whose pixels `boxes` are given: the camera's, or the resampled one."""
        return self.layout.frame or self.view.resize

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Where each view lies in the reference frame. A view of the whole frame lies in the resampled frame."""
        top, left = self.view.offset
        return self.layout.boxes or ((left, top, self.view.size[1], self.view.size[0]),)

    @cached_property
    def field(self) -> Box:
        """The smallest box around all views, which the map covers."""
        lefts, tops, widths, heights = np.array(self.boxes).T
        left, top = int(lefts.min()), int(tops.min())
        return left, top, int((lefts + widths).max()) - left, int((tops + heights).max()) - top

    @cached_property
    def size(self) -> tuple[int, int]:
        """Size of the map in pixels, (height, width)."""
        sides = []
        for axis in (0, 1):
            finest = max(Fraction(self.view.size[axis], box[3 - axis]) for box in self.boxes)
            scale = finest if len(self.boxes) == 1 else min(finest, Fraction(1))
            sides.append(max(1, round(self.field[3 - axis] * scale)))
        return sides[0], sides[1]

    def extent(self, frame_size: tuple[int, int]) -> tuple[float, float, float, float]:
        """The area that the map covers on a frame of (height, width): x, y, width, height in pixels of the frame."""
        x, y, width, height = self.field
        down, across = (have / want for have, want in zip(frame_size, self.reference, strict=True))
        return x * across, y * down, width * across, height * down

    def pixel_area(self, frame_size: tuple[int, int]) -> float:
        """How many pixels of a frame of (height, width) one pixel of the map covers."""
        *_, width, height = self.extent(frame_size)
        return width * height / (self.size[0] * self.size[1])

    def box_in_frame(self, box: Box, frame_size: tuple[int, int]) -> Box:
        """Convert a box of the map to pixels of the frame; it includes every pixel that it touches.

        Args:
            box: (x, y, width, height) in pixels of the map.
            frame_size: (height, width) of the frame.
        """
        x, y, width, height = box
        top, bottom = self._span(y, height, axis=0, source=frame_size[0])
        left, right = self._span(x, width, axis=1, source=frame_size[1])
        return left, top, right - left, bottom - top

    def _span(self, start: int, length: int, *, axis: int, source: int) -> tuple[int, int]:
        begin, pixels = self.field[1 - axis], self.size[axis]
        step = Fraction(self.field[3 - axis], pixels)
        scale = Fraction(source, self.reference[axis])
        first = math.floor((begin + start * step) * scale)
        last = math.ceil((begin + (start + length) * step) * scale)
        return first, max(first + 1, last)

    def centre_of(self, pixel: tuple[int, int]) -> tuple[float, float]:
        """Where the centre of a pixel of the map, (row, column), lies on the frame: (row, column) as fractions."""
        row, column = (
            (self.field[1 - axis] + (pixel[axis] + 0.5) * self.field[3 - axis] / self.size[axis]) / self.reference[axis]
            for axis in (0, 1)
        )
        return row, column

    def view_of(self, row: float, column: float) -> int:
        """The view whose centre is nearest, relative to its size, to a place of the frame given as fractions."""
        off = [max(abs(part - 0.5) for part in self.in_view(number, row, column)) for number in range(len(self.boxes))]
        return off.index(min(off))

    def in_frame(self, number: int, row: float, column: float) -> tuple[float, float]:
        """Convert a place in a view to the frame: (row, column), both as fractions from 0 to 1."""
        x, y, width, height = self.boxes[number]
        return (y + row * height) / self.reference[0], (x + column * width) / self.reference[1]

    def in_view(self, number: int, row: float, column: float) -> tuple[float, float]:
        """Undo `in_frame`."""
        x, y, width, height = self.boxes[number]
        return (row * self.reference[0] - y) / height, (column * self.reference[1] - x) / width

    def centres(self, axis: int) -> NDArray[np.float64]:
        """Centres of the map's pixels along an axis, in pixels of the reference frame."""
        begin, length = self.field[1 - axis], self.field[3 - axis]
        return np.asarray(begin + (np.arange(self.size[axis]) + 0.5) * (length / self.size[axis]), np.float64)
