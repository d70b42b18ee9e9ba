"""Model cards of networks that do not exist, for tests that bring features of their own."""

from __future__ import annotations

from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.network.card import Level, ModelCard


def card_of(size: tuple[int, int], *levels: tuple[int, int]) -> ModelCard:
    """A card with a view of `size` and levels of (stride, channels)."""
    return ModelCard(
        backbone="none",
        weights={},
        levels=tuple(Level(number, *level) for number, level in enumerate(levels, start=1)),
        image_level=len(levels),
        image_channels=levels[-1][1],
        view=View(resize=size, size=size),
        precision="fp32",
        parity={},
    )


CARDS = {
    "three levels": card_of((64, 64), (4, 5), (8, 7), (16, 9)),
    "not square": card_of((32, 96), (4, 5), (8, 6), (16, 7)),
    "two levels": card_of((64, 64), (8, 4), (16, 6)),
    "a level left out": card_of((64, 32), (4, 3), (32, 5)),
    "the third level alone": card_of((64, 32), (16, 6)),
    "one cell": card_of((32, 32), (8, 4), (16, 3), (32, 5)),
}
