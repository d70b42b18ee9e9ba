"""The part of a frame that one network input covers, and how a frame becomes that input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spade_edge.runtime.errors import UsageError
from spade_edge.runtime.fields import Fields

LARGEST_SIDE = 32766  # OpenCV cannot draw on larger images; a larger frame is a mistake


@dataclass(frozen=True)
class View:
    """A frame is resampled to `resize` (height, width); its central `size` (height, width) is the network's input.

    `resize == size`, the default, is the whole frame without a crop. The paper uses resize 256x256 and size 224x224.
    """

    resize: tuple[int, int] = (224, 224)
    size: tuple[int, int] = (224, 224)

    def __post_init__(self) -> None:
        for side, whole in zip(self.size, self.resize, strict=True):
            if side % 32 or side < 32 or side > 8192:
                raise UsageError(
                    f"network input {self.size[0]}x{self.size[1]}: expected each side to be a multiple of 32 "
                    f"from 32 to 8192, found {side}"
                )
            if not side <= whole <= 16384:
                raise UsageError(f"expected a crop ({side}) no larger than the resized frame, found {whole}")

    @property
    def cropped(self) -> bool:
        """Whether the network does not see the border of a frame."""
        return self.resize != self.size

    @property
    def offset(self) -> tuple[int, int]:
        """Rows and columns cut off above and to the left of the network's input."""
        return (self.resize[0] - self.size[0]) // 2, (self.resize[1] - self.size[1]) // 2

    def to_json(self) -> dict[str, Any]:
        """The view as JSON values, as they stand in a manifest or model card."""
        return {"resize": list(self.resize), "size": list(self.size)}

    @classmethod
    def from_fields(cls, fields: Fields) -> View:
        """Read what `to_json` wrote.

        Raises:
            SpadeError: a field is missing, unknown or of another kind.
        """
        resize = fields.integers("resize", count=2, least=1, most=16384)
        size = fields.integers("size", count=2, least=1, most=16384)
        fields.done()
        return cls(resize=(resize[0], resize[1]), size=(size[0], size[1]))
