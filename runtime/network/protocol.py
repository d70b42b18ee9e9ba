"""What a scorer asks of whatever runs the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.pyramid import Pyramid

VIEWS_PER_RUN = 4  # views that go through the network together; more is no faster on a CPU and takes memory


class Network(Protocol):
    """Views in, pyramids out. `Session` is one, on onnxruntime.

    Attributes:
        card: of the model.
        provider: what runs it.
        node_fractions: provider to the fraction of the network's nodes that it runs; empty where it is not known.
        passed_over: what would have been preferred to this provider, and why it was not obtained.
    """

    @property
    def card(self) -> ModelCard: ...

    @property
    def provider(self) -> str: ...

    @property
    def node_fractions(self) -> Mapping[str, float]: ...

    @property
    def passed_over(self) -> tuple[str, ...]: ...

    def __call__(self, views: NDArray[np.float32]) -> list[Pyramid]:
        """Run: (N, H, W, 3) float32 BGR, 0 to 255, to a pyramid for each view."""
        ...
