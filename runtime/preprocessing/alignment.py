"""Where good parts lie, and what is done with a frame whose part lies elsewhere.

A part that lies where good parts lie is seen as it is: the frame passes unchanged. One that lies a little farther away
is brought back. One that lies too far away cannot be judged, as too much of it may be out of sight. A frame in which
the part cannot be found for certain passes unchanged too: what is wrong with it is for the score to say.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.geometry.motion import Motion
from spade_edge.runtime.result import Pose

Ends = tuple[float, float]
Extent = tuple[float, float, float, float]  # x, y, width, height of what a view covers, in pixels of the frame
SMALLEST_ASPECT, LARGEST_ASPECT = 1e-3, 1e3


@dataclass(frozen=True)
class Alignment:
    """Where good parts lie, and how far a part may lie from there.

    Shifts are fractions of the view's width (to the right) and height (down), angles are degrees, clockwise.

    Attributes:
        right, down, angle: lowest and highest value of good parts. Frames in this range pass unchanged.
        most_shift, most_angle: how far a part may lie from the middle of the good parts to be brought back.
        turns: whether turns are measured. They are not where good parts are round, or lie at any angle.
        aspect: width over height of what a view covers, in pixels of the frame.
        likeness: the lowest correlation with the mean of the good parts at which a part counts as found.
        lead: by how much this correlation must be higher than at any other place.
    """

    right: Ends
    down: Ends
    angle: Ends
    most_shift: float
    most_angle: float
    turns: bool
    aspect: float
    likeness: float
    lead: float

    def usual(self, motion: Motion) -> bool:
        """Whether a part lies where good parts lie."""
        ranges = ((motion.right, self.right), (motion.down, self.down), (motion.angle, self.angle))
        return all(low <= value <= high for value, (low, high) in ranges)

    def reachable(self, motion: Motion) -> bool:
        """Whether a part that lies elsewhere can be brought back."""
        return max(abs(motion.right), abs(motion.down)) <= self.most_shift and abs(motion.angle) <= self.most_angle

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_fields(cls, own: Fields, *, source: str) -> Alignment:
        ranges: dict[str, Ends] = {}
        for name in ("right", "down", "angle"):
            low, high = own.numbers(name, count=2)
            if low > high:
                raise BundleError(f"{source}: expected a lowest and a highest {name}, found {[low, high]}")
            ranges[name] = (low, high)
        alignment = cls(
            right=ranges["right"],
            down=ranges["down"],
            angle=ranges["angle"],
            most_shift=own.number("most_shift"),
            most_angle=own.number("most_angle"),
            turns=own.flag("turns"),
            aspect=own.number("aspect"),
            likeness=own.number("likeness"),
            lead=own.number("lead"),
        )
        own.done()
        if not (0 <= alignment.most_shift <= 1 and 0 <= alignment.most_angle <= 180):
            raise BundleError(
                f"{source}: expected a most_shift from 0 to 1 and a most_angle from 0 to 180, "
                f"found {alignment.most_shift:g} and {alignment.most_angle:g}"
            )
        if not SMALLEST_ASPECT <= alignment.aspect <= LARGEST_ASPECT:
            raise BundleError(
                f"{source}: expected an aspect from {SMALLEST_ASPECT:g} to {LARGEST_ASPECT:g}, "
                f"found {alignment.aspect:g}"
            )
        return alignment


def complaint(pose: Pose, alignment: Alignment, extent: Extent) -> str:
    """Why a part that lies too far away cannot be judged: where it lies, and how far away it may lie.

    Args:
        pose: where it lies.
        alignment: how far away it may lie.
        extent: what the view covers.
    """
    across, along = (alignment.most_shift * length for length in extent[2:])
    shifts, found = [], []
    if abs(pose.right) > across:
        shifts.append(f"{abs(pose.right):.0f} px to the {'right' if pose.right > 0 else 'left'} of")
    if abs(pose.down) > along:
        shifts.append(f"{abs(pose.down):.0f} px {'below' if pose.down > 0 else 'above'}")
    if shifts:
        found.append(f"lies {' and '.join(shifts)} where good parts lie")
    if abs(pose.angle) > alignment.most_angle:
        found.append(f"is turned {'' if pose.angle > 0 else 'counter'}clockwise by {abs(pose.angle):.0f} degrees")
    return f"the part {' and '.join(found)}; frames are aligned {reach(alignment, extent)}"


def reach(alignment: Alignment, extent: Extent) -> str:
    """How far away a part may lie to be brought back, in words."""
    across, along = (f"{alignment.most_shift * length:.0f}" for length in extent[2:])
    shift = f"up to {across} px" if across == along else f"up to {across} px across and {along} px down"
    return f"{shift} and {alignment.most_angle:.0f} degrees" if alignment.turns else shift


def summary(alignment: Alignment, extent: Extent) -> str:
    """Where good parts lie, and how far away a part may lie to be brought back, in words."""
    _, _, width, height = extent
    pixels = max(*(abs(end) * width for end in alignment.right), *(abs(end) * height for end in alignment.down))
    angle = f" and {max(map(abs, alignment.angle)):.1f} degrees" if alignment.turns else ""
    return f"parts lie within {pixels:.0f} px{angle}; frames are aligned {reach(alignment, extent)}"
