"""From the views of the good images to their features: on disk and as a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.disk import open_reserved
from spade_edge.galleries.encoding import Encode
from spade_edge.galleries.feature_extractor import FeatureExtractor
from spade_edge.galleries.keys import fit_coding
from spade_edge.galleries.progress import Progress
from spade_edge.galleries.staging import Staging
from spade_edge.runtime import ModelError
from spade_edge.runtime.matching.gallery import CodedGallery, Gallery, squared_lengths

FITTED, FEWEST, MOST = 0.1, 8, 32  # fraction and number of the gallery items that the coding is fitted to


def extract_codes(
    stage: Staging,
    extract: FeatureExtractor,
    *,
    normalisation: str,
    included: NDArray[np.bool_],
    threads: int | None,
    encode: Encode,
    progress: Progress,
) -> tuple[CodedGallery, NDArray[np.uint8]]:
    """Run the network on each view and store the features as codes.

    The coding is fitted to a tenth of the included gallery items, evenly spaced. Only those are ever held in float32;
    every item is encoded as soon as it is extracted.

    Args:
        stage: the bundle.
        extract: the features.
        normalisation: of the features before they are coded.
        included: (items,) bool, the items to fit the coding to.
        threads: of the coding.
        encode: from features to the records of all items, here or elsewhere.
        progress: wraps the items, with a label.

    Returns:
        the gallery, mapped from its files, and the keys of its cells, (items * cells, D) uint8.
    """
    card, count = extract.card, len(extract)
    known = np.flatnonzero(included)
    some = min(len(known), MOST, max(FEWEST, int(len(known) * FITTED)))
    fitted = np.unique(known[np.linspace(0, len(known) - 1, some).round().astype(int)]).tolist()
    coding = fit_coding(extract.ahead(progress(fitted, "fitting the coding")), card, normalisation=normalisation)

    cells = card.cells
    arrays = _Arrays(stage)
    for level in card.levels:
        arrays.create(level.output, (count, card.positions(level), level.channels), np.uint8)
    arrays.create("squares", (count * cells, card.side**2), np.float32)
    arrays.create("descriptors", (count, card.image_channels), np.float32)
    keys = np.empty((count * cells, coding.key_weights.shape[1]), np.uint8)
    start = 0
    for records in encode(extract, coding, threads, progress):
        end = start + len(records)
        own = slice(start * cells, end * cells)
        for level in card.levels:
            arrays[level.output][start:end] = records[level.output]
        arrays["descriptors"][start:end] = records["descriptor"]
        arrays["squares"][own] = records["squares"].reshape(-1, card.side**2)
        keys[own] = records["keys"].reshape(-1, keys.shape[1])
        start = end
    mapped = arrays.finish()
    stage.add_array("key_weights", coding.key_weights)
    gallery = CodedGallery(
        card=card,
        levels=tuple(mapped[level.output] for level in card.levels),
        descriptors=mapped["descriptors"],
        names=extract.names,
        coding=coding,
        squares=mapped["squares"],
    )
    return gallery, keys


def extract_levels(stage: Staging, extract: FeatureExtractor, *, progress: Progress) -> Gallery:
    """Run the network on each view and store the features in float32.

    Raises:
        ModelError: features that are not finite.
    """
    card, count = extract.card, len(extract)
    arrays = _Arrays(stage)
    for level in card.levels:
        arrays.create(level.output, (count, *card.grid(level), level.channels), np.float32)
    arrays.create("squares", (count, *card.grid(card.levels[0])), np.float32)
    arrays.create("descriptors", (count, card.image_channels), np.float32)
    for item in progress(range(count), "extracting features"):
        pyramid = extract(item)
        if not all(np.isfinite(level).all() for level in pyramid.levels):
            name = extract.names[item % len(extract.names)]
            raise ModelError(f"expected finite features of {name}, found others; export the model again")
        for level, values in zip(card.levels, pyramid.levels, strict=True):
            arrays[level.output][item] = values
        arrays["descriptors"][item] = pyramid.descriptor
        arrays["squares"][item] = squared_lengths(pyramid)
    mapped = arrays.finish()
    return Gallery(
        card=card,
        levels=tuple(mapped[level.output] for level in card.levels),
        descriptors=mapped["descriptors"],
        names=extract.names,
        squares=mapped["squares"],
    )


class _Arrays(dict[str, NDArray[Any]]):
    """Arrays of a bundle, written row by row into files whose disk space is reserved at the start."""

    def __init__(self, stage: Staging) -> None:
        super().__init__()
        self._stage = stage

    def create(self, role: str, shape: tuple[int, ...], dtype: type[Any]) -> None:
        self[role] = open_reserved(self._path(role), dtype, shape)

    def finish(self) -> dict[str, NDArray[Any]]:
        """Add the files to the bundle; returns the arrays, mapped for reading."""
        kept = {}
        for role in tuple(self):
            self.pop(role).flush()  # type: ignore[attr-defined]
            # The array is closed now: Windows does not rename files that are mapped.
            kept[role] = np.load(self._stage.add(role, self._path(role)), mmap_mode="r", allow_pickle=False)
        return kept

    def _path(self, role: str) -> Path:
        return self._stage.scratch(f"{role}.npy")
