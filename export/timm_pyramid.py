"""Networks of timm's (the package `timm`, extra `timm`): convolutional ones and transformers.

The network keeps timm's names of tensors, and loses the layers after the last one used. Feature maps come from its
`forward_intermediates`, which drops class and register tokens and gives the others as a grid.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import lcm
from typing import Any

import torch
from torch import nn

from spade_edge.export.reason import reason
from spade_edge.export.torch_pyramid import TorchPyramid
from spade_edge.export.weights import fill, plain_names
from spade_edge.runtime.errors import DeviceError, UsageError
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.network.card import HIGHEST, Level

PREFIX = "timm:"
OWN_STRIDES = (4, 8, 16)  # of the pyramid, if no levels are chosen


@dataclass(frozen=True)
class FeatureMaps:
    """What a network of timm's can give.

    Attributes:
        blocks: whether all maps have one grid, as a transformer's blocks do; they are numbered from 1.
        strides: of each map by its number. Where grids differ, number 1 is stride 4, number 2 stride 8 and so on.
        places: the position of each map in the network's own order, by number.
    """

    blocks: bool
    strides: Mapping[int, int]
    places: Mapping[int, int]

    @classmethod
    def of(cls, network: nn.Module, *, backbone: str) -> FeatureMaps:
        """Read them from timm's description of the network.

        Raises:
            UsageError: it gives no feature maps, or none with a stride of 4, 8, 16 and so on.
        """
        described = getattr(network, "feature_info", None)
        strides = [int(one["reduction"]) for one in described] if isinstance(described, list) else []
        if not strides or not hasattr(network, "forward_intermediates"):
            raise UsageError(
                f"--backbone {backbone}: expected a network that gives feature maps, found {type(network).__name__}, "
                "for which timm has none; choose another"
            )
        if len(set(strides)) == 1:
            numbers = range(1, min(len(strides), HIGHEST) + 1)
            return cls(True, dict.fromkeys(numbers, strides[0]), {number: number - 1 for number in numbers})
        last = {stride: place for place, stride in enumerate(strides)}  # of several maps of a stride, the deepest
        own = {number: 4 << number - 1 for number in range(1, 8)}
        found = {number: stride for number, stride in own.items() if stride in last}
        if not found:
            raise UsageError(
                f"--backbone {backbone}: expected feature maps with a stride of 4, 8, 16 and so on, found strides "
                f"{', '.join(map(str, sorted(last)))}; choose another"
            )
        return cls(False, found, {number: last[stride] for number, stride in found.items()})

    def default(self) -> tuple[int, ...]:
        """The last block of a transformer; else the levels of strides 4, 8 and 16, as far as there are any."""
        if self.blocks:
            return (max(self.strides),)
        usual = tuple(number for number, stride in self.strides.items() if stride in OWN_STRIDES)
        return usual or (min(self.strides),)

    def known(self) -> str:
        """The numbers, for messages."""
        if self.blocks:
            return f"blocks 1 to {max(self.strides)}"
        return "levels " + ", ".join(f"{number} (stride {stride})" for number, stride in self.strides.items())


class TimmPyramid(TorchPyramid):
    """A network of timm's with its random weights.

    Args:
        backbone: "timm:" and timm's name, with or without the tag of published weights.
        levels: numbers of the pyramid's levels, ascending: 1 for stride 4, 2 for stride 8, 3 for stride 16 and so on,
            as far as the network has them. Of a transformer, one or more blocks from 1 on: their features, after the
            network's last norm, stand one after another in the channels of a single level. None for the levels 1, 2
            and 3, or the last block.
        image_level: the level or block whose spatial mean is the global descriptor; None for the last of `levels`.
        view: the size of the network's input, for which a transformer's positions are interpolated.

    Attributes:
        network: timm's, without what is not used.

    Raises:
        UsageError: timm has no such network, it gives no feature maps, or no such levels at this size.
        DeviceError: timm is missing.
    """

    def __init__(self, backbone: str, *, levels: Sequence[int] | None, image_level: int | None, view: View) -> None:
        whole = create(backbone)
        maps = FeatureMaps.of(whole, backbone=backbone)
        chosen, image = _numbers(maps, levels, image_level, backbone=backbone)
        numbers = sorted({*chosen, image})
        network, places = _truncated(whole, [maps.places[number] for number in numbers])
        _resize(network, view, backbone=backbone)
        channels = _channels(network, places, maps, numbers, view=view, backbone=backbone)
        pyramid = (
            [Level(chosen[-1], maps.strides[1], sum(channels[block] for block in chosen), blocks=chosen)]
            if maps.blocks
            else [Level(number, maps.strides[number], channels[number]) for number in chosen]
        )
        found = colours(network, backbone=backbone)
        super().__init__(
            backbone=backbone,
            levels=pyramid,
            image_level=image,
            image_channels=pyramid[-1].channels if image == chosen[-1] else channels[image],
            mean=found.mean,
            std=found.std,
        )
        self.network = network
        self._view = view
        self._blocks = maps.blocks
        self._chosen = chosen
        self._places = dict(zip(numbers, places, strict=True))
        self.eval()

    def maps(self, colours: torch.Tensor) -> Mapping[int, torch.Tensor]:
        """The feature maps by level; a transformer's blocks are joined under the number of the last one."""
        maps = _maps(self.network, list(self._places.values()), colours, blocks=self._blocks)
        taken = dict(zip(self._places, maps, strict=True))
        if len(self._chosen) > 1 and self._blocks:
            taken[self._chosen[-1]] = torch.cat([taken[block] for block in self._chosen], dim=1)
        return taken

    def load(self, tensors: Mapping[str, object], *, source: str) -> None:
        """Copy weights into the network, as timm names them or as their publishers do where timm knows how.

        Positions are interpolated to the size of the view after that, unless the file has them at this size.
        """
        tensors = plain_names(tensors)
        if _fit(self.network, tensors):
            fill(_slots(self.network), tensors, source=source)
            return
        whole = create(self.backbone)
        maps = FeatureMaps.of(whole, backbone=self.backbone)
        network, _ = _truncated(whole, [maps.places[number] for number in self._places])
        if not _fit(network, tensors):
            tensors = _converted(network, tensors)
        fill(_slots(network), tensors, source=source)
        _resize(network, self._view, backbone=self.backbone)
        self.network = network.eval()


