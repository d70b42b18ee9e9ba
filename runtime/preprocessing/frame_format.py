"""What the good images have in common beside what they show: grey or colour, channel order, depth, size.

A frame that differs in one of these comes from another camera, or from one that is set up differently. Its score says
little, so it is refused rather than judged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.geometry.view import LARGEST_SIDE
from spade_edge.runtime.preprocessing.colour import BANDS, ChannelOrder, Colour

GREY, COLOUR, BOTH = "grey", "colour", "both"
ASPECT = 1.05  # a frame may be so much wider or higher than any good image; more if they differ more among each other
DETAIL = 1.5  # and so much finer or coarser, as the network sees it

Size = tuple[int, int]  # (height, width) in pixels


@dataclass(frozen=True)
class FrameFormat:
    """What the good images have in common.

    Attributes:
        colour: "grey" or "colour", by what they show and not by the number of channels; "both" if they differ.
        order: tells swapped red and blue; None if the good images have too little colour for it.
        depth: bits of a number in their files, 8 or 16; None if they differ.
        bits: that the camera used of 16; None for all 16, or if no file had 16.
        smallest, largest: (height, width), the smallest and the largest of each.
        aspect: lowest and highest width over height.
    """

    colour: str
    order: ChannelOrder | None
    depth: int | None
    bits: int | None
    smallest: Size
    largest: Size
    aspect: tuple[float, float]

    @classmethod
    def of(
        cls,
        *,
        sizes: Sequence[Size],
        depths: Sequence[int],
        colours: Sequence[Colour],
        usual: Sequence[Colour],
        bits: int | None,
    ) -> FrameFormat:
        """The format of good images.

        Args:
            sizes: (height, width) of each image.
            depths: of each image's file, 8 or 16.
            colours: of each image.
            usual: those of them that are not odd; the channel order is learned from them.
            bits: that the camera uses of 16; None for all.
        """
        aspects = [width / height for height, width in sizes]
        heights, widths = zip(*sizes, strict=True)
        grey = [colour.grey for colour in colours]
        return cls(
            colour=GREY if all(grey) else BOTH if any(grey) else COLOUR,
            order=ChannelOrder.learned(usual),
            depth=depths[0] if len(set(depths)) == 1 else None,
            bits=bits,
            smallest=(min(heights), min(widths)),
            largest=(max(heights), max(widths)),
            aspect=(min(aspects), max(aspects)),
        )

    def other_colour(self, colour: Colour) -> str:
        """Why a frame of these colours cannot be judged, whatever its score; empty if it can."""
        if colour.grey and self.colour == COLOUR:
            what = "it is grey, they are in colour; is the camera set to a grey pixel format"
        elif colour.coloured and self.colour == GREY:
            what = "it is in colour, they are grey; is the camera set to a colour pixel format"
        elif self.order is not None and self.order.swapped(colour):
            what = "its red and blue seem to be swapped"
        else:
            return ""
        return (
            f"the frame has other colours than the good images: {what}; "
            "is the channel order BGR, is it the right camera and product?"
        )

    def other_size(self, size: Size, seen: Size) -> str:
        """Why a frame of this size cannot be judged, whatever its score; empty if it can.

        Args:
            size: (height, width) of the frame.
            seen: (height, width) to which a frame is resampled for the network.
        """
        return self._other_shape(size) or self._other_detail(size, seen)

    def _other_shape(self, size: Size) -> str:
        ratio, (lowest, highest) = size[1] / size[0], self.aspect
        margin = max(ASPECT, highest / lowest)
        if lowest / margin <= ratio <= highest * margin:
            return ""
        return (
            f"the frame has another shape than the good images: {_named(size)}, its width is {ratio:.3g} times its "
            f"height, theirs {_range(lowest, highest)} times; {_REMEDY}"
        )

    def _other_detail(self, size: Size, seen: Size) -> str:
        for axis, view in enumerate(seen):
            # Beyond the size of the view, the network sees no more detail.
            side, least, most = (min(pixels[axis], view) for pixels in (size, self.smallest, self.largest))
            what = "smaller" if side * DETAIL < least else "larger" if side > most * DETAIL else ""
            if what:
                return (
                    f"the frame is much {what} than the good images, so that its detail is another: {_named(size)}, "
                    f"they have {self.sizes}; {_REMEDY}"
                )
        return ""

    @property
    def sizes(self) -> str:
        """The sizes of the good images, in words."""
        if self.smallest == self.largest:
            return _named(self.smallest)
        return f"{self.smallest[1]}x{self.smallest[0]} to {_named(self.largest)}"

    def hint(self, size: Size) -> str:
        """What to tell of a frame whose size differs from those of the good images, although it can be judged."""
        inside = all(low <= side <= high for side, low, high in zip(size, self.smallest, self.largest, strict=True))
        if inside:
            return ""
        return (
            f"frames of {_named(size)}, good images of {self.sizes}: both are resampled to the same view; "
            "build a bundle from frames of this size if they show another part of the scene"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "colour": self.colour,
            "order": None if self.order is None else list(self.order.weights),
            "depth": self.depth,
            "bits": self.bits,
            "smallest": list(self.smallest),
            "largest": list(self.largest),
            "aspect": list(self.aspect),
        }

    @classmethod
    def from_fields(cls, own: Fields, *, source: str) -> FrameFormat:
        """Read what `to_json` wrote; `source` is what messages call it.

        Raises:
            BundleError: a field is missing, unknown or of another kind.
        """
        colour = own.text("colour", among=(GREY, COLOUR, BOTH))
        weights = own.numbers_or_none("order", count=BANDS)
        depth, bits = own.integer_or_none("depth"), own.integer_or_none("bits")
        smallest, largest = (
            own.integers(name, count=2, least=1, most=LARGEST_SIDE) for name in ("smallest", "largest")
        )
        aspect = own.numbers("aspect")
        own.done()
        if depth not in (None, 8, 16) or (bits is not None and not 8 <= bits <= 16):
            raise BundleError(f"{source}: expected a depth of 8 or 16 and 8 to 16 bits, found {depth} and {bits}")
        if len(aspect) != 2 or not 0 < aspect[0] <= aspect[1]:
            raise BundleError(f"{source}: expected a lowest and a highest aspect, found {list(aspect)}")
        return cls(
            colour=colour,
            order=None if weights is None else ChannelOrder(weights=weights),
            depth=depth,
            bits=bits,
            smallest=(smallest[0], smallest[1]),
            largest=(largest[0], largest[1]),
            aspect=(aspect[0], aspect[1]),
        )


_REMEDY = "restore the camera's setting, or build a bundle for this size"


def _named(size: Size) -> str:
    return f"{size[1]}x{size[0]} pixels"


def _range(low: float, high: float) -> str:
    return f"{low:.3g}" if math.isclose(low, high, rel_tol=5e-3) else f"{low:.3g} to {high:.3g}"
