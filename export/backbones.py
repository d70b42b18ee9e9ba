"""The networks that a pyramid can be taken from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torchvision
from torch import nn

from spade_edge.export import efficientnet_lite
from spade_edge.runtime.network.card import Level


@dataclass(frozen=True)
class Backbone:
    """A network in four stages, one per level.

    Attributes:
        name: torchvision's name, or "efficientnet_lite0".
        levels: levels 1 to 4, finest first.
        mean, std: of the network's training images, RGB, on a scale of 0 to 255.
        stages: builds the four stages with torch's random weights. Stage i ends at level i + 1; its tensors have the
            names of published weights files.
    """

    name: str
    levels: tuple[Level, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stages: Callable[[], tuple[nn.Sequential, ...]]


def _resnet_stages(name: str) -> tuple[nn.Sequential, ...]:
    network = torchvision.models.get_model(name, weights=None)
    first = OrderedDict((part, getattr(network, part)) for part in ("conv1", "bn1", "relu", "maxpool", "layer1"))
    rest = (OrderedDict([(part, getattr(network, part))]) for part in ("layer2", "layer3", "layer4"))
    return nn.Sequential(first), *(nn.Sequential(stage) for stage in rest)


def _levels(channels: tuple[int, int, int, int]) -> tuple[Level, ...]:
    return tuple(Level(number=i + 1, stride=4 << i, channels=count) for i, count in enumerate(channels))


def _resnet(name: str, channels: tuple[int, int, int, int]) -> Backbone:
    return Backbone(
        name=name,
        levels=_levels(channels),
        # torchvision.transforms._presets.ImageClassification: (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225) of 255.
        mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
        std=(0.229 * 255, 0.224 * 255, 0.225 * 255),
        stages=partial(_resnet_stages, name),
    )


_ALL = (
    _resnet("wide_resnet50_2", (256, 512, 1024, 2048)),  # the paper's
    _resnet("resnet18", (64, 128, 256, 512)),
    _resnet("resnet50", (256, 512, 1024, 2048)),
    Backbone(
        name="efficientnet_lite0",
        levels=_levels(efficientnet_lite.CHANNELS),
        mean=efficientnet_lite.MEAN,
        std=efficientnet_lite.STD,
        stages=efficientnet_lite.stages,
    ),
)

BACKBONES: Mapping[str, Backbone] = MappingProxyType({backbone.name: backbone for backbone in _ALL})