@dataclass(frozen=True)
class Colours:
    """What a network expects.

    Attributes:
        mean, std: of its training images, RGB, on a scale of 0 to 255.
        size: height and width of its training images.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]


def colours(network: nn.Module, *, backbone: str) -> Colours:
    """Read timm's configuration of a network.

    Raises:
        UsageError: it does not take colour images.
    """
    found: Mapping[str, Any] = getattr(network, "pretrained_cfg", {})
    channels, *size = found.get("input_size", (3, 224, 224))
    if channels != 3:
        raise UsageError(f"--backbone {backbone}: expected a network for colour images, found {channels} channels")
    mean, std = (tuple(255 * float(x) for x in found[name]) for name in ("mean", "std"))
    return Colours(mean, std, (int(size[0]), int(size[1])))


def own_view(backbone: str) -> View:
    """The whole frame at the size of the network's training images, or at the next smaller one that fits.

    A view has multiples of 32, and a whole number of positions on each level.
    """
    network = create(backbone)
    maps = FeatureMaps.of(network, backbone=backbone)
    each = lcm(32, *(maps.strides[number] for number in maps.default()))
    height, width = (max(each, side // each * each) for side in colours(network, backbone=backbone).size)
    return View(resize=(height, width), size=(height, width))


def create(backbone: str) -> nn.Module:
    """Build a network of timm's with random weights, in evaluation mode; nothing is downloaded.

    Raises:
        UsageError: timm has no such network.
        DeviceError: timm is missing.
    """
    try:
        import timm
    except ImportError:
        raise DeviceError(
            f"--backbone {backbone}: expected the package timm, found none; pip install 'spade-edge[timm]'"
        ) from None
    name = backbone.removeprefix(PREFIX)
    architecture, _, tag = name.partition(".")
    known = timm.list_models()
    if architecture not in known:  # asked before anything is created: timm would download "hf-hub:…"
        near = get_close_matches(architecture, known, n=3)
        remedy = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise UsageError(f"--backbone {backbone}: expected a name that timm {timm.__version__} knows, {remedy}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            network: nn.Module = timm.create_model(name, pretrained=False)
        except Exception as problem:  # timm's networks refuse in many ways
            tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{architecture}.*")]
            if tag and tag not in tags:
                raise UsageError(
                    f"--backbone {backbone}: expected a tag of {architecture} ({', '.join(tags) or 'it has none'}), "
                    f"found '{tag}'"
                ) from None
            raise UsageError(
                f"--backbone {backbone}: expected a network that timm can create, found {reason(problem)}; "
                "choose another"
            ) from None
    module: Any
    for module in network.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # attention in plain operators, which the exporter writes as they are
    return network.eval()


def _numbers(
    maps: FeatureMaps, levels: Sequence[int] | None, image_level: int | None, *, backbone: str
) -> tuple[tuple[int, ...], int]:
    """The chosen levels or blocks, and the image level."""
    chosen = maps.default() if levels is None else tuple(levels)
    if not chosen or chosen != tuple(sorted(set(chosen))) or any(number not in maps.strides for number in chosen):
        found = ", ".join(map(str, chosen)) or "none"
        raise UsageError(
            f"--levels: expected one or more of the {maps.known()} of {backbone}, each once and ascending, "
            f"found {found}"
        )
    image = chosen[-1] if image_level is None else image_level
    if image not in maps.strides:
        raise UsageError(f"--image-level: expected one of the {maps.known()} of {backbone}, found {image}")
    return chosen, image


def _truncated(network: nn.Module, places: list[int]) -> tuple[nn.Module, list[int]]:
    """Remove the layers that are not used; returns the network, and the places of the maps in what is left."""
    prune = getattr(network, "prune_intermediate_layers", None)
    if prune is None:
        return network, places
    return network, [int(place) for place in prune(places, prune_norm=False, prune_head=True)]


def _resize(network: nn.Module, view: View, *, backbone: str) -> None:
    """Make a network that is made for one size ready for the view's."""
    resize = getattr(network, "set_input_size", None)
    if resize is None or view.size == colours(network, backbone=backbone).size:
        return
    try:
        resize(img_size=view.size)
    except Exception as problem:
        raise _unfit(backbone, view, reason(problem)) from None


