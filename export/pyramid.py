"""The truncated network in torch: from views to the levels and the global descriptor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from spade_edge.export.backbones import BACKBONES, Backbone
from spade_edge.export.weights import load
from spade_edge.runtime.errors import UsageError
from spade_edge.runtime.network.card import DESCRIPTOR, Level


class TorchPyramid(nn.Module):
    """A backbone up to the last level that is used.

    Args:
        backbone: the network.
        levels: numbers of the pyramid's levels, ascending, of 1 to 3.
        image_level: the level whose spatial mean is the global descriptor.

    Attributes:
        backbone: the network's name.
        levels: the pyramid, finest level first.
        image_level, image_channels: the level that the global descriptor is taken from, and its length.
        outputs: names of the outputs of `forward`, in order.
        stages: the network; tensors are named as in weights files, after the number of the stage.
    """

    mean: torch.Tensor
    std: torch.Tensor
    rgb: torch.Tensor

    def __init__(self, backbone: Backbone, *, levels: Sequence[int], image_level: int) -> None:
        super().__init__()
        self.backbone = backbone.name
        self.levels: tuple[Level, ...] = tuple(backbone.levels[number - 1] for number in levels)
        self.image_level = image_level
        self.image_channels = backbone.levels[image_level - 1].channels
        self.outputs = (*(level.output for level in self.levels), DESCRIPTOR)
        self.stages = nn.ModuleList(backbone.stages()[: max(*levels, image_level)])
        self.register_buffer("mean", torch.tensor(backbone.mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).reshape(3, 1, 1))
        self.register_buffer("rgb", torch.tensor([2, 1, 0]))
        self.eval()

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the pyramid.

        Args:
            frames: (N, H, W, 3) float32 BGR, 0 to 255; H and W are multiples of 32.

        Returns:
            (N, h, w, C) float32 for each level, finest first, then the global descriptor, (N, C) float32.
        """
        # Normalised here and not inside the first convolution, whose zero padding stands for the mean colour. Channels
        # first, because onnxruntime is slower at broadcasting over a last axis of 3 (224x224, input to first Relu: 1.2
        # instead of 0.8 ms).
        x = frames.permute(0, 3, 1, 2)  # NHWC -> NCHW
        x = (x.index_select(1, self.rgb) - self.mean) / self.std
        taken: dict[int, torch.Tensor] = {}
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            taken[number] = x
        levels = (taken[level.number].permute(0, 2, 3, 1) for level in self.levels)  # NCHW -> NHWC
        image = functional.adaptive_avg_pool2d(taken[self.image_level], 1).flatten(1)
        return (*levels, image)


def build_pyramid(
    backbone: str,
    *,
    levels: Sequence[int] = (1, 2, 3),
    image_level: int | None = None,
    state: Mapping[str, object] | None = None,
) -> TorchPyramid:
    """Build a pyramid from a backbone.

    Args:
        backbone: a name of `BACKBONES`.
        levels: one or more of 1, 2 and 3, ascending.
        image_level: 3, 4, or None for the last of `levels`.
        state: a state dict, as from `torch.load`; None leaves torch's random weights (by the caller's seed).

    Returns:
        The pyramid in evaluation mode, on the CPU, float32.

    Raises:
        UsageError: an unknown backbone, level or image level.
        DataError: `state` does not fit the network.
    """
    if backbone not in BACKBONES:
        raise UsageError(f"expected a backbone of {', '.join(BACKBONES)}, found '{backbone}'")
    numbers = list(levels)
    if not numbers or any(number not in (1, 2, 3) for number in numbers) or numbers != sorted(set(numbers)):
        found = ", ".join(map(str, numbers)) or "none"
        raise UsageError(f"expected one or more of the levels 1, 2 and 3, each once and ascending, found {found}")
    # The last level is accepted by number too, because the card of a model exported without an image level states it.
    if image_level not in (None, 3, 4, numbers[-1]):
        raise UsageError(f"expected the image level 3, 4 or none (then it is {numbers[-1]}), found {image_level}")
    pyramid = TorchPyramid(BACKBONES[backbone], levels=numbers, image_level=image_level or numbers[-1])
    if state is not None:
        load(pyramid.stages, state, source=f"weights of {backbone}")
    return pyramid
