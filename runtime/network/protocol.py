"""The protocol between a scorer and whatever runs the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.pyramid import Pyramid

VIEWS_PER_RUN = 4  # more is no faster on a CPU, and takes memory


class Network(Protocol):
    """Views in, pyramids out. `Session` is one, on onnxruntime.

    Attributes:
        card: the model's card.
        provider: what runs the model.
        node_fractions: provider to the fraction of the network's nodes that it runs; empty if unknown.
        passed_over: the preferred providers that were not obtained, each with the reason.
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
        """Run the network on (N, H, W, 3) float32 BGR, 0 to 255; returns one pyramid per view."""
        ...
