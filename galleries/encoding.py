"""Gallery items as records: the codes of an item, its descriptor, and what its cells are searched and compared by.

An item is encoded from its own pixels, the network and the coding, and from nothing else. So it does not matter who
encodes it. `encode` does it here, one item after the other; parts of the items may as well be encoded elsewhere, by
`encode_file`, and come back as the same records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.disk import open_reserved
from spade_edge.galleries.feature_extractor import FeatureExtractor
from spade_edge.galleries.progress import Progress
from spade_edge.runtime.matching.coding import Coder, Coding
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.session import Session

Records: TypeAlias = NDArray[Any]  # (n,) of `record`, one for each gallery item
# From features, coding and number of threads to the records of all items, in order, some at a time.
Encode: TypeAlias = Callable[[FeatureExtractor, Coding, "int | None", Progress], Iterable[Records]]


def record(card: ModelCard, coding: Coding) -> np.dtype[np.void]:
    """What a gallery keeps of an item.

    For each level, under the name of its output, (positions, C) uint8 codes; "descriptor", (D,) float32; "squares",
    (cells, side * side) float32; "keys", (cells, D) uint8.
    """
    return np.dtype(
        [
            *[(level.output, np.uint8, (card.positions(level), level.channels)) for level in card.levels],
            ("descriptor", np.float32, (card.image_channels,)),
            ("squares", np.float32, (card.cells, card.side**2)),
            ("keys", np.uint8, (card.cells, coding.key_weights.shape[1])),
        ]
    )


def encode(extract: FeatureExtractor, coding: Coding, threads: int | None, progress: Progress) -> Iterator[Records]:
    """Encode every item in this process, one at a time.

    Args:
        extract: the features of the items.
        coding: how they become codes.
        threads: of the coding; None for one per core.
        progress: wraps the items, with a label.

    Raises:
        ModelError: features that are not finite.
    """
    card, coder = extract.card, Coder(extract.card, coding, threads=threads)
    for item in progress(range(len(extract)), "extracting features"):
        pyramid = extract(item)
        coded = coder([pyramid])
        one = np.empty(1, record(card, coding))
        for level, codes in zip(card.levels, coded.levels, strict=True):
            one[level.output] = codes
        one["descriptor"] = pyramid.descriptor
        one["squares"] = coder.windows(coded).squares
        one["keys"] = coded.keys
        yield one


def encode_file(
    views: Path, records: Path, *, count: int, model: Path, source: str, coding: Coding, threads: int | None
) -> None:
    """Encode views that are stored in a file, into another file.

    Args:
        views: (count, H, W, 3) float32 BGR, 0 to 255, without a header.
        records: an .npy file to write, (count,) of `record`.
        count: of the views.
        model: the network's file.
        source: what messages call the model.
        coding: how features become codes.
        threads: of network and coding; None for one per core.

    Raises:
        ModelError: the model is not a feature pyramid, or its features are not finite.
        OSError: a file cannot be read or written.
    """
    session = Session.open(model, threads=threads, source=source)
    extract = FeatureExtractor(session, views, tuple(map(str, range(count))), 1)
    target = open_reserved(records, record(session.card, coding), (count,))
    for item, one in enumerate(encode(extract, coding, threads, lambda items, label: items)):
        target[item] = one[0]
    target.flush()  # type: ignore[attr-defined]
