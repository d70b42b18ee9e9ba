"""Why cells are matched at their place, or at any place."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from spade_edge.runtime.fields import Fields


@dataclass(frozen=True)
class PlaceChoice:
    """How `Matching.place` was chosen.

    Attributes:
        auto: whether it was chosen from the good images, or else by a person.
        rise: mean distance of good images from the others at one cell around their place, divided by that at any place;
            None where it was not measured.
        most: the largest rise at which cells are matched by place; None where it was not measured.
        images: number of good images that were compared; 0 where it was not measured.
        reason: the choice in words, as information for people.
    """

    auto: bool
    rise: float | None
    most: float | None
    images: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Fields) -> PlaceChoice:
        choice = cls(
            auto=fields.flag("auto"),
            rise=fields.number_or_none("rise"),
            most=fields.number_or_none("most"),
            images=fields.integer("images"),
            reason=fields.text("reason"),
        )
        fields.done()
        return choice