def _maps(network: Any, places: list[int], colours: torch.Tensor, *, blocks: bool) -> list[torch.Tensor]:
    """Feature maps (N, C, h, w); those of a transformer's blocks after its last norm."""
    found: list[torch.Tensor] = network.forward_intermediates(
        colours, indices=places, norm=blocks, stop_early=True, intermediates_only=True
    )
    return found


def _channels(
    network: nn.Module, places: list[int], maps: FeatureMaps, numbers: list[int], *, view: View, backbone: str
) -> dict[int, int]:
    """The number of channels of each map, from a run of the network, which also shows whether the grids fit."""
    grey = torch.zeros(1, 3, *view.size)
    try:
        with torch.inference_mode():
            found = [tuple(x.shape) for x in _maps(network, places, grey, blocks=maps.blocks)]
    except Exception as problem:
        raise _unfit(backbone, view, reason(problem)) from None
    channels = {}
    for number, shape in zip(numbers, found, strict=True):
        stride = maps.strides[number]
        grid = tuple(side / stride for side in view.size)
        if len(shape) != 4 or shape[2:] != grid:
            raise _unfit(backbone, view, f"{'x'.join(map(str, shape[2:]))} positions with a stride of {stride}")
        channels[number] = shape[1]
    return channels


def _unfit(backbone: str, view: View, found: str) -> UsageError:
    height, width = view.size
    return UsageError(
        f"--backbone {backbone}: expected a network that takes {width}x{height} pixels and gives a whole grid, found "
        f"{found}; choose another size or network"
    )


def _slots(network: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that weights files hold; whole numbers are counters and tables of places."""
    return {name: slot for name, slot in network.state_dict().items() if slot.is_floating_point()}


def _fit(network: nn.Module, tensors: Mapping[str, object]) -> bool:
    """Whether all tensors are there, each in its shape."""
    found = {name: getattr(tensor, "shape", None) for name, tensor in tensors.items()}
    return all(found.get(name) == slot.shape for name, slot in _slots(network).items())


def _converted(network: nn.Module, tensors: Mapping[str, object]) -> Mapping[str, object]:
    """The tensors under timm's names, where timm knows those of the publisher; else as they are."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return tensors
    try:
        return dict(convert(dict(tensors), network))
    except Exception:  # of other networks; what does not fit will be named
        return tensors
