"""The quantities by which a frame is compared with the good images, and the words for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

DIFFERENCE, RATIO, SIGNED_RATIO = "difference", "ratio", "signed ratio"
TINY = 1e-6  # 0 has no logarithm
TENFOLD = math.log(10)
NOISE = math.log(1.7)  # focus of white noise: √3, or a little less after resampling
LIGHT = "look at light, lens and camera"
COLOUR = "is the channel order BGR, is it the right camera and product?"
OTHER = "has other colours than the good images"


@dataclass(frozen=True)
class Quantity:
    """How one field of `Condition` is compared and named.

    Attributes:
        noun: its name in messages.
        low, high: what a frame does or is below or above the limits; empty where that is no reason.
        lower, higher: what an odd good image is, compared with the others.
        least: the least margin of the limits; a difference, or the logarithm of a ratio.
        least_above: the least margin at the upper end, if it is another one.
        most: the largest margin.
        scale: values are compared as differences, as ratios, or as ratios on both sides of 0.
        offset: values below it count as small: they do not differ much as ratios.
        nothing: the values of frames without content below and above, as compared; None where there is none.
        remedy: what to do.
        fraction: whether it is a fraction of the pixels.
    """

    noun: str
    low: str
    high: str
    lower: str
    higher: str
    least: float
    least_above: float | None = None
    most: float = math.inf
    scale: str = DIFFERENCE
    offset: float = TINY
    nothing: tuple[float | None, float | None] = (None, None)
    remedy: str = LIGHT
    fraction: bool = False

    def scaled(self, value: float) -> float:
        """A value as it is compared."""
        if self.scale == RATIO:
            return math.log(max(value, 0.0) + self.offset)
        return math.asinh(value / self.offset) if self.scale == SIGNED_RATIO else value

    def value(self, scaled: float) -> float:
        """The value that is compared as `scaled`."""
        if self.scale == RATIO:
            return math.exp(scaled) - self.offset
        return math.sinh(scaled) * self.offset if self.scale == SIGNED_RATIO else scaled

    def complaint(self, what: str, value: float, lowest: float, highest: float) -> str:
        """What is wrong with a frame of this value, expected and found, and what to do."""
        if self.fraction:
            found, good = f"{value:.0%} of its pixels {self.noun}", f"at most {max(highest, 0):.0%}"
        else:
            found, good = f"{self.noun} {value:.3g}", f"{lowest:.3g} to {highest:.3g}"
        return f"the frame {what}: {found}, good images have {good}; {self.remedy}"

    def oddity(self, value: float, low: float, high: float) -> str:
        """In what a good image of this value differs from the others, whose values are `low` to `high`."""
        what = self.lower if value < low else self.higher
        form = ".0%" if self.fraction else ".3g"
        others = f"{low:{form}} to {high:{form}}"
        return f"{what} than the other good images: {self.noun} {value:{form}}, the others have {others}"


# In the order in which a frame is asked.
OPTICS = {
    "brightness": Quantity(
        "brightness", "is too dark", "is too bright", "darker", "brighter", least=12.0, nothing=(0.0, 255.0)
    ),
    "white": Quantity(
        "white",
        "",
        "is overexposed",
        "less exposed",
        "more overexposed",
        least=0.05,
        nothing=(None, 1.0),
        fraction=True,
    ),
    "black": Quantity(
        "black",
        "",
        "is underexposed",
        "less black",
        "more underexposed",
        least=0.05,
        nothing=(None, 1.0),
        fraction=True,
    ),
    "contrast": Quantity(
        "contrast",
        "is without contrast",
        "",
        "lower in contrast",
        "higher in contrast",
        least=math.log(3),
        scale=RATIO,
        most=TENFOLD,
    ),
    "focus": Quantity(
        "focus", "is blurred", "", "less sharp", "sharper or noisier", least=math.log(1.4), scale=RATIO, most=TENFOLD
    ),
}
COLOURS = {
    # A coloured defect on a grey part adds much chroma.
    "chroma": Quantity(
        "chroma",
        OTHER,
        OTHER,
        "less colourful",
        "more colourful",
        least=math.log(2.5),
        least_above=math.log(4),
        scale=RATIO,
        most=TENFOLD,
        offset=1.0,
        remedy=COLOUR,
    ),
    "red": Quantity(
        "red over green",
        OTHER,
        OTHER,
        "less red",
        "redder",
        least=math.log(1.15),
        scale=RATIO,
        most=TENFOLD,
        remedy=COLOUR,
    ),
    "blue": Quantity(
        "blue over green",
        OTHER,
        OTHER,
        "less blue",
        "bluer",
        least=math.log(1.15),
        scale=RATIO,
        most=TENFOLD,
        remedy=COLOUR,
    ),
    "warmth": Quantity(
        "warmth",
        OTHER,
        OTHER,
        "bluer in its bright parts",
        "redder in its bright parts",
        least=1.25,
        most=1.25,
        scale=SIGNED_RATIO,
        offset=0.06,
        remedy=COLOUR,
    ),
}
FRAME = OPTICS | COLOURS
# Of the views of a frame, asked only if the frame scores as good.
VIEWS = {
    "darkest": Quantity(
        "brightness of a view",
        "is too dark in a part",
        "",
        "darker in a part",
        "less dark in its darkest part",
        least=12.0,
        nothing=(0.0, 255.0),
    ),
    "brightest": Quantity(
        "brightness of a view",
        "",
        "is too bright in a part",
        "less bright in its brightest part",
        "brighter in a part",
        least=12.0,
        nothing=(0.0, 255.0),
    ),
    "plainest": Quantity(
        "contrast of a view",
        "is without contrast in a part",
        "",
        "plainer in a part",
        "richer in its plainest part",
        least=math.log(3),
        scale=RATIO,
        most=TENFOLD,
    ),
    "softest": Quantity(
        "focus of a view",
        "is blurred in a part",
        "",
        "less sharp in a part",
        "sharper in its softest part",
        least=math.log(1.4),
        scale=RATIO,
        most=TENFOLD,
    ),
    "harshest": Quantity(
        "focus of a view",
        "",
        "looks like noise",
        "less sharp in its sharpest part",
        "sharper or noisier in a part",
        least=math.log(1.4),
        scale=RATIO,
        most=TENFOLD,
        nothing=(None, NOISE),
    ),
}
QUANTITIES = FRAME | VIEWS
