"""The model card as JSON, of this version and of the one before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spade_edge.runtime.errors import ModelError
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.network.card import METADATA_KEY, Level, ModelCard

CARD = ModelCard(
    backbone="timm:a_transformer",
    weights={"source": "random"},
    levels=(Level(12, 14, 768, blocks=(6, 12)),),
    image_level=12,
    image_channels=768,
    view=View(resize=(448, 224), size=(448, 224)),
    precision="fp32",
    parity={},
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
)


def read(value: dict[str, Any]) -> ModelCard:
    return ModelCard.from_metadata({METADATA_KEY: json.dumps(value)}, source="test")


def version_2() -> dict[str, Any]:
    """The card as the version before wrote it: no colours, no blocks, levels up to 9."""
    value = CARD.to_json() | {"schema": 2, "image_level": 3}
    del value["mean"], value["std"]
    value["levels"] = [{"number": 3, "stride": 16, "channels": 1024}]
    return value


def test_a_card_is_read_as_it_was_written() -> None:
    assert ModelCard.from_metadata(CARD.to_metadata(), source="test") == CARD
    assert CARD.grid(CARD.levels[0]) == (32, 16)
    assert (CARD.cells, CARD.side) == (512, 1)


def test_a_card_of_version_2_is_still_read() -> None:
    card = read(version_2())
    assert card.levels == (Level(3, 16, 1024),)
    assert card.mean is card.std is None


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 1},
        {"schema": 4},
        {"schema": 2},  # which has no colours and no blocks
        {"mean": [1.0, 2.0]},
        {"std": "none"},
        {"levels": [{"number": 100, "stride": 16, "channels": 1024, "blocks": []}]},
        {"levels": [{"number": 12, "stride": 16, "channels": 1024, "blocks": [0]}]},
        {"levels": [{"number": 12, "stride": 16, "channels": 1024}]},
    ],
    ids=["1", "4", "2 with colours", "two colours", "text", "level 100", "block 0", "no blocks"],
)
def test_other_cards_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        read(CARD.to_json() | change)
