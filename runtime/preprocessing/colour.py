"""The colours of a frame: whether it has any, and whether red and blue are where they belong.

A camera or program that swaps red and blue gives a picture that looks almost right. The good images show which of the
two orders is theirs: swapping reverses the sign of red minus blue everywhere, and the spread of the good images tells
how far a frame can differ from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.fields import Fields

GREY = 0.1  # saturation below which a picture is grey; a grey one stored in three channels has 0
COLOURED = 0.5  # saturation from which a picture has colours for certain
BANDS = 6  # of brightness, with the same number of pixels each
MOST = 4096  # pixels, evenly spaced, are enough for the bands
DIM = 4.0  # grey levels added before ratios are taken, so that a dark picture has colours too

DRIFT = 0.02  # standard deviation of redness from one day to the next, the same in all bands: the white balance
FLOOR = 0.003  # standard deviation of redness in a single band that is always possible
SHRUNK = 0.2  # how far covariances are shrunk towards 0, as they come from few images
FEWER = 20.0  # images; as few as these have a variance that is too small by so much that it is doubled
SURE = 4.0  # standard deviations between the good images and the middle between them and their swapped copies


@dataclass(frozen=True)
class Colour:
    """What is measured of a frame.

    Attributes:
        saturation: mean difference between the largest and the smallest channel of a pixel, in grey levels.
        redness: how much redder than blue the frame is where it is darkest, less dark, and so on to where it is
            brightest: of each sixth of the pixels, the median of red minus blue over their mean grey level.
    """

    saturation: float
    redness: tuple[float, ...]

    @classmethod
    def of(cls, pixels: NDArray[np.float32]) -> Colour:
        """Measure pixels, (N, 3) float32 BGR, 0 to 255."""
        kept = pixels[:: max(1, len(pixels) // MOST)]
        if not len(kept):
            return NO_COLOUR
        blue, green, red = np.ascontiguousarray(kept.T)
        grey = (blue + green + red) / 3
        spread = np.maximum(np.maximum(blue, green), red) - np.minimum(np.minimum(blue, green), red)
        order = np.argsort(grey, kind="stable")
        difference, grey = (red - blue)[order], grey[order]
        ends = [len(kept) * band // BANDS for band in range(BANDS + 1)]
        redness = []
        for start, end in pairwise(ends):
            band = slice(start, max(end, start + 1))  # fewer pixels than bands: one pixel may be in several
            redness.append(_median(difference[band]) / (float(grey[band].mean()) + DIM))
        return cls(saturation=float(spread.mean()), redness=tuple(redness))

    @property
    def grey(self) -> bool:
        """Whether the picture is grey, in however many channels it is stored."""
        return self.saturation < GREY

    @property
    def coloured(self) -> bool:
        """Whether the picture has colours for certain."""
        return self.saturation >= COLOURED

    @classmethod
    def from_fields(cls, own: Fields) -> Colour:
        colour = cls(saturation=own.number("saturation"), redness=own.numbers("redness", count=BANDS))
        own.done()
        return colour


def _median(values: NDArray[np.float32]) -> float:
    """As `np.median`, in a fifth of its time where the values are few."""
    ordered = np.sort(values)
    return (float(ordered[(len(ordered) - 1) // 2]) + float(ordered[len(ordered) // 2])) / 2


NO_COLOUR = Colour(saturation=0.0, redness=(0.0,) * BANDS)


@dataclass(frozen=True)
class ChannelOrder:
    """Tells a frame of the good images' channel order from one whose red and blue are swapped.

    Attributes:
        weights: of each band's redness. Their sum of products is 1 on average of the good images, and -1 of their
            swapped copies (linear discriminant analysis).
    """

    weights: tuple[float, ...]

    @classmethod
    def learned(cls, colours: Sequence[Colour]) -> ChannelOrder | None:
        """From the good images; None if their colours do not tell the order for certain."""
        if len(colours) < 2:
            return None
        redness = np.array([colour.redness for colour in colours])
        mean = redness.mean(axis=0)
        found = np.cov(redness.T)
        found += SHRUNK * (np.diag(np.diag(found)) - found) + FLOOR**2 * np.eye(BANDS)
        covariance = (1 + FEWER / len(colours)) * found + DRIFT**2
        direction = np.linalg.solve(covariance, mean)
        distance = float(direction @ mean)
        if distance < SURE**2:
            return None
        weights = direction / distance
        if float((redness @ weights).min()) <= 0:  # a good image that is nearer to the swapped ones
            return None
        return cls(weights=tuple(map(float, weights)))

    def swapped(self, colour: Colour) -> bool:
        """Whether a frame is nearer to the swapped copies of the good images than to the good images."""
        return sum(weight * value for weight, value in zip(self.weights, colour.redness, strict=True)) < 0
