"""Running the network on the views of the good images, one gallery item at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.network.protocol import Network
from spade_edge.runtime.network.pyramid import Pyramid


class FeatureExtractor:
    """Runs the network on views that are stored in a file, one gallery item at a time.

    Args:
        network: the network.
        file: (N, views, H, W, 3) float32 BGR, 0 to 255, without a header: image by image.
        names: of the N images, for messages and for the gallery.
        views: per image.

    Attributes:
        seconds: that the network has taken so far.
    """

    def __init__(self, network: Network, file: Path, names: tuple[str, ...], views: int) -> None:
        self.card = network.card
        self.names = names
        self.seconds = 0.0
        self._ahead: dict[int, Pyramid] = {}
        self._stored = np.memmap(file, np.float32, "r", shape=(len(names), views, *self.card.view.size, 3))
        self._views = views
        self._network = network

    def __len__(self) -> int:
        """Gallery items."""
        return len(self.names) * self._views

    def __call__(self, item: int) -> Pyramid:
        """The features of a gallery item, one view of an image."""
        if item in self._ahead:
            return self._ahead.pop(item)
        start = perf_counter()
        (pyramid,) = self._network(self.views([item]))
        self.seconds += perf_counter() - start
        return pyramid

    def views(self, items: Sequence[int]) -> NDArray[np.float32]:
        """The views of some gallery items, (n, H, W, 3)."""
        return np.stack([self._stored[item % len(self.names), item // len(self.names)] for item in items])

    def ahead(self, items: Iterable[int]) -> list[Pyramid]:
        """The features of some items, which are kept until each is asked for once more."""
        found = {item: self(item) for item in items}
        self._ahead |= found
        return list(found.values())
