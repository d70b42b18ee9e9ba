"""What a pyramid model says of itself: the card that `export` writes into the ONNX file and everything else reads.

    input   frames   (N, H, W, 3) float32 BGR, 0 to 255; N free, H and W fixed
    output  levelL   (N, h, w, C) float32, one for each level L of the pyramid, finest first
    output  image    (N, C) float32, the image vector F(x) of the paper's stage 1

Colour order, mean and standard deviation are inside the graph, so nobody can get them wrong outside.
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
SCHEMA = 2
INPUT = "frames"
DESCRIPTOR = "image"


@dataclass(frozen=True)
class Level:
    """One level of the pyramid: `number` is the paper's block, `stride` its step in pixels of the network's input."""

    number: int
    stride: int
    channels: int

    @property
    def output(self) -> str:
        return f"level{self.number}"


@dataclass(frozen=True)
class ModelCard:
    """Everything about a model that scoring depends on.

    Attributes:
        backbone: the network's name, e.g. "wide_resnet50_2".
        weights: where they came from, for people to read: source and SHA-256.
        levels: the pyramid, finest level first.
        image_level: the level whose global average is the image vector; the paper's is 4.
        image_channels: length of the image vector.
        view: how a frame becomes the network's input.
        precision: "fp32", "fp16" or "int8".
        parity: difference to the torch network by output, as `export` measured it.
        quantization: how an int8 model was made, for people to read, and its "target", "cpu" or "tensorrt"; empty for
            the others.
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

    def __post_init__(self) -> None:
        strides = [level.stride for level in self.levels]
        if not strides or strides != sorted(set(strides)):
            raise ModelError(f"expected one or more levels, finest first, found strides {strides}")
        if any(side % strides[-1] for side in self.view.size) or any(strides[-1] % stride for stride in strides):
            raise ModelError(f"expected strides that divide each other and the view {self.view.size}, found {strides}")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names in the order they are read: the levels, then the image vector."""
        return (*(level.output for level in self.levels), DESCRIPTOR)

    def grid(self, level: Level) -> tuple[int, int]:
        """Positions of a level, (rows, columns)."""
        return self.view.size[0] // level.stride, self.view.size[1] // level.stride

    def positions(self, level: Level) -> int:
        """Positions of a level."""
        rows, columns = self.grid(level)
        return rows * columns

    def span(self, level: Level) -> int:
        """Positions of a level along one side of a cell; a cell is one position of the coarsest level."""
        return self.levels[-1].stride // level.stride

    @property
    def side(self) -> int:
        """Embeddings along one side of a cell: positions of the finest level."""
        return self.span(self.levels[0])

    @property
    def cells(self) -> int:
        """Cells of a view."""
        return self.positions(self.levels[-1])

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each output without the batch axis."""
        shapes: dict[str, tuple[int, ...]] = {
            level.output: (*self.grid(level), level.channels) for level in self.levels
        }
        return shapes | {DESCRIPTOR: (self.image_channels,)}

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "backbone": self.backbone,
            "weights": self.weights,
            "levels": [{"number": x.number, "stride": x.stride, "channels": x.channels} for x in self.levels],
            "image_level": self.image_level,
            "image_channels": self.image_channels,
            "view": self.view.to_json(),
            "colour": "BGR",
            "precision": self.precision,
            "parity": self.parity,
            "quantisation": self.quantization,
        }

    def to_metadata(self) -> dict[str, str]:
        """The ONNX file's metadata properties."""
        return {METADATA_KEY: json.dumps(self.to_json(), allow_nan=False)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, source: str) -> ModelCard:
        """Read the card back.

        Raises:
            ModelError: no card, or one that this version does not understand.
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
            ModelError: it is not one that this version understands.
        """
        schema = fields.integer("schema")
        if schema != SCHEMA:
            raise ModelError(
                f"{source}: expected model card version {SCHEMA}, found {schema}; export it again or update"
            )
        backbone = fields.text("backbone")
        weights = fields.open_object("weights")
        levels = []
        for item in fields.items("levels"):
            levels.append(
                Level(
                    number=item.integer("number", least=1, most=9),
                    stride=item.integer("stride", least=1, most=256),
                    channels=item.integer("channels", least=1, most=65536),
                )
            )
            item.done()
        image_level = fields.integer("image_level", least=1, most=9)
        image_channels = fields.integer("image_channels", least=1, most=65536)
        try:
            view = View.from_fields(fields.object("view"))
        except UsageError as problem:
            raise ModelError(f"{source}: {problem}") from None
        fields.text("colour", among=("BGR",))
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
        )
