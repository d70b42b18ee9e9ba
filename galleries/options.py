"""The options of a build."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from spade_edge.galleries.learned_alignment import AUTO, OFF
from spade_edge.galleries.view_selection import Views
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.threshold import LOWEST_RATE
from spade_edge.runtime.kernels.ort import MOST_THREADS
from spade_edge.runtime.matching.config import AUTO as PLACE_AUTO
from spade_edge.runtime.matching.config import PROFILES, Matching, parsed_place


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How `build` makes a bundle. The defaults suit most parts.

    Attributes:
        profile: "edge", or "paper" for the method exactly as published.
        matching: parameters of the matching; None for those of the profile.
        place: "auto" to choose from the good images whether cells are matched at their place or at any place; "free"
            for any place; a number of cells for at most so far from their place.
        views: the parts of a frame that are inspected; the whole frame by default.
        rate: fraction of good frames that may be rejected, over 0 and under 1; None for at most 5 %, or the lowest
            that few parts can certify.
        area: of the smallest region that is reported, in frame pixels; 0 for any.
        groups: which images show the same part: "folder", a regular expression or a CSV file, see
            `spade_edge.galleries.grouping`; None to find repeats automatically.
        exclude: names of images that do not belong to the good ones, relative to their folder. They are stored, so that
            they can be included later, but not used.
        skip_bad: leave out images that cannot be read instead of stopping.
        bits: that the camera uses of the 16 in which its numbers are stored, 8 to 16; None to find them.
        even_so: build also from images of which some are grey and some in colour, some have 8 bits and some 16, or
            some have another size than most.
        align: "auto" to learn where parts lie in the good images, if they have a place, and to bring back the part of a
            frame that lies elsewhere; "off" to judge every frame as it is.
        follow_links: whether links to folders inside the folder of images are followed, each folder once.
        threads: of all steps but the index, which one thread builds; None for one per core.
        created: the time that the bundle says it was built at, ISO 8601 with its offset from UTC; None for now. With it
            given, the same images, model and options give the same bytes.

    Raises:
        UsageError: an unknown profile, or a number out of range.
    """

    profile: str = "edge"
    matching: Matching | None = None
    place: str | int = PLACE_AUTO
    views: Views = Views()  # noqa: RUF009  (frozen)
    rate: float | None = None
    area: float = 0.0
    groups: str | None = None
    exclude: tuple[str, ...] = ()
    skip_bad: bool = False
    bits: int | None = None
    even_so: bool = False
    align: str = AUTO
    follow_links: bool = False
    threads: int | None = None
    created: str | None = None

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise UsageError(f"expected a profile ({', '.join(PROFILES)}), found {self.profile}")
        if self.rate is not None and not LOWEST_RATE <= self.rate < 1:
            raise UsageError(
                f"expected a false-reject rate over 0 and under 1, of at least {LOWEST_RATE:f}, found {self.rate:g}"
            )
        if not (math.isfinite(self.area) and self.area >= 0):
            raise UsageError(f"expected an area of 0 frame pixels or more, found {self.area:g}")
        parsed_place(str(self.place))
        if self.align not in (AUTO, OFF):
            raise UsageError(f"expected align to be {AUTO} or {OFF}, found '{self.align}'")
        if self.bits is not None and not 8 <= self.bits <= 16:
            raise UsageError(f"expected 8 to 16 bits, found {self.bits}")
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise UsageError(f"expected 1 to {MOST_THREADS} threads, found {self.threads}")
        if self.created is not None and not _is_time(self.created):
            raise UsageError(
                f"expected a time such as 2026-11-30T06:00:00+00:00, found {self.created!r}; give its offset from UTC"
            )

    @property
    def parameters(self) -> Matching:
        """The parameters of the matching: as given, else the profile's."""
        return PROFILES[self.profile] if self.matching is None else self.matching


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
