"""A network for frames that are scored several times in a row, with other limits or another gallery."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.network.protocol import Network
from spade_edge.runtime.network.pyramid import Pyramid


class Remembering:
    """A network that remembers its last views, and does not run on them again.

    Args:
        network: that runs on all others.
    """

    def __init__(self, network: Network) -> None:
        self.card, self.provider = network.card, network.provider
        self.node_fractions, self.passed_over = network.node_fractions, network.passed_over
        self._network = network
        self._views: NDArray[np.float32] | None = None
        self._pyramids: Sequence[Pyramid] = ()

    def __call__(self, views: NDArray[np.float32]) -> list[Pyramid]:
        """See `Network`."""
        if self._views is None or not np.array_equal(views, self._views):
            self._pyramids = self._network(views)
            self._views = np.array(views)
        return list(self._pyramids)
