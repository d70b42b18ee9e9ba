"""Galleries of any size in memory, grown from that of a bundle, so that matching can be measured without building them.

The images of the bundle come first; further ones repeat them, the lowest bit of each code inverted at random and the
keys moved by up to 2. Time and memory depend on the sizes alone, and equal cells would be left out of a search.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import UsageError
from spade_edge.runtime.matching.coding import LARGEST, Coder
from spade_edge.runtime.matching.config import HNSW, PER_VIEW, PLACE, Matching
from spade_edge.runtime.matching.gallery import CodedGallery, Features
from spade_edge.runtime.matching.graph_search import GraphSearch
from spade_edge.runtime.matching.hnsw import Index
from spade_edge.runtime.matching.matcher import Matcher

REACH = 1  # cells in each direction, as `build` chooses it
BY_PLACE, ANYWHERE = 6, 12  # candidates, as `build` chooses them


class GrownGallery:
    """A gallery of as many images as are wanted, of one view each, and what matches with the first few of them.

    Args:
        base: the gallery of a bundle, in codes; of its views the first one is taken.
        count: number of images.
        seed: of what tells images apart.

    Attributes:
        keys: (count * cells, D) uint8.
        megabytes_an_image: of codes, squared lengths and keys.

    Raises:
        UsageError: the bundle has no codes.
    """

    def __init__(self, base: Features, count: int, *, seed: int = 0) -> None:
        if not isinstance(base, CodedGallery):
            raise UsageError("expected a bundle with codes, found one built with --projection none")
        random = np.random.default_rng(seed)
        self._card, known, cells = base.card, len(base), base.card.cells
        coder = Coder(base.card, base.coding, threads=None)
        own = [coder.with_keys(tuple(level[np.newaxis] for level in base.codes(item))).keys for item in range(known)]
        levels = [np.empty((count, *level.shape[1:]), np.uint8) for level in base.levels]
        squares = np.empty((count, cells, base.squares.shape[1]), np.float32)
        keys = np.empty((count, *own[0].shape), np.uint8)
        for item in range(count):
            source = item % known
            again = item >= known
            for level, codes in zip(levels, base.codes(source), strict=True):
                level[item] = codes
                if again:
                    level[item] ^= np.frombuffer(random.bytes(codes.size), np.uint8).reshape(codes.shape) & 1
            moved = random.integers(-2, 3, own[source].shape) if again else 0
            keys[item] = np.clip(own[source].astype(np.int16) + moved, 0, LARGEST)
            squares[item] = base.squares[source * cells : (source + 1) * cells]
        self.keys = keys.reshape(-1, keys.shape[2])
        self._whole = CodedGallery(
            card=base.card,
            levels=tuple(levels),
            descriptors=np.resize(base.descriptors[:known], (count, base.descriptors.shape[1])),
            names=tuple(f"{item:06d}" for item in range(count)),
            coding=base.coding,
            squares=squares.reshape(count * cells, -1),
        )
        arrays = (*levels, squares, keys)
        self.megabytes_an_image = sum(array.nbytes for array in arrays) / 1e6 / count

    def by_place(self, images: int, matching: Matching) -> Matcher:
        """Matches with the first images, each cell at about its place."""
        matching = replace(matching, search=PLACE, place=REACH, candidates=BY_PLACE, gallery=PER_VIEW)
        return Matcher(self._first(images), matching, keys=self.keys[: images * self._card.cells])

    def anywhere(self, images: int, matching: Matching, *, index: Index | None = None) -> Matcher:
        """Matches with the first images at any place: with every key or, with an index, as a bundle is searched."""
        keys = self.keys[: images * self._card.cells]
        every = Index(
            keys=keys,
            labels=np.arange(len(keys)),
            links=np.full((len(keys), 1), len(keys), np.int32),  # none
            seeds=np.zeros(1, np.int64),
        )
        search = (
            GraphSearch(every, threads=None, exhaustive=len(keys))
            if index is None
            else GraphSearch(index, threads=None)
        )
        matching = replace(matching, search=HNSW, place=None, candidates=ANYWHERE)
        return Matcher(self._first(images), matching, searches=[search])

    def first_keys(self, images: int) -> NDArray[np.uint8]:
        """The keys of the first images."""
        return self.keys[: images * self._card.cells]

    def _first(self, images: int) -> CodedGallery:
        whole = self._whole
        return replace(
            whole,
            levels=tuple(level[:images] for level in whole.levels),
            descriptors=whole.descriptors[:images],
            names=whole.names[:images],
            squares=whole.squares[: images * self._card.cells],
        )
