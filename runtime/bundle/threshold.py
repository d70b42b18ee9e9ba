"""The threshold of the verdict, and its false-reject rate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.result import DEFECT, GOOD

CERTIFIED, EXTRAPOLATED, MANUAL = "certified", "extrapolated", "by hand"


@dataclass(frozen=True)
class Threshold:
    """The score above which a frame is a defect, and where this limit comes from.

    Attributes:
        score: the largest image score that is still good.
        pixel: the largest value of the anomaly map that is still good; regions are drawn above it.
        area: smallest area of a reported region, in pixels of the frame; 0 for any.
        rate: fraction of good frames that are rejected: an upper limit if certified, an estimate if extrapolated, and
            counted among the good images if the threshold was set manually.
        interval: 95 % interval of the rate.
        basis: "certified" by the number of good images, "extrapolated" beyond their largest score, or "by hand" (set
            manually).
        method: how both limits were found, as information for people.
        set: time of the last change, UTC, ISO 8601.
        reason: why it was changed; empty if it comes from the build.
        scores: leave-one-out scores of the good images, in the gallery's order.
        map_maxima: largest value of each leave-one-out anomaly map; of some good images only, if maps take long.
        duplicates: groups of good images, by number, that show the same; they were left out together.
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
    scores: tuple[float, ...]
    map_maxima: tuple[float, ...]
    duplicates: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        return {"peaks" if name == "map_maxima" else name: value for name, value in asdict(self).items()}

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
            scores=fields.numbers("scores"),
            map_maxima=fields.numbers("peaks"),
            duplicates=fields.rows("duplicates", count=None, most=10**7),
        )
        fields.done()
        repeated = [image for group in threshold.duplicates for image in group]
        sound = (
            0 <= interval[0] <= interval[1] <= 1
            and 0 <= threshold.rate <= 1
            and threshold.area >= 0
            and 1 <= len(threshold.map_maxima) <= len(threshold.scores)
            and all(len(group) > 1 for group in threshold.duplicates)
            and len(set(repeated)) == len(repeated)
            and max(repeated, default=0) < len(threshold.scores)
        )
        if not sound:
            raise BundleError(
                f"{source}: expected a threshold with rates from 0 to 1, scores, map maxima and groups of good images, "
                "found numbers that contradict each other"
            )
        return threshold

    @property
    def evidence(self) -> int:
        """Number of good images, duplicates counted once."""
        return len(self.scores) - sum(len(group) - 1 for group in self.duplicates)

    def verdict(self, score: float) -> str:
        """The verdict of a score, for a frame that can be judged."""
        return DEFECT if score > self.score else GOOD

    def sentence(self) -> str:
        """The false-reject rate as a sentence."""
        low, high = self.interval
        images = f"{self.evidence} good images (95 % interval {low:.2%} to {high:.2%})"
        if self.basis == CERTIFIED:
            return f"at most {self.rate:.2%} of good frames rejected, certified by {images}"
        if self.basis == EXTRAPOLATED:
            return f"about {self.rate:.2%} of good frames rejected, EXTRAPOLATED from {images}"
        return f"set manually; at most {self.rate:.2%} of good frames rejected, counting {images}"
