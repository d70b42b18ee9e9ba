"""The model card: what `export` writes into the ONNX file about the model, and everything else reads.

    input   frames   (N, H, W, 3) float32 BGR, 0 to 255; N free, H and W fixed
    output  levelL   (N, h, w, C) float32, one for each level L of the pyramid, finest first
    output  image    (N, C) float32, the global descriptor F(x) of the paper's stage 1

Input is BGR, 0 to 255. Colour order, mean and standard deviation are inside the graph, so a caller cannot mistake them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spade_edge.runtime.errors import ModelError, UsageError
from spade_edge.runtime.fields import Fields, parse
from spade_edge.runtime.geometry.view import View

METADATA_KEY = "spade_edge"
SCHEMA = 3
READABLE = (2, 3)  # version 2 has neither colours nor blocks
HIGHEST = 99  # number of a level
INPUT = "frames"
DESCRIPTOR = "image"


@dataclass(frozen=True)
class Level:
    """One level of the pyramid.

    Attributes:
        number: the paper's block; for a transformer, the last of its blocks that the level is taken from.
        stride: in pixels of the network's input.
        channels: number of features at each position.
        blocks: of a transformer, whose features stand one after another in the channels; else empty.
    """

    number: int
    stride: int
    channels: int
    blocks: tuple[int, ...] = ()

    @property
    def output(self) -> str:
        return f"level{self.number}"


@dataclass(frozen=True)
class ModelCard:
    """Everything about a model that scoring depends on.

    Attributes:
        backbone: the network's name, e.g. "wide_resnet50_2".
        weights: source and SHA-256 of the weights, as information for people.
        levels: the pyramid, finest level first.
        image_level: the level whose global average is the global descriptor; 4 in the paper.
        image_channels: length of the global descriptor.
        view: how a frame becomes the network's input.
        precision: "fp32", "fp16" or "int8".
        parity: difference from the torch network per output, measured by `export`.
        quantization: how an int8 model was quantized, as information for people, and its "target", "cpu" or "tensorrt";
            empty for other precisions.
        mean, std: of the network's training images, RGB, on a scale of 0 to 255, as information for people: the graph
            normalises colours itself. None on a card of version 2.
    """

    backbone: str
    weights: dict[str, Any]
    levels: tuple[Level, ...]
    image_level: int
    image_channels: int
    view: View
    precision: str
    parity: dict[str, Any]
    quantization: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        strides = [level.stride for level in self.levels]
        if not strides or strides != sorted(set(strides)):
            raise ModelError(f"expected one or more levels, finest first, found strides {strides}")
        if any(side % strides[-1] for side in self.view.size) or any(strides[-1] % stride for stride in strides):
            raise ModelError(f"expected strides that divide each other and the view {self.view.size}, found {strides}")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names in the order in which they are read: the levels, then the global descriptor."""
        return (*(level.output for level in self.levels), DESCRIPTOR)

    def grid(self, level: Level) -> tuple[int, int]:
        """Positions of a level, (rows, columns)."""
        return self.view.size[0] // level.stride, self.view.size[1] // level.stride

    def positions(self, level: Level) -> int:
        """Number of positions of a level."""
        rows, columns = self.grid(level)
        return rows * columns

    def span(self, level: Level) -> int:
        """Positions of a level along one side of a cell; a cell is one position of the coarsest level."""
        return self.levels[-1].stride // level.stride

    @property
    def side(self) -> int:
        """Number of embeddings, or positions of the finest level, along one side of a cell."""
        return self.span(self.levels[0])

    @property
    def cells(self) -> int:
        """Number of cells of a view."""
        return self.positions(self.levels[-1])

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each output, without the batch axis."""
        shapes: dict[str, tuple[int, ...]] = {
            level.output: (*self.grid(level), level.channels) for level in self.levels
        }
        return shapes | {DESCRIPTOR: (self.image_channels,)}

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "backbone": self.backbone,
            "weights": self.weights,
            "levels": [
                {"number": x.number, "stride": x.stride, "channels": x.channels, "blocks": list(x.blocks)}
                for x in self.levels
            ],
            "image_level": self.image_level,
            "image_channels": self.image_channels,
            "view": self.view.to_json(),
            "colour": "BGR",
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
            "precision": self.precision,
            "parity": self.parity,
            "quantisation": self.quantization,
        }

    def to_metadata(self) -> dict[str, str]:
        """The ONNX file's metadata properties."""
        return {METADATA_KEY: json.dumps(self.to_json(), allow_nan=False)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, source: str) -> ModelCard:
        """Read the card from the ONNX file's metadata properties.

        Raises:
            ModelError: there is no card, or this version does not understand it.
        """
        if METADATA_KEY not in metadata:
            raise ModelError(
                f"{source}: expected an ONNX model written by 'spade-edge export', found one without its card"
            )
        fields = parse(metadata[METADATA_KEY], where=f"{source}: model card", error=ModelError)
        return cls.from_fields(fields, source=source)

    @classmethod
    def from_fields(cls, fields: Fields, *, source: str) -> ModelCard:
        """Read the card from a JSON object.

        Raises:
            ModelError: this version does not understand it.
        """
        schema = fields.integer("schema")
        if schema not in READABLE:
            raise ModelError(
                f"{source}: expected model card version {SCHEMA}, found {schema}; export it again or update"
            )
        backbone = fields.text("backbone")
        weights = fields.open_object("weights")
        levels = []
        for item in fields.items("levels"):
            levels.append(
                Level(
                    number=item.integer("number", least=1, most=HIGHEST),
                    stride=item.integer("stride", least=1, most=256),
                    channels=item.integer("channels", least=1, most=65536),
                    blocks=item.integers("blocks", least=1, most=HIGHEST) if schema >= 3 else (),
                )
            )
            item.done()
        image_level = fields.integer("image_level", least=1, most=HIGHEST)
        image_channels = fields.integer("image_channels", least=1, most=65536)
        try:
            view = View.from_fields(fields.object("view"))
        except UsageError as problem:
            raise ModelError(f"{source}: {problem}") from None
        fields.text("colour", among=("BGR",))
        mean, std = (fields.numbers_or_none(name, count=3) if schema >= 3 else None for name in ("mean", "std"))
        precision = fields.text("precision", among=("fp32", "fp16", "int8"))
        parity = fields.open_object("parity")
        quantization = fields.open_object("quantisation")
        fields.done()
        return cls(
            backbone=backbone,
            weights=weights,
            levels=tuple(levels),
            image_level=image_level,
            image_channels=image_channels,
            view=view,
            precision=precision,
            parity=parity,
            quantization=quantization,
            mean=mean,
            std=std,
        )
