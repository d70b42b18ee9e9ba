"""What is looked at in a frame, and how much of a change is none.

The score itself hardly notices most of what goes wrong with light, lens or fixture before it is too late: features of a
trained network tolerate it, and the good images vary too. So the condition and the place of a frame are looked at too.
"""

from __future__ import annotations

from dataclasses import dataclass

from spade_edge.runtime.result import FrameResult

LIGHT, PLACE, P = "light", "place", "p"


@dataclass(frozen=True)
class Quantity:
    """One number of a frame.

    Attributes:
        name: in JSON.
        basis: what it is measured against; LIGHT for the frame itself, PLACE for where good parts lie, P for the scores
            of good parts.
        tolerance: a change up to it is none, however certain: a fraction, or a difference.
        relative: whether it is a fraction.
        offset: added before fractions are taken, so that those of small values are not chance.
        noun: its name for people.
    """

    name: str
    basis: str
    tolerance: float
    relative: bool = False
    offset: float = 0.0
    noun: str = ""

    def less(self, value: float) -> float:
        """A value that is lower by the tolerance."""
        return (value + self.offset) / (1 + self.tolerance) - self.offset if self.relative else value - self.tolerance

    def more(self, value: float) -> float:
        """A value that is higher by the tolerance."""
        return (value + self.offset) * (1 + self.tolerance) - self.offset if self.relative else value + self.tolerance


# Shifts are fractions of what the view covers, so that frames of another size have the same.
QUANTITIES = (
    Quantity("brightness", LIGHT, 0.02, relative=True, offset=8.0, noun="brightness"),
    Quantity("contrast", LIGHT, 0.05, relative=True, offset=4.0, noun="contrast"),
    Quantity("focus", LIGHT, 0.05, relative=True, offset=0.02, noun="focus"),
    Quantity("chroma", LIGHT, 0.1, relative=True, offset=4.0, noun="colourfulness"),
    Quantity("red", LIGHT, 0.015, relative=True, noun="red"),
    Quantity("blue", LIGHT, 0.015, relative=True, noun="blue"),
    Quantity("right", PLACE, 0.005),
    Quantity("down", PLACE, 0.005),
    Quantity("angle", PLACE, 0.5),
    Quantity("p", P, 0.0),
)


def measured(result: FrameResult) -> dict[str, float]:
    """The quantities of a frame by name, as far as it has them.

    Args:
        result: of a frame that was judged, good or defect: where parts become defects at once, p of the good ones would
            not show it. The place of a part that was not found is left out.
    """
    values = {"p": result.p} | {
        quantity.name: result.condition[quantity.name]
        for quantity in QUANTITIES
        if quantity.basis == LIGHT and quantity.name in result.condition
    }
    if result.pose is not None:
        _, _, width, height = result.extent
        values |= {
            "right": result.pose.right / width,
            "down": result.pose.down / height,
            "angle": result.pose.angle,
        }
    return values
