"""Matches views against a gallery: Eq. 3 for the anomaly map, and the score from global descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import BundleError, UsageError
from spade_edge.runtime.kernels.kernel import Products
from spade_edge.runtime.kernels.workers import Workers
from spade_edge.runtime.matching.cells import CellComparison
from spade_edge.runtime.matching.coding import Coded, Coder
from spade_edge.runtime.matching.config import EXACT, HNSW, PER_VIEW, PLACE, SHARED, Matching
from spade_edge.runtime.matching.device_search import Anywhere, Both, ByPlace, DeviceSearch, cpu_only
from spade_edge.runtime.matching.distances import CELLS, ExactMatches, Matches, match_cells, match_exactly
from spade_edge.runtime.matching.entries import Members, variants_of
from spade_edge.runtime.matching.gallery import CodedGallery, Features, keys_of, squared_distances
from spade_edge.runtime.matching.graph_search import GraphSearch, Search
from spade_edge.runtime.matching.hnsw import Index
from spade_edge.runtime.matching.place_search import PlaceSearch
from spade_edge.runtime.matching.taught_search import CANDIDATES as TAUGHT
from spade_edge.runtime.matching.taught_search import TaughtSearch
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
        selected: (N,) bool, others that are matched on top of those, except where `allowed` says which may be; None for
            none.
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
        selected: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> None:
        matching.check_cell(gallery.side)
        matching.check_views(gallery.views)
        self.gallery = gallery
        self.matching = matching
        items = len(gallery) if matching.gallery == PER_VIEW else len(gallery.descriptors)
        self._candidates = matching.candidates_among(gallery.cells_per_item, items=items)
        self._searches = tuple(searches)
        self._included = np.ones(len(gallery), bool) if included is None else included
        self._selected = np.zeros(len(gallery), bool) if selected is None else selected
        self._product = Products(threads=threads)
        self._workers = Workers.of(threads)
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
        self._comparison = CellComparison(gallery.card, self._coder.coding)
        self._taught = self._search_taught(gallery, self._coder, threads) if self._selected.any() else ()
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

    def _search_taught(self, gallery: CodedGallery, coder: Coder, threads: int | None) -> tuple[TaughtSearch, ...]:
        """The searches among taught-in images: one among the items of each view, or one among all."""
        cells, images = gallery.cells_per_item, np.flatnonzero(self._selected)
        of_views = [view * len(gallery) + images for view in range(gallery.views)]
        if self.matching.gallery == SHARED and self.matching.search != PLACE:
            of_views = [np.concatenate(of_views)]
        searches = []
        for items in of_views:
            numbers = (items[:, np.newaxis] * cells + np.arange(cells)).ravel()
            searches.append(
                TaughtSearch(
                    keys_of(gallery, items.tolist(), coder),
                    gallery.squares[numbers],
                    numbers,
                    grid=gallery.card.grid(gallery.card.levels[-1]),
                    reach=self.matching.place if self.matching.search == PLACE else None,
                    threads=threads,
                )
            )
        return tuple(searches)

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
        selected: NDArray[np.bool_] | None = None,
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
            selected: (N,) bool, images that are matched on top of those, as above; None for none.
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
        return cls(
            gallery,
            matching,
            searches=searches,
            entries=entries,
            keys=keys,
            included=included,
            selected=selected,
            threads=threads,
        )

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
            allowed: (N,) bool, good images that may be matched (leave-one-out excludes the image itself), none of which
                was taught in because of its verdict; None for all.
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
        return [
            match_cells(
                coded,
                number,
                self.gallery,
                candidates=candidates[number],
                coder=self._coder,
                comparison=self._comparison,
                kappa=self.matching.kappa,
                workers=self._workers,
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
            (views, cells, T) int64, numbers of cells, nearest first; -1 if there are fewer. Those of images that were
            taught in because of their verdict come behind, on top of T.
        """
        keys = keys.reshape(len(views), self.gallery.cells_per_item, -1)
        count = self._candidates
        found = np.full((*keys.shape[:2], count), -1, np.int64)
        filters: dict[int, Members] = {}  # views that may be matched with the same cells share one
        for number, view in enumerate(views):
            own = slice(0, len(self.gallery.descriptors))
            if self.matching.gallery == PER_VIEW:
                own = slice(view * len(self.gallery), (view + 1) * len(self.gallery))
            items = self._items(view, descriptors[number], allowed)
            if self.matching.search == PLACE:
                search = self._places[view if self.gallery.views > 1 else 0]
                permitted = None if items is None else items[own]
                near = search(keys[number], count=count, allowed=permitted)
            else:
                # With K neighbours each view has its own nearest items.
                same = number if self.matching.neighbours is not None else own.start
                if same not in filters:
                    filters[same] = self._members_among(items, own)
                near = self._anywhere(keys[number], view, filters[same], own)
            first = own.start * self.gallery.cells_per_item
            found[number, :, : near.shape[1]] = np.where(near >= 0, near + first, -1)
        if allowed is None and self._taught:
            searches = [self._taught[view if len(self._taught) > 1 else 0] for view in views]
            more = [search(own) for search, own in zip(searches, keys, strict=True)]
            found = np.concatenate([found, np.stack(more)], axis=2)
        return found

    def _anywhere(self, keys: NDArray[np.uint8], view: int, members: Members, own: slice) -> NDArray[np.int64]:
        """The cells that the index finds for those of a view, numbered among the items `own`."""
        search = self._searches[view if self.matching.gallery == PER_VIEW else 0]
        labels, _ = search(
            keys,
            count=self._candidates,
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

    def coded(self, pyramids: Sequence[Pyramid]) -> tuple[Coded, NDArray[np.float32]]:
        """Views in codes, as the gallery has them, and the squared lengths of their embeddings.

        Returns:
            the codes, and (views * cells, side * side) float32.
        """
        assert self._coder is not None  # noqa: S101  (the gallery is in codes)
        coded = self._coder(pyramids)
        return coded, self._coder.windows(coded).squares

    def candidates_of_cells(
        self, cells: NDArray[np.int64], keys: NDArray[np.uint8], *, allowed: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """The candidates of some cells of the gallery itself: those nearest of all, not only of what a graph finds.

        K is not limited.

        Args:
            cells: (m,) numbers of cells, in ascending order.
            keys: (items * cells, D) uint8, the keys of all cells.
            allowed: (N, N) bool, for each image those that its cells may be matched with.

        Returns:
            (m, T) int64, numbers of cells, nearest first; -1 if there are fewer.
        """
        each, count, images = self.gallery.cells_per_item, self._candidates, len(self.gallery)
        items = cells // each
        found = np.full((len(cells), count), -1, np.int64)
        for item in np.unique(items).tolist():
            view, image = divmod(item, images)
            own = slice(*np.searchsorted(items, [item, item + 1]))
            part = slice(0, len(self.gallery.descriptors))
            if self.matching.gallery == PER_VIEW:
                part = slice(view * images, (view + 1) * images)
            if self.matching.search == PLACE:
                place = self._places[view]
                if place.copies is None:
                    continue  # below, place by place
                whole = keys[item * each : (item + 1) * each]
                near = place(whole, count=count, allowed=allowed[image])[cells[own] % each]
            else:
                search = self._searches[view if self.matching.gallery == PER_VIEW else 0]
                assert isinstance(search, GraphSearch)  # noqa: S101  (the bundle's own)
                members = self._members_among(np.tile(allowed[image], self.gallery.views), part)
                labels, _ = search.exhaustively(keys[cells[own]], count=count, allowed=members.counts > 0)
                near = members(labels)
            found[own, : near.shape[1]] = np.where(near >= 0, near + part.start * each, -1)
        for view, place in enumerate(self._places if self.matching.search == PLACE else ()):
            if place.copies is None:
                own = slice(*np.searchsorted(items, [view * images, (view + 1) * images]))
                at, permitted = cells[own] % each, allowed[items[own] % images]
                near = place.of_cells(keys[cells[own]], at, count=count, allowed=permitted)
                found[own] = np.where(near >= 0, near + view * images * each, -1)
        return found

    def distances_of_cells(self, cells: NDArray[np.int64], candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        """Compare some cells of the gallery with others, κ = 1.

        Args:
            cells: (m,) numbers of cells.
            candidates: (m, T) numbers of cells; -1 for none.

        Returns:
            (m, side * side) float32, the squared distance of each embedding from the nearest of the candidates.

        Raises:
            BundleError: a distance is below zero.
        """
        gallery = self.gallery
        assert isinstance(gallery, CodedGallery) and self._coder is not None  # noqa: S101  (they have candidates)
        coder, comparison = self._coder, self._comparison
        whole = Coded(levels=gallery.levels, keys=np.empty((0, 0), np.uint8))
        nearest = np.empty((len(cells), gallery.side**2), np.float32)
        if not len(cells):
            return nearest

        def compare(band: slice) -> None:
            nearest[band], _ = comparison(
                coder.windows(whole, cells[band]),
                levels=gallery.levels,
                squares=gallery.squares,
                candidates=candidates[band],
            )

        self._workers.map(compare, self._workers.bands(len(cells), usual=CELLS))
        return nearest

    def device_searches(self) -> tuple[CodedGallery, list[DeviceSearch]]:
        """What a `DeviceMatcher` needs to find the same cells: the gallery, and one search, or one for each view.

        Raises:
            UsageError: matching of this kind runs on the CPU only.
        """
        matching, gallery = self.matching, self.gallery
        reason = cpu_only(matching, gallery.card)
        if not reason and not all(isinstance(search, GraphSearch) for search in self._searches):
            reason = "search objects of your own"
        if reason or not isinstance(gallery, CodedGallery):
            raise UsageError(
                "expected a search in codes with κ = 1 among all good images, which can run where the network runs, "
                f"found {reason}; use --match cpu"
            )
        views = gallery.views if matching.gallery == PER_VIEW else 1
        return gallery, [self._device_search(view, len(gallery.descriptors) // views) for view in range(views)]

    def _device_search(self, view: int, items: int) -> DeviceSearch:
        """The search of a view among its `items`, all that are included, and among those that were taught in."""
        own = self._device_search_among(view, items)
        if not self._taught:
            return own
        taught = self._taught[view if len(self._taught) > 1 else 0]
        if taught.place is None:
            return Both(own, Anywhere(taught.keys, taught.numbers), more=TAUGHT)
        return Both(own, ByPlace(taught.place, None, 0, numbers=taught.numbers), more=TAUGHT)

    def _device_search_among(self, view: int, items: int) -> Anywhere | ByPlace:
        first = view * items * self.gallery.cells_per_item
        if self.matching.search == PLACE:
            return ByPlace(self._places[view], None if self._included.all() else self._included, first)
        index = self._searches[view].index  # type: ignore[attr-defined]  # the caller has checked
        keys, cells = self._members[view * items].of_nodes(index.keys, index.labels)
        return Anywhere(keys, cells + first)

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
        items = self._items(view, pyramid.descriptor, allowed)
        return self.match_exactly(pyramid, self._some(self._with_taught(items, view, allowed)))

    def _with_taught(
        self, items: NDArray[np.bool_] | None, view: int, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.bool_] | None:
        """The items, and those that were taught in because of their verdict: (items,) bool; None for all."""
        if items is None or allowed is not None or not self._selected.any():
            return items
        return items | self._of_view(self._selected, view)

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
        permitted = self._with_taught(self._permitted(view, allowed), view, allowed)
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
        if not self._included.all():
            allowed = self._included if allowed is None else self._included & allowed
        if allowed is None and (self.matching.gallery == SHARED or self.gallery.views == 1):
            return None
        return self._of_view(np.ones(len(self.gallery), bool) if allowed is None else allowed, view)

    def _of_view(self, images: NDArray[np.bool_], view: int) -> NDArray[np.bool_]:
        """The items of some images, (N,) bool, that a view may be matched with: (items,) bool."""
        count, views = len(self.gallery), self.gallery.views
        if self.matching.gallery == SHARED or views == 1:
            return np.tile(images, views)
        chosen = np.zeros(count * views, bool)
        chosen[view * count : (view + 1) * count] = images
        return chosen


def check_search(search: str | None, searches: Sequence[Search]) -> None:
    """Refuse a search that does not exist, and search objects that would not be used.

    Raises:
        UsageError: `search` is neither "exact", "hnsw", "place" nor None, or "exact" although there are `searches`.
    """
    if search not in (None, EXACT, HNSW, PLACE):
        raise UsageError(f"expected search to be {EXACT}, {HNSW} or {PLACE}, found {search!r}")
    if search == EXACT and searches:
        raise UsageError(f"expected no searches with search {EXACT}, found {len(searches)}; leave one of them out")
