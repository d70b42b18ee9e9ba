"""What a line says of itself: a heartbeat, or the file that an output of kind "report" writes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime

from spade_edge.runtime.errors import DataError
from spade_edge.runtime.fields import Fields, parse
from spade_edge.runtime.legible import legible
from spade_edge.tools.line.state import WELL, Pulled

VERSION = 1
LARGEST = 256 << 10  # bytes of a report
LONGEST = 300  # characters of a text in it that are kept
MOST_CAMERAS = 64


@dataclass(frozen=True, slots=True)
class CameraReport:
    """A camera of a line.

    Attributes:
        name: of the camera.
        state: "well", "troubled" or "hung".
        words: what is wrong; empty if it is well.
        recipe: name of the product that it judges.
        bundle: first 16 hexadecimal digits of the SHA-256 of the manifest in force.
        good, defect, cannot_judge, late: decisions since the service began.
        rejected: parts rejected since then.
        p99: milliseconds from trigger to decision of 99 of 100 of the latest parts; None before the first.
        refused: why a newer bundle is not in force; empty if none was refused.
        drift: how parts look different; empty if they do not.
        self_test: "passed" or "off"; empty where an older service does not say.
        pulled: what came of the last pull; None if it is not known.
    """

    name: str
    state: str
    words: str
    recipe: str
    bundle: str
    good: int
    defect: int
    cannot_judge: int
    late: int
    rejected: int
    p99: float | None
    refused: str
    drift: str
    self_test: str
    pulled: Pulled | None

    @property
    def parts(self) -> int:
        """Parts that were decided on."""
        return self.good + self.defect + self.cannot_judge + self.late

    @property
    def reject_rate(self) -> float | None:
        """The share of parts that were rejected; None before the first."""
        return self.rejected / self.parts if self.parts else None


@dataclass(frozen=True, slots=True)
class LineReport:
    """A line at one moment.

    Attributes:
        line: its name.
        software: version of spade-edge.
        at: when it said this, in seconds since 1970, by its own clock; 0 where that is not known.
        cameras: of the line; none where it is only known that it is offline.
        troubles: outputs that are in trouble, as "NAME: words".
        news: what was last said of the service as a whole, such as a configuration that was refused; empty for nothing.
        place: where the report was found.
        offline: whether the broker says that the service is not connected.
    """

    line: str
    software: str
    at: float
    cameras: tuple[CameraReport, ...]
    troubles: tuple[str, ...]
    news: str
    place: str
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A report that could not be read.

    Attributes:
        problem: why, in one line.
    """

    problem: str


def read_report(content: bytes, *, place: str) -> LineReport:
    """Read what a line says of itself. Fields that are not known are ignored: the line may be newer than this machine.

    Args:
        content: JSON.
        place: where it was found, for messages.

    Raises:
        DataError: it is no report.
    """
    if len(content) > LARGEST:
        raise DataError(f"{place}: expected a report of at most {LARGEST >> 10} KB, found more")
    fields = parse(content, where=place, error=DataError)
    fields.integer("version", least=VERSION, most=VERSION)
    cameras = fields.items("cameras")
    if len(cameras) > MOST_CAMERAS:
        raise DataError(f"{place}: expected at most {MOST_CAMERAS} cameras, found {len(cameras)}")
    outputs = [(_text(each, "name"), _text(each, "state"), _text(each, "words")) for each in fields.items("outputs")]
    return LineReport(
        line=_text(fields, "line"),
        software=_shared(fields, "software"),
        at=moment(fields.text("at"), place=place),
        cameras=tuple(_camera(each) for each in cameras),
        troubles=tuple(f"{name}: {words}" for name, state, words in outputs[:MOST_CAMERAS] if state != WELL),
        news=_text(fields, "news"),
        place=place,
    )


def moment(text: str, *, place: str) -> float:
    """A time, in seconds since 1970.

    Raises:
        DataError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError
        return found.timestamp()
    except (ValueError, OverflowError):
        raise DataError(f"{place}: expected a time with its zone, ISO 8601, found {text[:40]!a}") from None


def _camera(fields: Fields) -> CameraReport:
    counts = fields.object("counts")
    there = fields.names()
    pulled = fields.object_or_none("pulled") if "pulled" in there else None
    return CameraReport(
        name=_shared(fields, "name"),
        state=_shared(fields, "state"),
        words=_text(fields, "words"),
        recipe=_shared(fields, "recipe"),
        bundle=_shared(fields, "bundle"),
        good=counts.integer("good"),
        defect=counts.integer("defect"),
        cannot_judge=counts.integer("cannot_judge"),
        late=counts.integer("late"),
        rejected=fields.integer("rejected"),
        p99=fields.object("milliseconds").number_or_none("p99"),
        refused=_text(fields, "refused"),
        drift=_text(fields, "drift"),
        self_test=_shared(fields, "self_test") if "self_test" in there else "",
        pulled=None if pulled is None else _pulled(pulled),
    )


def _pulled(fields: Fields) -> Pulled:
    return Pulled(
        name=_shared(fields, "name"),
        wanted=_shared(fields, "wanted"),
        accepted=fields.flag("accepted"),
        reason=_text(fields, "reason"),
        at=_text(fields, "at"),
    )


def _text(fields: Fields, name: str) -> str:
    """A text, in one line that can be printed: a report must not steer a terminal."""
    return legible(fields.text(name)[:LONGEST])


def _shared(fields: Fields, name: str) -> str:
    """A text that many reports have, kept once."""
    return sys.intern(_text(fields, name))
