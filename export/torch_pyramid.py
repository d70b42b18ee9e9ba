"""A network in torch: from views to the levels and the global descriptor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from spade_edge.runtime.network.card import DESCRIPTOR, Level


class TorchPyramid(nn.Module):
    """A backbone up to the last level that is used; its subclasses say what computes the feature maps.

    Args:
        backbone: the network's name.
        levels: the pyramid, finest level first.
        image_level: the level whose spatial mean is the global descriptor.
        image_channels: length of the global descriptor.
        mean, std: of the network's training images, RGB, on a scale of 0 to 255.

    Attributes:
        backbone, levels, image_level, image_channels: as given.
        outputs: names of the outputs of `forward`, in order.
    """

    mean: torch.Tensor
    std: torch.Tensor
    rgb: torch.Tensor

    def __init__(
        self,
        *,
        backbone: str,
        levels: Sequence[Level],
        image_level: int,
        image_channels: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.levels: tuple[Level, ...] = tuple(levels)
        self.image_level = image_level
        self.image_channels = image_channels
        self.outputs = (*(level.output for level in self.levels), DESCRIPTOR)
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1))
        self.register_buffer("rgb", torch.tensor([2, 1, 0]))

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
        taken = self.maps(x)
        levels = (taken[level.number].permute(0, 2, 3, 1) for level in self.levels)  # NCHW -> NHWC
        image = functional.adaptive_avg_pool2d(taken[self.image_level], 1).flatten(1)
        return (*levels, image)

    def maps(self, colours: torch.Tensor) -> Mapping[int, torch.Tensor]:
        """The feature maps, (N, C, h, w), by level, from normalised colours, (N, 3, H, W) RGB."""
        raise NotImplementedError

    def load(self, tensors: Mapping[str, object], *, source: str) -> None:
        """Copy weights into the network as float32; tensors that it does not use are ignored.

        Raises:
            DataError: a tensor is missing, has another shape, or is not floating point or not finite.
        """
        raise NotImplementedError
