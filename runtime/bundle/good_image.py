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


@dataclass(frozen=True, kw_only=True)
class Taught:
    """How an image came to the good ones after the bundle was built.

    Attributes:
        selected: whether it was taught in because of its verdict or score, as rejects are. Frames are matched with such
            an image, and can be judged if they look like it; nothing else is learned from it, because it does not stand
            for the frames of the line.
        reason: why, as the person wrote it.
        set: when, UTC, ISO 8601.
    """

    selected: bool
    reason: str
    set: str


WORTH_A_LOOK = 1.0  # of `GoodImage.untypical`


@dataclass(frozen=True, kw_only=True)
class GoodImage:
    """One good image of a bundle.

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
        taught: how it was taught in; None for an image that the bundle was built from.
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
    taught: Taught | None = None

    @property
    def included(self) -> bool:
        """Whether frames are matched with it."""
        return self.exclusion is None

    @property
    def selected(self) -> bool:
        """Whether it was taught in because of its verdict or score."""
        return self.taught is not None and self.taught.selected

    @property
    def counts(self) -> bool:
        """Whether its score is evidence for the threshold."""
        return self.included and not self.selected

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
            "taught": None if self.taught is None else asdict(self.taught),
        }

    @classmethod
    def from_fields(cls, own: Fields, *, source: str, teaching: bool = True) -> GoodImage:
        """Read an entry of `images`; without `teaching`, of a schema that knows no taught images."""
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
            taught=_taught(own) if teaching else None,
        )
        own.done()
        if not image.name:
            raise BundleError(f"{source}: expected a file name for every good image, found an empty one")
        return image


def in_words(taught: Taught) -> str:
    """How an image was taught in, for people."""
    what = "taught in because of its verdict" if taught.selected else "taught in whatever its verdict"
    return f"{what} on {taught.set[:10]}" + (f": {taught.reason}" if taught.reason else "")


def unscored(
    name: str,
    *,
    group: int,
    condition: Condition,
    size: tuple[int, int],
    depth: int,
    exclusion: Exclusion | None = None,
    taught: Taught | None = None,
) -> GoodImage:
    """A good image that nothing has been compared with yet."""
    return GoodImage(
        name=name,
        group=group,
        score=0.0,
        map_maximum=None,
        untypical=0.0,
        remark="",
        condition=condition,
        size=size,
        depth=depth,
        exclusion=exclusion,
        taught=taught,
    )


def _exclusion(own: Fields) -> Exclusion | None:
    excluded = own.object_or_none("excluded")
    if excluded is None:
        return None
    exclusion = Exclusion(reason=excluded.text("reason"), set=excluded.text("set"))
    excluded.done()
    return exclusion


def _taught(own: Fields) -> Taught | None:
    fields = own.object_or_none("taught")
    if fields is None:
        return None
    taught = Taught(selected=fields.flag("selected"), reason=fields.text("reason"), set=fields.text("set"))
    fields.done()
    return taught


def _condition(own: Fields) -> Condition:
    values = {name: own.number(name) for name in QUANTITIES}
    condition = Condition(**values, colour=Colour.from_fields(own.object("colour")))
    own.done()
    return condition
