"""Matches views against a gallery: Eq. 3 for the anomaly map, and the score from global descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import BundleError, UsageError
from spade_edge.runtime.kernels.kernel import Products
from spade_edge.runtime.matching.cells import CellComparison
from spade_edge.runtime.matching.coding import Coded, Coder
from spade_edge.runtime.matching.config import EXACT, HNSW, PER_VIEW, PLACE, SHARED, Matching
from spade_edge.runtime.matching.distances import ExactMatches, Matches, match_cells, match_exactly
from spade_edge.runtime.matching.entries import Members, variants_of
from spade_edge.runtime.matching.gallery import CodedGallery, Features, squared_distances
from spade_edge.runtime.matching.graph_search import GraphSearch, Search
from spade_edge.runtime.matching.hnsw import Index
from spade_edge.runtime.matching.place_search import PlaceSearch
from spade_edge.runtime.network.pyramid import Pyramid


class Matcher:
    """Compares views with a gallery.

    Args:
        gallery: the good images.
        matching: how to compare.
        searches: for `search="hnsw"`, find similar cells: one search over all items, or one per view over the items of
            that view if the gallery is per view.
        entries: (items * cells,) int32, the label by which the searches know each cell, see `entries.entries_of`; with
            one search per view, the labels of each view's own. None if they know every cell by its own number.
        keys: for `search="place"`, (items * cells, D) uint8, the keys of all cells.
        included: (N,) bool, the good images that are matched at all, the ones that `searches` know; None for all.
        threads: threads of onnxruntime; None for one per core.

    Raises:
        BundleError: the search needs an index or keys, and there are none.
        UsageError: κ exceeds the number of embeddings in the candidate cells, the number of `searches` is wrong, or
            views share a gallery that is matched by place.
    """

    def __init__(
        self,
        gallery: Features,
        matching: Matching,
        *,
        searches: Sequence[Search] = (),
        entries: NDArray[np.int32] | None = None,
        keys: NDArray[np.uint8] | None = None,
        included: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> None:
        matching.check_cell(gallery.side)
        matching.check_views(gallery.views)
        self.gallery = gallery
        self.matching = matching
        self._searches = tuple(searches)
        self._included = np.ones(len(gallery), bool) if included is None else included
        self._product = Products(threads=threads)
        self._coder = None
        if isinstance(gallery, CodedGallery):
            self._coder = Coder(gallery.card, gallery.coding, threads=threads)
        if matching.search == EXACT:
            return
        if not isinstance(gallery, CodedGallery) or self._coder is None or not (searches or keys is not None):
            raise BundleError(
                "expected a gallery in codes with an index or keys, found one without: this bundle was built with "
                "--projection none; use --search exact"
            )
        self._comparison = CellComparison(gallery.card, self._coder.coding, threads=threads)
        if matching.search == PLACE:
            self._places = self._by_place(gallery, keys, threads)
            return
        expected = matching.indexes(gallery.views)
        if len(searches) != expected:
            raise UsageError(
                f"expected {expected} searches, as the gallery is {matching.gallery}, found {len(searches)}"
            )
        self._know_cells(entries, gallery.squares)

    def _by_place(
        self, gallery: CodedGallery, keys: NDArray[np.uint8] | None, threads: int | None
    ) -> tuple[PlaceSearch, ...]:
        """A search for each view, among the items of that view."""
        if keys is None or self.matching.place is None:
            raise BundleError("expected a gallery with the keys of its cells, found one without; build it again")
        views = gallery.views
        return tuple(
            PlaceSearch(
                own,
                squares,
                grid=gallery.card.grid(gallery.card.levels[-1]),
                reach=self.matching.place,
                threads=threads,
            )
            for own, squares in zip(np.split(keys, views), np.split(gallery.squares, views), strict=True)
        )

    def _know_cells(self, entries: NDArray[np.int32] | None, squares: NDArray[np.float32]) -> None:
        """Find out which cells the labels of each search stand for."""
        parts = len(self._searches)
        if entries is None:
            entries = np.tile(np.arange(len(squares) // parts, dtype=np.int32), parts)
        each = list(zip(np.split(entries, parts), np.split(squares, parts), strict=True))
        variants = [variants_of(*one) for one in each]
        self._entries, self._variants = entries, np.concatenate(variants)
        # By the first item that a search knows.
        first = range(0, len(self.gallery.descriptors), len(self.gallery.descriptors) // parts)
        self._members = {
            item: Members.of(own, same) for item, (own, _), same in zip(first, each, variants, strict=True)
        }

    @classmethod
    def open(
        cls,
        gallery: Features,
        matching: Matching,
        *,
        indexes: Sequence[Index],
        entries: NDArray[np.int32] | None,
        keys: NDArray[np.uint8] | None = None,
        included: NDArray[np.bool_] | None = None,
        search: str | None = None,
        searches: Sequence[Search] = (),
        threads: int | None = None,
        source: str = "gallery",
    ) -> Matcher:
        """Match as a bundle was built, by another search, or by search objects of the caller's own.

        Args:
            gallery: the good images.
            matching: how the bundle was built.
            indexes: the bundle's HNSW indexes, over the included images.
            entries: the label by which they know each cell, as above; None without indexes.
            keys: the keys of all cells, as above, of a gallery that is matched by place.
            included: (N,) bool, the good images that are matched at all; None for all.
            search: "exact" instead, or the name of the search that it was built for; None as built.
            searches: search objects that replace the search of `indexes`; they imply "hnsw".
            threads: threads of onnxruntime; None for one per core.
            source: what messages call the gallery.

        Raises:
            BundleError: "hnsw" is asked for, and there is no index, or "place", and there are no keys.
            UsageError: as for `check_search`, or another number of `searches` than indexes.
        """
        check_search(search, searches)
        wanted = HNSW if searches else search
        if wanted not in (None, EXACT, matching.search):
            found = {EXACT: "--projection none", HNSW: "--place free", PLACE: "--place N"}[matching.search]
            raise BundleError(
                f"{source}: expected a bundle built for {wanted} search, found one built with {found}; "
                f"use --search {EXACT}, or leave it out"
            )
        if wanted is not None:
            matching = replace(matching, search=wanted)
        if matching.search == HNSW and not searches:
            searches = [GraphSearch(index, threads=threads) for index in indexes]
        return cls(gallery, matching, searches=searches, entries=entries, keys=keys, included=included, threads=threads)

    def match(
        self,
        pyramids: Sequence[Pyramid],
        *,
        views: Sequence[int] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> list[Matches]:
        """Find the nearest embeddings of every position of one or more views.

        Args:
            pyramids: features of the views.
            views: number of each view in the layout; None if each is the first.
            allowed: (N,) bool, good images that may be matched (leave-one-out excludes the image itself); None for all.
        """
        views = [0] * len(pyramids) if views is None else views
        if self.matching.search == EXACT:
            return [self._exactly(pyramid, view, allowed) for pyramid, view in zip(pyramids, views, strict=True)]
        assert isinstance(self.gallery, CodedGallery) and self._coder is not None  # noqa: S101  (the constructor has checked)
        return self._match_codes(self._coder(pyramids), [p.descriptor for p in pyramids], views, allowed)

    def match_item(self, item: int, *, view: int, allowed: NDArray[np.bool_]) -> Matches:
        """Match a gallery item as if it were a view of a frame.

        Args:
            item: number of the gallery item.
            view: number of the view in the layout that it shows.
            allowed: (N,) bool, good images that may be matched: without itself, and others of the same part.
        """
        gallery = self.gallery
        if self.matching.search == EXACT or self._coder is None or not isinstance(gallery, CodedGallery):
            pyramid = gallery.pyramid(item)
            return self._match_exactly(pyramid, self._some(self._items(view, pyramid.descriptor, allowed)))
        coded = self._coder.with_keys(tuple(level[np.newaxis] for level in gallery.codes(item)))
        return self._match_codes(coded, [gallery.descriptors[item]], [view], allowed)[0]

    def _match_codes(
        self,
        coded: Coded,
        descriptors: Sequence[NDArray[np.float32]],
        views: Sequence[int],
        allowed: NDArray[np.bool_] | None,
    ) -> list[Matches]:
        assert isinstance(self.gallery, CodedGallery) and self._coder is not None  # noqa: S101  (the callers have checked)
        candidates = self.candidates(descriptors, coded.keys, views=views, allowed=allowed)
        seen = self._coder.windows(coded)
        return [
            match_cells(
                seen,
                number,
                self.gallery,
                candidates=candidates[number],
                comparison=self._comparison,
                kappa=self.matching.kappa,
            )
            for number in range(len(coded))
        ]

    def candidates(
        self,
        descriptors: Sequence[NDArray[np.float32]],
        keys: NDArray[np.uint8],
        *,
        views: Sequence[int],
        allowed: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int64]:
        """Find the gallery's cells that are most similar to those of the views.

        Args:
            descriptors: global descriptor of each view, (C,) float32.
            keys: (views * cells, D) uint8, keys of all cells of the views.
            views: as for `match`.
            allowed: (N,) bool, as for `match`.

        Returns:
            (views, cells, T) int64, numbers of cells, nearest first; -1 if there are fewer.
        """
        keys = keys.reshape(len(views), self.gallery.cells_per_item, -1)
        found = np.full((*keys.shape[:2], self.matching.candidates), -1, np.int64)
        filters: dict[int, Members] = {}  # views that may be matched with the same cells share one
        for number, view in enumerate(views):
            own = slice(0, len(self.gallery.descriptors))
            if self.matching.gallery == PER_VIEW:
                own = slice(view * len(self.gallery), (view + 1) * len(self.gallery))
            items = self._items(view, descriptors[number], allowed)
            if self.matching.search == PLACE:
                search = self._places[view if self.gallery.views > 1 else 0]
                permitted = None if items is None else items[own]
                near = search(keys[number], count=self.matching.candidates, allowed=permitted)
            else:
                # With K neighbours each view has its own nearest items.
                same = number if self.matching.neighbours is not None else own.start
                if same not in filters:
                    filters[same] = self._members_among(items, own)
                near = self._anywhere(keys[number], view, filters[same], own)
            first = own.start * self.gallery.cells_per_item
            found[number, :, : near.shape[1]] = np.where(near >= 0, near + first, -1)
        return found

    def _anywhere(self, keys: NDArray[np.uint8], view: int, members: Members, own: slice) -> NDArray[np.int64]:
        """The cells that the index finds for those of a view, numbered among the items `own`."""
        search = self._searches[view if self.matching.gallery == PER_VIEW else 0]
        labels, _ = search(
            keys,
            count=self.matching.candidates,
            ef=self.matching.ef,
            # A filter takes time even if it allows everything that the index knows.
            allowed=None if members is self._members[own.start] else members.counts > 0,
        )
        return members(labels)

    def _members_among(self, items: NDArray[np.bool_] | None, own: slice) -> Members:
        """The cells that the labels of a search stand for if only some items may be matched.

        Args:
            items: (items,) bool, all of the gallery's; None if each may be.
            own: the items that the search knows.
        """
        if items is None or np.array_equal(items[own], np.tile(self._included, self.gallery.views)[own]):
            return self._members[own.start]
        cells = self.gallery.cells_per_item
        part = slice(own.start * cells, own.stop * cells)
        return Members.of(self._entries[part], self._variants[part], allowed=np.repeat(items[own], cells))

    def match_exactly(self, pyramid: Pyramid, items: NDArray[np.intp]) -> ExactMatches:
        """Compare a view with every embedding of some gallery items, whichever search is configured.

        Args:
            pyramid: features of the view, as the network outputs them.
            items: (K,) gallery items, at least one.
        """
        if self._coder is not None:
            pyramid = self._coder.rounded(pyramid)  # normalised and rounded as the gallery is
        return self._match_exactly(pyramid, items)

    def _match_exactly(self, pyramid: Pyramid, items: NDArray[np.intp]) -> ExactMatches:
        """The same with features as the gallery has them."""
        return match_exactly(
            pyramid,
            self.gallery,
            items=items,
            kappa=self.matching.kappa,
            place=self.matching.place,
            product=self._product,
        )

    def _exactly(self, pyramid: Pyramid, view: int, allowed: NDArray[np.bool_] | None) -> Matches:
        return self.match_exactly(pyramid, self._some(self._items(view, pyramid.descriptor, allowed)))

    def _some(self, items: NDArray[np.bool_] | None) -> NDArray[np.intp]:
        """The numbers of items; all if None."""
        return np.arange(len(self.gallery.descriptors)) if items is None else np.flatnonzero(items)

    def descriptor_score(
        self, descriptor: NDArray[np.float32], *, view: int = 0, allowed: NDArray[np.bool_] | None = None
    ) -> float:
        """The paper's stage 1, the score of a whole view: mean squared distance to the K nearest global descriptors.

        Args:
            descriptor: (C,) float32, the view's global descriptor.
            view: number of the view in the layout.
            allowed: (N,) bool, as for `match`.
        """
        permitted = self._permitted(view, allowed)
        known = self.gallery.descriptors if permitted is None else self.gallery.descriptors[permitted]
        distances = np.sort(squared_distances(known, descriptor))
        return float(distances[: self.matching.neighbours].mean())

    def unlikeness(
        self, descriptor: NDArray[np.float32], *, view: int = 0, allowed: NDArray[np.bool_] | None = None
    ) -> float:
        """How little a whole view resembles any good image: the squared distance to the nearest global descriptor.

        Args:
            descriptor: (C,) float32, the view's global descriptor.
            view: number of the view in the layout.
            allowed: (N,) bool, as for `match`.
        """
        permitted = self._permitted(view, allowed)
        known, squares = self.gallery.descriptors, self._squares
        if permitted is not None:
            known, squares = known[permitted], squares[permitted]
        return max(0.0, float((squares - 2 * (known @ descriptor)).min() + descriptor @ descriptor))

    @cached_property
    def _squares(self) -> NDArray[np.float32]:
        """Squared lengths of the gallery's global descriptors."""
        return np.einsum("ic,ic->i", self.gallery.descriptors, self.gallery.descriptors)

    def _items(
        self, view: int, descriptor: NDArray[np.float32], allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.bool_] | None:
        """Items that a view is matched with: (items,) bool; None for all."""
        permitted = self._permitted(view, allowed)
        if self.matching.neighbours is None:
            return permitted
        every = np.ones(len(self.gallery.descriptors), bool) if permitted is None else permitted
        chosen = np.zeros_like(every)
        chosen[self.gallery.nearest_items(descriptor, self.matching.neighbours, allowed=every)] = True
        return chosen

    def _permitted(self, view: int, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Items that a view may be matched with: (items,) bool; None for all."""
        count, views = len(self.gallery), self.gallery.views
        if not self._included.all():
            allowed = self._included if allowed is None else self._included & allowed
        if self.matching.gallery == SHARED or views == 1:
            return None if allowed is None else np.tile(allowed, views)
        permitted = np.zeros(count * views, bool)
        permitted[view * count : (view + 1) * count] = True if allowed is None else allowed
        return permitted


def check_search(search: str | None, searches: Sequence[Search]) -> None:
    """Refuse a search that does not exist, and search objects that would not be used.

    Raises:
        UsageError: `search` is neither "exact", "hnsw", "place" nor None, or "exact" although there are `searches`.
    """
    if search not in (None, EXACT, HNSW, PLACE):
        raise UsageError(f"expected search to be {EXACT}, {HNSW} or {PLACE}, found {search!r}")
    if search == EXACT and searches:
        raise UsageError(f"expected no searches with search {EXACT}, found {len(searches)}; leave one of them out")
