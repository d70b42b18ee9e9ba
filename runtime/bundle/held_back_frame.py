"""What is kept of a good frame that was held back from the gallery."""

from __future__ import annotations

from dataclasses import dataclass

from spade_edge.runtime.fields import Fields


@dataclass(frozen=True, kw_only=True)
class HeldBackFrame:
    """A good frame of a part that is not in the gallery, scored to check or to set the threshold.

    Attributes:
        name: of the frame.
        group: number of the part that it shows, counted among the frames.
        score: its image score.
        map_maximum: largest value of its anomaly map.
    """

    name: str
    group: int
    score: float
    map_maximum: float

    @classmethod
    def from_fields(cls, own: Fields) -> HeldBackFrame:
        frame = cls(
            name=own.text("name"),
            group=own.integer("group"),
            score=own.number("score"),
            map_maximum=own.number("map_maximum"),
        )
        own.done()
        return frame
