"""What is kept of each good image beside its features."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.geometry.view import LARGEST_SIDE
from spade_edge.runtime.preprocessing.colour import Colour
from spade_edge.runtime.preprocessing.condition import Condition
from spade_edge.runtime.preprocessing.quantities import QUANTITIES


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """A person's decision that an image does not belong to the good ones.

    Attributes:
        reason: why, as the person wrote it.
        set: when, UTC, ISO 8601.
    """

    reason: str
    set: str


WORTH_A_LOOK = 1.0  # of `GoodImage.untypical`


@dataclass(frozen=True, kw_only=True)
class GoodImage:
    """One image that a bundle was built from.

    Attributes:
        name: file name, relative to the folder of the good images.
        group: number of the part that it shows. Images of one part are left out together and count as one part.
        score: its leave-one-out score: the image score against the other parts that are included.
        map_maximum: largest value of its leave-one-out anomaly map; None where maps take long and only some were made.
        untypical: how little it resembles the other images; above 1 it is worth a look.
        remark: why it is untypical, in words; empty if it is not.
        condition: its exposure, contrast, focus and colour, from which the limits are learned.
        size: (height, width) of the image in pixels.
        depth: bits of a number in its file, 8 or 16.
        exclusion: None for an image that frames are matched with. An excluded image stays in the bundle, so that it can
            be included again, but no frame is matched with it and it is no evidence for the threshold.
    """

    name: str
    group: int
    score: float
    map_maximum: float | None
    untypical: float
    remark: str
    condition: Condition
    size: tuple[int, int]
    depth: int
    exclusion: Exclusion | None = None

    @property
    def included(self) -> bool:
        """Whether frames are matched with it."""
        return self.exclusion is None

    @property
    def worth_a_look(self) -> bool:
        """Whether it resembles the other images so little that a person should look at it."""
        return self.untypical > WORTH_A_LOOK

    @property
    def rank(self) -> tuple[float, str]:
        """Sorts images by how little they resemble the others, the least typical first."""
        return -self.untypical, self.name

    def to_json(self) -> dict[str, Any]:
        excluded = None
        if self.exclusion is not None:
            excluded = {"reason": self.exclusion.reason, "set": self.exclusion.set}
        return {
            "name": self.name,
            "group": self.group,
            "score": self.score,
            "map_maximum": self.map_maximum,
            "untypical": self.untypical,
            "remark": self.remark,
            "condition": asdict(self.condition),
            "size": list(self.size),
            "depth": self.depth,
            "excluded": excluded,
        }

    @classmethod
    def from_fields(cls, own: Fields, *, source: str) -> GoodImage:
        height, width = own.integers("size", count=2, least=1, most=LARGEST_SIDE)
        image = cls(
            name=own.text("name"),
            group=own.integer("group"),
            score=own.number("score"),
            map_maximum=own.number_or_none("map_maximum"),
            untypical=own.number("untypical"),
            remark=own.text("remark"),
            condition=_condition(own.object("condition")),
            size=(height, width),
            depth=own.integer("depth", least=8, most=16),
            exclusion=_exclusion(own),
        )
        own.done()
        if not image.name:
            raise BundleError(f"{source}: expected a file name for every good image, found an empty one")
        return image


def _exclusion(own: Fields) -> Exclusion | None:
    excluded = own.object_or_none("excluded")
    if excluded is None:
        return None
    exclusion = Exclusion(reason=excluded.text("reason"), set=excluded.text("set"))
    excluded.done()
    return exclusion


def _condition(own: Fields) -> Condition:
    values = {name: own.number(name) for name in QUANTITIES}
    condition = Condition(**values, colour=Colour.from_fields(own.object("colour")))
    own.done()
    return condition
