"""A gallery with the way to match against it: Eq. 3 for the map, and the image score."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import BundleError, UsageError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.gallery import Gallery, cell_keys, squared_distances
from spade_edge.runtime.hnsw import Index
from spade_edge.runtime.matching import Matches, match_cells, match_exactly
from spade_edge.runtime.pyramid import Pyramid

EXACT, HNSW = "exact", "hnsw"
FROM_VECTORS, FROM_MAP = "vectors", "map"


@dataclass(frozen=True)
class Matching:
    """How frames are matched: the paper's knobs, and those of the approximate search.

    Attributes:
        neighbours: K, the good images nearest by image vector; None for all.
        kappa: κ of Eq. 3.
        sigma: σ of the Gaussian, in pixels of the view.
        search: "exact", every embedding of the K images; "hnsw", those of the most similar cells.
        image_score: "vectors", mean squared distance to the K nearest image vectors; "map", highest value of the map.
        candidates: T, cells of the gallery looked into for each cell of the view (hnsw).
        ef: length of the index's list of best keys (hnsw).
    """

    neighbours: int | None = None
    kappa: int = 1
    sigma: float = 4.0
    search: str = HNSW
    image_score: str = FROM_MAP
    candidates: int = 16
    ef: int = 32

    def __post_init__(self) -> None:
        for name, value, most in (
            ("neighbours", 1 if self.neighbours is None else self.neighbours, 10**6),
            ("kappa", self.kappa, 10**4),
            ("candidates", self.candidates, 4096),
            ("ef", self.ef, 65536),
        ):
            if not 1 <= value <= most:
                raise UsageError(f"expected {name} from 1 to {most}, found {value}")
        if not (math.isfinite(self.sigma) and 0 <= self.sigma <= 100):
            raise UsageError(f"expected sigma from 0 to 100 pixels, found {self.sigma}")
        if self.search not in (EXACT, HNSW):
            raise UsageError(f"expected search to be {EXACT} or {HNSW}, found {self.search}")
        if self.image_score not in (FROM_VECTORS, FROM_MAP):
            raise UsageError(f"expected image_score to be {FROM_VECTORS} or {FROM_MAP}, found {self.image_score}")

    def check_cell(self, side: int) -> None:
        """Refuse a κ that a search over cells of side x side embeddings cannot serve.

        Raises:
            UsageError: κ is larger than the number of embeddings in the candidates.
        """
        offered = self.candidates * side**2
        if self.search == HNSW and self.kappa > offered:
            raise UsageError(
                f"expected kappa of at most {offered}, the embeddings in {self.candidates} candidates, "
                f"found {self.kappa}; raise --candidates or use --search exact"
            )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Fields) -> Matching:
        matching = cls(
            neighbours=fields.integer_or_none("neighbours"),
            kappa=fields.integer("kappa"),
            sigma=fields.number("sigma"),
            search=fields.text("search"),
            image_score=fields.text("image_score"),
            candidates=fields.integer("candidates"),
            ef=fields.integer("ef"),
        )
        fields.done()
        return matching


PROFILES = {
    "edge": Matching(),
    # Cohen & Hoshen 2020: K = 50, κ = 1, σ = 4, every position of the K nearest images.
    "paper": Matching(neighbours=50, search=EXACT, image_score=FROM_VECTORS),
}


class Matcher:
    """Compares views with a gallery.

    Args:
        gallery: the good images.
        matching: how to compare.
        index: over the keys of all cells; needed for `search="hnsw"`.
        key_projection: (sum of C, D) float32, what the keys were projected with; goes with the index.

    Raises:
        BundleError: the search needs an index and there is none.
        UsageError: κ is larger than the number of embeddings that the search looks at.
    """

    def __init__(
        self,
        gallery: Gallery,
        matching: Matching,
        *,
        index: Index | None = None,
        key_projection: NDArray[np.float32] | None = None,
    ) -> None:
        if matching.search == HNSW and (index is None or key_projection is None):
            raise BundleError("expected an HNSW index, found none: this bundle was built with --search exact; use that")
        matching.check_cell(gallery.side)
        self.gallery = gallery
        self.matching = matching
        self._index = index
        self._key_projection = key_projection

    def matches(self, pyramid: Pyramid, *, allowed: NDArray[np.bool_] | None = None) -> Matches:
        """Find the nearest embeddings of every position.

        Args:
            pyramid: features of a view.
            allowed: (N,) bool, images that may be matched (leave-one-out forbids the image itself); None for all.
        """
        restricted = self.matching.neighbours is not None or allowed is not None
        if self.matching.search == EXACT:
            images = self._chosen(pyramid, allowed)
            return match_exactly(pyramid, self.gallery, images=images, kappa=self.matching.kappa)
        assert self._index is not None and self._key_projection is not None  # noqa: S101  (checked when made)
        chosen = None
        if restricted:
            chosen = np.zeros(len(self.gallery), bool)
            chosen[self._chosen(pyramid, allowed)] = True
        return match_cells(
            pyramid,
            self.gallery,
            index=self._index,
            keys=cell_keys(pyramid, self._key_projection),
            allowed=chosen,
            candidates=self.matching.candidates,
            ef=self.matching.ef,
            kappa=self.matching.kappa,
        )

    def image_score(
        self, pyramid: Pyramid, heatmap: NDArray[np.float32], *, allowed: NDArray[np.bool_] | None = None
    ) -> float:
        """Score the view as a whole; larger is worse.

        Args:
            pyramid: features of a view.
            heatmap: (h, w) float32, its smoothed map.
            allowed: (N,) bool, as for `matches`.
        """
        if self.matching.image_score == FROM_MAP:
            return float(heatmap.max())
        return self.vector_score(pyramid.image, allowed=allowed)

    def vector_score(self, image: NDArray[np.float32], *, allowed: NDArray[np.bool_] | None = None) -> float:
        """The paper's stage 1: mean squared distance to the K nearest image vectors."""
        allowed = np.ones(len(self.gallery), bool) if allowed is None else allowed
        distances = np.sort(squared_distances(self.gallery.images[allowed], image))
        return float(distances[: self.matching.neighbours].mean())

    def _chosen(self, pyramid: Pyramid, allowed: NDArray[np.bool_] | None) -> NDArray[np.intp]:
        allowed = np.ones(len(self.gallery), bool) if allowed is None else allowed
        if self.matching.neighbours is None:
            return np.flatnonzero(allowed)
        return self.gallery.nearest_images(pyramid.image, self.matching.neighbours, allowed=allowed)
