"""The threshold of the verdict, and its false-reject rate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from spade_edge.runtime.bundle.evidence import BOTH, FRAMES, IMAGES, SOURCES
from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.result import DEFECT, GOOD

CERTIFIED, EXTRAPOLATED, MANUAL = "certified", "extrapolated", "manual"
LOWEST_RATE = 1e-6  # no number of images says anything about a lower one
FEW = 20  # parts; with fewer, the rate itself is hardly known
_OF_SOURCE = {
    IMAGES: "different parts",
    FRAMES: "different parts in held-back frames",
    BOTH: "different parts in good images and held-back frames",
}


@dataclass(frozen=True)
class Threshold:
    """The score above which a frame is a defect, and where this limit comes from.

    Attributes:
        score: the largest image score that is still good.
        pixel: the largest value of the anomaly map that is still good; regions are drawn above it.
        area: smallest area of a reported region, in pixels of the frame; 0 for any.
        rate: fraction of good frames that are rejected: an upper limit if certified, an estimate if extrapolated, and
            counted in the evidence if the threshold was set manually.
        interval: 95 % interval of the rate.
        basis: "certified" by the number of good parts, "extrapolated" beyond their largest score, or "manual".
        method: how both limits were found, as information for people.
        set: time of the last change, UTC, ISO 8601.
        reason: why it was changed; empty if it comes from the build.
        source: the evidence: "images", the good images of the gallery, each scored against the others; "frames", good
            frames that were held back; or "both".
        parts: number of distinct parts in the evidence.
        wanted: the false-reject rate that was asked for; None for the one that the good parts suggest.
    """

    score: float
    pixel: float
    area: float
    rate: float
    interval: tuple[float, float]
    basis: str
    method: str
    set: str
    reason: str
    source: str
    parts: int
    wanted: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Fields, *, source: str) -> Threshold:
        interval = fields.numbers("interval")
        if len(interval) != 2:
            raise BundleError(f"{source}: expected an interval of two numbers, found {list(interval)}")
        threshold = cls(
            score=fields.number("score"),
            pixel=fields.number("pixel"),
            area=fields.number("area"),
            rate=fields.number("rate"),
            interval=(interval[0], interval[1]),
            basis=fields.text("basis", among=(CERTIFIED, EXTRAPOLATED, MANUAL)),
            method=fields.text("method"),
            set=fields.text("set"),
            reason=fields.text("reason"),
            source=fields.text("source", among=SOURCES),
            parts=fields.integer("parts", least=1),
            wanted=fields.number_or_none("wanted"),
        )
        fields.done()
        if not (0 <= interval[0] <= interval[1] <= 1 and 0 <= threshold.rate <= 1 and threshold.area >= 0):
            raise BundleError(f"{source}: expected a threshold with rates from 0 to 1 and an area from 0, found others")
        return threshold

    def verdict(self, score: float) -> str:
        """The verdict of a score, for a frame that can be judged."""
        return DEFECT if score > self.score else GOOD

    def sentence(self) -> str:
        """The false-reject rate as a sentence."""
        low, high = self.interval
        counted = f"{self.parts} {_OF_SOURCE[self.source]} (95 % interval {low:.2%} to {high:.2%})"
        if self.basis == CERTIFIED:
            return f"at most {self.rate:.2%} of good frames rejected, certified by {counted}"
        if self.basis == EXTRAPOLATED:
            return f"about {self.rate:.2%} of good frames rejected, EXTRAPOLATED from {counted}"
        return f"set manually; at most {self.rate:.2%} of good frames rejected, counting {counted}"

    def caution(self) -> str:
        """What a user of few parts should know, in plain words; empty if there are enough."""
        if self.parts >= FEW:
            return ""
        of_hundred = max(1, round(100 * self.interval[1]))
        return (
            f"{self.parts} different parts say little about the rate: it may well be that {of_hundred} of 100 good "
            f"frames are rejected; take {FEW} parts or more, better 50"
        )
