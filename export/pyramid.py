"""The truncated networks: which backbone, up to which level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from spade_edge.export import timm_pyramid
from spade_edge.export.backbones import BACKBONES, Backbone
from spade_edge.export.timm_pyramid import PREFIX, TimmPyramid
from spade_edge.export.torch_pyramid import TorchPyramid
from spade_edge.export.weights import load
from spade_edge.runtime.errors import UsageError
from spade_edge.runtime.geometry.view import View


class StagedPyramid(TorchPyramid):
    """A backbone in stages, one for each level.

    Args:
        backbone: the network.
        levels: numbers of the pyramid's levels, ascending, of 1 to 3.
        image_level: the level whose spatial mean is the global descriptor.

    Attributes:
        stages: the network; tensors are named as in weights files, after the number of the stage.
    """

    def __init__(self, backbone: Backbone, *, levels: Sequence[int], image_level: int) -> None:
        super().__init__(
            backbone=backbone.name,
            levels=[backbone.levels[number - 1] for number in levels],
            image_level=image_level,
            image_channels=backbone.levels[image_level - 1].channels,
            mean=backbone.mean,
            std=backbone.std,
        )
        self.stages = nn.ModuleList(backbone.stages()[: max(*levels, image_level)])
        self.eval()

    def maps(self, colours: torch.Tensor) -> Mapping[int, torch.Tensor]:
        """The map at the end of each stage."""
        taken: dict[int, torch.Tensor] = {}
        for number, stage in enumerate(self.stages, start=1):
            colours = stage(colours)
            taken[number] = colours
        return taken

    def load(self, tensors: Mapping[str, object], *, source: str) -> None:
        """Copy weights into the stages."""
        load(self.stages, tensors, source=source)


def build_pyramid(
    backbone: str,
    *,
    levels: Sequence[int] | None = None,
    image_level: int | None = None,
    view: View | None = None,
    state: Mapping[str, object] | None = None,
) -> TorchPyramid:
    """Build a pyramid from a backbone.

    Args:
        backbone: a name of `BACKBONES`, or "timm:" and a name of timm's.
        levels: one or more of 1, 2 and 3, ascending; None for all three. Those of timm's networks: `TimmPyramid`.
        image_level: 3, 4, or None for the last of `levels`.
        view: the size of the network's input, which some of timm's networks are made for; None for `own_view`.
        state: a state dict, as from `torch.load`; None leaves torch's random weights (by the caller's seed).

    Returns:
        The pyramid in evaluation mode, on the CPU, float32.

    Raises:
        UsageError: an unknown backbone, level or image level, or a size that the network does not take.
        DataError: `state` does not fit the network.
        DeviceError: timm is missing.
    """
    pyramid: TorchPyramid
    if backbone.startswith(PREFIX):
        pyramid = TimmPyramid(backbone, levels=levels, image_level=image_level, view=view or own_view(backbone))
    else:
        pyramid = _staged(backbone, levels=[1, 2, 3] if levels is None else list(levels), image_level=image_level)
    if state is not None:
        pyramid.load(state, source=f"weights of {backbone}")
    return pyramid


def own_view(backbone: str) -> View:
    """The view of a network if nothing is said about it: the whole frame at 224x224, for timm's networks at their size.

    Raises:
        UsageError: timm has no such network, or it gives no feature maps.
        DeviceError: timm is missing.
    """
    return timm_pyramid.own_view(backbone) if backbone.startswith(PREFIX) else View()


def _staged(backbone: str, *, levels: list[int], image_level: int | None) -> StagedPyramid:
    if backbone not in BACKBONES:
        raise UsageError(
            f"expected a backbone of {', '.join(BACKBONES)}, or {PREFIX} and a name of timm's, found '{backbone}'"
        )
    if not levels or any(number not in (1, 2, 3) for number in levels) or levels != sorted(set(levels)):
        found = ", ".join(map(str, levels)) or "none"
        raise UsageError(f"expected one or more of the levels 1, 2 and 3, each once and ascending, found {found}")
    # The last level is accepted by number too, because the card of a model exported without an image level states it.
    if image_level not in (None, 3, 4, levels[-1]):
        raise UsageError(f"expected the image level 3, 4 or none (then it is {levels[-1]}), found {image_level}")
    return StagedPyramid(BACKBONES[backbone], levels=levels, image_level=image_level or levels[-1])
