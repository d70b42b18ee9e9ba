"""A gallery with the way to match against it: Eq. 3 for the map, and the image score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.cells import CellComparison
from spade_edge.runtime.coding import Coder
from spade_edge.runtime.engine import Products
from spade_edge.runtime.errors import BundleError, UsageError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.gallery import CodedGallery, Features, squared_distances
from spade_edge.runtime.hnsw import Search
from spade_edge.runtime.matching import Matches, match_cells, match_exactly
from spade_edge.runtime.pyramid import Pyramid

EXACT, HNSW = "exact", "hnsw"
FROM_VECTORS, FROM_MAP = "vectors", "map"
CODES, NONE = "codes", "none"
HIGHEST = 0.01  # share of the map that its score is the mean of


@dataclass(frozen=True)
class Matching:
    """How frames are matched: the paper's knobs, and those of the approximate search.

    Attributes:
        neighbours: K, the good images nearest by image vector; None for all.
        kappa: κ of Eq. 3.
        sigma: σ of the Gaussian, in pixels of the view.
        projection: what is kept of the good images: "codes", every feature in a byte; "none", as the network gives it.
        search: "exact", every embedding of the K images; "hnsw", those of the most similar cells.
        image_score: "vectors", mean squared distance to the K nearest image vectors; "map", mean of the map's highest
            hundredth.
        candidates: T, cells of the gallery looked into for each cell of the view (hnsw).
        ef: length of the index's list of best keys (hnsw).
    """

    neighbours: int | None = None
    kappa: int = 1
    sigma: float = 4.0
    projection: str = CODES
    search: str = HNSW
    image_score: str = FROM_MAP
    candidates: int = 12
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
        if self.projection not in (CODES, NONE):
            raise UsageError(f"expected projection to be {CODES} or {NONE}, found {self.projection}")
        if self.projection == NONE and self.search == HNSW:
            raise UsageError(
                f"expected --search {EXACT} with --projection {NONE}, found {HNSW}: the index is searched in codes"
            )
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
            projection=fields.text("projection"),
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
    "paper": Matching(neighbours=50, projection=NONE, search=EXACT, image_score=FROM_VECTORS),
}


class Matcher:
    """Compares views with a gallery.

    Args:
        gallery: the good images.
        matching: how to compare.
        search: finds the cells that resemble; needed for `search="hnsw"`.
        threads: of onnxruntime; None for one a core.

    Raises:
        BundleError: the search needs an index and there is none.
        UsageError: κ is larger than the number of embeddings that the search looks at.
    """

    def __init__(
        self,
        gallery: Features,
        matching: Matching,
        *,
        search: Search | None = None,
        threads: int | None = None,
    ) -> None:
        matching.check_cell(gallery.side)
        self.gallery = gallery
        self.matching = matching
        self._search = search
        self._product = Products(threads=threads)
        self._coder = None
        if isinstance(gallery, CodedGallery):
            self._coder = Coder(gallery.card, gallery.coding, threads=threads)
        if matching.search == HNSW:
            if self._coder is None or search is None:
                raise BundleError(
                    "expected a gallery in codes with an HNSW index, found one without: "
                    "this bundle was built with --projection none; use --search exact"
                )
            self._comparison = CellComparison(gallery.card, self._coder.coding, threads=threads)

    def matches(self, pyramids: Sequence[Pyramid], *, allowed: NDArray[np.bool_] | None = None) -> list[Matches]:
        """Find the nearest embeddings of every position of one or more views.

        Args:
            pyramids: features of the views.
            allowed: (N,) bool, images that may be matched (leave-one-out forbids the image itself); None for all.
        """
        if self.matching.search == EXACT:
            return [self._exactly(pyramid, allowed) for pyramid in pyramids]
        assert isinstance(self.gallery, CodedGallery) and self._coder is not None  # noqa: S101  (checked when made)
        coded = self._coder(pyramids)
        candidates = self.candidates(pyramids, coded.keys, allowed=allowed)
        seen = self._coder.windows(coded)
        return [
            match_cells(
                seen,
                view,
                self.gallery,
                candidates=candidates[view],
                comparison=self._comparison,
                kappa=self.matching.kappa,
            )
            for view in range(len(pyramids))
        ]

    def candidates(
        self, pyramids: Sequence[Pyramid], keys: NDArray[np.uint8], *, allowed: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """Find the gallery's cells that resemble those of the views.

        Args:
            pyramids: features of the views.
            keys: (views * cells, D) uint8, of all cells of the views.
            allowed: (N,) bool, as for `matches`.

        Returns:
            (views, cells, T) int64, numbers of cells, nearest first; -1 where there are fewer.
        """
        assert self._search is not None  # noqa: S101  (checked when made)
        cells = self.gallery.cells_per_image
        find = partial(self._search, count=self.matching.candidates, ef=self.matching.ef)
        if self.matching.neighbours is None:
            permitted = None if allowed is None else np.repeat(allowed, cells)
            return find(keys, allowed=permitted)[0].reshape(len(pyramids), cells, -1)
        found = []
        for pyramid, own in zip(pyramids, np.split(keys, len(pyramids)), strict=True):
            chosen = np.zeros(len(self.gallery), bool)
            chosen[self._chosen(pyramid, allowed)] = True
            found.append(find(own, allowed=np.repeat(chosen, cells))[0])
        return np.stack(found)

    def _exactly(self, pyramid: Pyramid, allowed: NDArray[np.bool_] | None) -> Matches:
        if self._coder is not None:
            pyramid = self._coder.rounded(pyramid)  # frames and gallery in the same numbers
        return match_exactly(
            pyramid,
            self.gallery,
            images=self._chosen(pyramid, allowed),
            kappa=self.matching.kappa,
            product=self._product,
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
            return highest(heatmap)
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


def highest(heatmap: NDArray[np.float32]) -> float:
    """The mean of a map's highest hundredth: unlike its maximum, not the affair of one position."""
    values = heatmap.ravel()
    count = max(1, int(values.size * HIGHEST))
    return float(np.partition(values, values.size - count)[values.size - count :].mean(dtype=np.float64))
