"""The float32 network in torch, in place of the onnxruntime session: the reference of the parity check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spade_edge.export.pyramid import build_pyramid
from spade_edge.export.weights import read_weights
from spade_edge.runtime.errors import ModelError
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.pyramid import Pyramid


class TorchSession:
    """The float32 network that a model was exported from.

    Args:
        card: of the model.
        weights: "imagenet", or the file that the model was exported from.

    Attributes:
        card: as given.
        provider: "torch".
        node_fractions: all nodes run on torch.
        passed_over: empty.

    Raises:
        DataError: weights that are missing, unreadable or of another network.
        ModelError: the weights are not those of the model.
    """

    def __init__(self, card: ModelCard, *, weights: str | Path) -> None:
        self.card = card
        self.provider = "torch"
        self.node_fractions = {"torch": 1.0}
        self.passed_over: tuple[str, ...] = ()
        self._pyramid = build_pyramid(
            card.backbone,
            levels=card.levels[0].blocks or [level.number for level in card.levels],
            image_level=card.image_level,
            view=card.view,
        )
        found = read_weights(weights, backbone=card.backbone)
        want, have = card.weights.get("sha256"), found.note.get("sha256")
        if want and have and want != have:
            raise ModelError(
                f"expected the weights that the model was exported from, {card.weights.get('file')} with SHA-256 "
                f"{want[:16]}…, found {found.note['file']} with {have[:16]}…"
            )
        self._pyramid.load(found.tensors, source=f"weights {found.note['file']} for {card.backbone}")

    def __call__(self, views: NDArray[np.float32]) -> list[Pyramid]:
        """Run the network: (N, H, W, 3) float32 BGR, 0 to 255, to a pyramid for each view."""
        with torch.inference_mode():
            *levels, images = (output.numpy() for output in self._pyramid(torch.from_numpy(np.array(views))))
        return [Pyramid(levels=tuple(level[i] for level in levels), descriptor=images[i]) for i in range(len(views))]
