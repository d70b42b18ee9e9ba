"""From the views of the good images to their features, on the disk and as a gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.keys import fit_coding
from spade_edge.galleries.staging import Staging, open_reserved
from spade_edge.runtime import ModelError
from spade_edge.runtime.matching.coding import Coder
from spade_edge.runtime.matching.gallery import CodedGallery, Gallery, squared_lengths
from spade_edge.runtime.network.pyramid import Pyramid
from spade_edge.runtime.network.session import Session

FITTED, FEWEST, MOST = 0.1, 8, 32  # share and number of the entries that the coding is fitted to

Progress = Callable[[Iterable[Any], str], Iterable[Any]]


class Pyramids:
    """What the network says of views that lie in a file, as entries of a gallery: view by view.

    Args:
        session: the network.
        file: (N, views, H, W, 3) float32 without a header: image by image, as they were read.
        names: of the N images, for messages and for the gallery.
        views: of an image.

    Attributes:
        seconds: that the network has taken so far.
    """

    def __init__(self, session: Session, file: Path, names: tuple[str, ...], views: int) -> None:
        self.card = session.card
        self.names = names
        self.seconds = 0.0
        self._seen = np.memmap(file, np.float32, "r", shape=(len(names), views, *self.card.view.size, 3))
        self._views = views
        self._session = session

    def __len__(self) -> int:
        """Entries."""
        return len(self.names) * self._views

    def __call__(self, entry: int) -> Pyramid:
        """Run the network on one view."""
        view, image = divmod(entry, len(self.names))
        start = perf_counter()
        (pyramid,) = self._session(np.asarray(self._seen[image, view : view + 1]))
        self.seconds += perf_counter() - start
        return pyramid


def extract_codes(
    stage: Staging, pyramids: Pyramids, *, threads: int | None, progress: Progress
) -> tuple[CodedGallery, NDArray[np.uint8]]:
    """Run the network over the views, one by one as on the line, and write what it says in codes.

    The coding is fitted to a tenth of the entries, evenly spaced; every one is then coded as it comes, and only those
    it was fitted to are ever held in float32.

    Returns:
        the gallery, mapped from its files, and the keys of its cells, (entries * cells, D) uint8.
    """
    card, count = pyramids.card, len(pyramids)
    some = min(count, MOST, max(FEWEST, int(count * FITTED)))
    fitted = np.unique(np.linspace(0, count - 1, some).round().astype(int)).tolist()
    known = {i: pyramids(i) for i in progress(fitted, "fitting the coding")}
    coding = fit_coding(list(known.values()), card)
    coder = Coder(card, coding, threads=threads)

    cells = card.cells
    arrays = _Arrays(stage)
    for level in card.levels:
        arrays.create(level.output, (count, card.positions(level), level.channels), np.uint8)
    arrays.create("squares", (count * cells, card.side**2), np.float32)
    arrays.create("images", (count, card.image_channels), np.float32)
    keys = np.empty((count * cells, coding.key_weights.shape[1]), np.uint8)
    for i in progress(range(count), "extracting features"):
        pyramid = known.pop(i) if i in known else pyramids(i)
        coded = coder([pyramid])
        for level, codes in zip(card.levels, coded.levels, strict=True):
            arrays[level.output][i] = codes[0]
        arrays["images"][i] = pyramid.descriptor
        own = slice(i * cells, (i + 1) * cells)
        arrays["squares"][own] = coder.windows(coded).squares
        keys[own] = coded.keys
    mapped = arrays.finish()
    stage.add_array("key_weights", coding.key_weights)
    gallery = CodedGallery(
        card=card,
        levels=tuple(mapped[level.output] for level in card.levels),
        descriptors=mapped["images"],
        names=pyramids.names,
        coding=coding,
        squares=mapped["squares"],
    )
    return gallery, keys


def extract_levels(stage: Staging, pyramids: Pyramids, *, progress: Progress) -> Gallery:
    """Run the network over the views, one by one as on the line, and write what it says as it is."""
    card, count = pyramids.card, len(pyramids)
    arrays = _Arrays(stage)
    for level in card.levels:
        arrays.create(level.output, (count, *card.grid(level), level.channels), np.float32)
    arrays.create("squares", (count, *card.grid(card.levels[0])), np.float32)
    arrays.create("images", (count, card.image_channels), np.float32)
    for i in progress(range(count), "extracting features"):
        pyramid = pyramids(i)
        if not all(np.isfinite(level).all() for level in pyramid.levels):
            name = pyramids.names[i % len(pyramids.names)]
            raise ModelError(f"expected finite features of {name}, found others; export the model again")
        for level, values in zip(card.levels, pyramid.levels, strict=True):
            arrays[level.output][i] = values
        arrays["images"][i] = pyramid.descriptor
        arrays["squares"][i] = squared_lengths(pyramid)
    mapped = arrays.finish()
    return Gallery(
        card=card,
        levels=tuple(mapped[level.output] for level in card.levels),
        descriptors=mapped["images"],
        names=pyramids.names,
        squares=mapped["squares"],
    )


class _Arrays(dict[str, NDArray[Any]]):
    """Arrays of a bundle, written row by row to files whose room is taken at the start."""

    def __init__(self, stage: Staging) -> None:
        super().__init__()
        self._stage = stage
        self._paths: dict[str, Path] = {}

    def create(self, role: str, shape: tuple[int, ...], dtype: type[Any]) -> None:
        path = self._paths[role] = self._stage.scratch(f"{role}.npy")
        self[role] = open_reserved(path, dtype, shape)

    def finish(self) -> dict[str, NDArray[Any]]:
        """Take the files into the bundle; gives the arrays, mapped for reading."""
        for array in self.values():
            array.flush()  # type: ignore[attr-defined]
        self.clear()
        kept = {role: self._stage.add(role, path) for role, path in self._paths.items()}
        return {role: np.load(path, mmap_mode="r", allow_pickle=False) for role, path in kept.items()}
