"""Parameters of matching: the paper's, those of the approximate search, and the two profiles."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from spade_edge.runtime.errors import UsageError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.matching.normalisation import LENGTH, ROOT
from spade_edge.runtime.matching.normalisation import NONE as UNCHANGED

EXACT, HNSW, PLACE = "exact", "hnsw", "place"
FROM_DESCRIPTORS, FROM_MAP = "descriptors", "map"
CODES, NONE = "codes", "none"
SHARED, PER_VIEW = "shared", "per-view"
AUTO, FREE = "auto", "free"  # places that a user may ask for, beside a number of cells
FARTHEST_PLACE = 64  # cells
MOST_KAPPA = 100  # an exact search computes so many embeddings for each position of a view


@dataclass(frozen=True)
class Matching:
    """How frames are matched: the paper's parameters, and those of the approximate search.

    Attributes:
        neighbours: K, the number of gallery items that are matched, nearest by global descriptor; None for all.
        kappa: κ of Eq. 3.
        sigma: σ of the Gaussian, in pixels of the view.
        projection: how the features of good images are stored: "codes", one byte each; "none", unchanged as float32.
        normalisation: of the features before they are coded: "root", "length" or "none"; see `normalisation`. Always
            "none" without codes.
        search: "exact" compares with every embedding of the K items; "hnsw" with those of the most similar cells, found
            in an HNSW index; "place" with those of the most similar cells at about the same place, found by comparing
            their keys with each other.
        place: a cell is matched only with cells of good images at most so many cells away, in rows and in columns; None
            if it may match any place.
        image_score: "descriptors", mean squared distance to the K nearest global descriptors, of the worst view; "map",
            mean of the highest anomaly-map values after subtracting the baseline, over 0.3 % of a view's pixels.
        candidates: T, number of cells of the gallery that each cell of a view is compared with (hnsw, place).
        ef: length of the list of best keys during the search (hnsw).
        gallery: "shared": a view may match any view of a good image; "per-view": only the corresponding one.
    """

    neighbours: int | None = None
    kappa: int = 1
    sigma: float = 4.0
    projection: str = CODES
    normalisation: str = ROOT
    search: str = HNSW
    place: int | None = None
    image_score: str = FROM_MAP
    candidates: int = 12
    ef: int = 32
    gallery: str = SHARED

    def __post_init__(self) -> None:
        if self.projection == NONE:  # there is nothing to normalise before it is coded
            object.__setattr__(self, "normalisation", UNCHANGED)
        for name, value, most in (
            ("neighbours", 1 if self.neighbours is None else self.neighbours, 10**6),
            ("kappa", self.kappa, MOST_KAPPA),
            ("candidates", self.candidates, 4096),
            ("ef", self.ef, 65536),
        ):
            if not 1 <= value <= most:
                raise UsageError(f"expected {name} from 1 to {most}, found {value}")
        if not (math.isfinite(self.sigma) and 0 <= self.sigma <= 100):
            raise UsageError(f"expected sigma from 0 to 100 pixels, found {self.sigma}")
        if self.projection not in (CODES, NONE):
            raise UsageError(f"expected projection to be {CODES} or {NONE}, found {self.projection}")
        if self.projection == NONE and self.search != EXACT:
            raise UsageError(
                f"expected --search {EXACT} with --projection {NONE}, found {self.search}: cells are searched in codes"
            )
        if self.normalisation not in (ROOT, LENGTH, UNCHANGED):
            raise UsageError(
                f"expected normalisation to be {ROOT}, {LENGTH} or {UNCHANGED}, found {self.normalisation}"
            )
        if self.search not in (EXACT, HNSW, PLACE):
            raise UsageError(f"expected search to be {EXACT}, {HNSW} or {PLACE}, found {self.search}")
        if self.place is not None and not 0 <= self.place <= FARTHEST_PLACE:
            raise UsageError(f"expected a place of 0 to {FARTHEST_PLACE} cells, found {self.place}")
        if self.search != EXACT and (self.search == PLACE) != (self.place is not None):
            raise UsageError(
                f"expected search to be {PLACE} if cells are matched by place and {HNSW} if they are not, found "
                f"{self.search}"
            )
        if self.image_score not in (FROM_DESCRIPTORS, FROM_MAP):
            raise UsageError(f"expected image_score to be {FROM_DESCRIPTORS} or {FROM_MAP}, found {self.image_score}")
        if self.gallery not in (SHARED, PER_VIEW):
            raise UsageError(f"expected the gallery to be {SHARED} or {PER_VIEW}, found {self.gallery}")

    def indexes(self, views: int) -> int:
        """Number of HNSW indexes of a gallery with `views` views per good image."""
        if self.projection != CODES or self.place is not None:
            return 0
        return views if self.gallery == PER_VIEW else 1

    def placed(self, place: int | None) -> Matching:
        """The same with another place, None for free; an exact search stays exact."""
        if self.search == EXACT:
            return replace(self, place=place)
        return replace(self, place=place, search=HNSW if place is None else PLACE)

    def check_views(self, views: int) -> None:
        """Refuse a place for views that share a gallery: a place in one view is another place in the next.

        Raises:
            UsageError: there are several views, and the gallery is not per view.
        """
        if self.place is not None and views > 1 and self.gallery == SHARED:
            raise UsageError(
                f"expected --gallery {PER_VIEW} with --place {self.place}, as {views} views of a frame share the "
                "gallery; or use --place free"
            )

    def check_cell(self, side: int) -> None:
        """Refuse a κ that is too large for a search over cells of side x side embeddings.

        Raises:
            UsageError: κ is larger than the number of embeddings in the candidate cells.
        """
        offered = self.candidates * side**2
        if self.search != EXACT and self.kappa > offered:
            raise UsageError(
                f"expected kappa of at most {offered}, the embeddings in {self.candidates} candidates, "
                f"found {self.kappa}; raise --candidates or use --search exact"
            )

    def candidates_among(self, cells: int, *, items: int) -> int:
        """T, or the number of cells that may be candidates at all if they are fewer.

        Args:
            cells: number of cells of a gallery item.
            items: number of gallery items that a view may match.
        """
        around = cells if self.place is None else min(cells, (2 * self.place + 1) ** 2)
        return min(self.candidates, around * items)

    def to_json(self) -> dict[str, Any]:
        """The parameters as JSON values, as they stand in a manifest or model card."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Fields) -> Matching:
        """Read what `to_json` wrote.

        Raises:
            SpadeError: a field is missing, unknown or of another kind.
        """
        matching = cls(
            neighbours=fields.integer_or_none("neighbours"),
            kappa=fields.integer("kappa"),
            sigma=fields.number("sigma"),
            projection=fields.text("projection"),
            normalisation=fields.text("normalisation"),
            search=fields.text("search"),
            place=fields.integer_or_none("place"),
            image_score=fields.text("image_score"),
            candidates=fields.integer("candidates"),
            ef=fields.integer("ef"),
            gallery=fields.text("gallery"),
        )
        fields.done()
        return matching


def parsed_place(text: str) -> str | int:
    """The place that a user asks for: "auto", "free" or a number of cells.

    Raises:
        UsageError: something else.
    """
    if text in (AUTO, FREE):
        return text
    if text.isascii() and text.isdecimal() and len(text) < 4 and int(text) <= FARTHEST_PLACE:
        return int(text)
    raise UsageError(f"expected a place of {AUTO}, {FREE} or 0 to {FARTHEST_PLACE} cells, found {text!r}")


PROFILES = {
    "edge": Matching(),
    # Cohen & Hoshen 2020: K = 50, κ = 1, σ = 4, every position of the K nearest images.
    "paper": Matching(
        neighbours=50, projection=NONE, normalisation=UNCHANGED, search=EXACT, image_score=FROM_DESCRIPTORS
    ),
}
