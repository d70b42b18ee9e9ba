"""The truncated network in torch against torchvision's whole network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from spade_edge.export import BACKBONES, build_pyramid
from spade_edge.runtime.errors import UsageError

Views = NDArray[np.float32]
Frames = Callable[..., Views]
Oracle = Callable[[nn.Module, Views], Mapping[str, Views]]


def run(pyramid: nn.Module, views: Views) -> list[Views]:
    with torch.no_grad():
        return [output.numpy() for output in pyramid(torch.from_numpy(views))]


def test_levels_and_image_vector_are_those_of_torchvision(resnet18: nn.Module, frames: Frames, oracle: Oracle) -> None:
    views = frames(2, size=(64, 96))
    expected = oracle(resnet18, views)
    pyramid = build_pyramid("resnet18", image_level=4, state=resnet18.state_dict())
    *levels, image = run(pyramid, views)
    for number, level in enumerate(levels, start=1):
        assert level.shape == (2, 64 >> number + 1, 96 >> number + 1, 32 << number)
        np.testing.assert_allclose(level.transpose(0, 3, 1, 2), expected[f"level{number}"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(image, expected["level4"].mean((2, 3)), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def of_torchvision(resnet18: nn.Module, frames: Frames, oracle: Oracle) -> Mapping[str, Views]:
    """Levels 1 to 4 of one view of 32x32."""
    return oracle(resnet18, frames(1, size=(32, 32)))


@pytest.mark.parametrize(
    ("levels", "image_level"),
    [((1,), None), ((2,), None), ((3,), None), ((1, 2), 3), ((1, 3), 3), ((2, 3), 4), ((1,), 4), ((1, 2, 3), None)],
)
def test_any_levels_and_image_level(
    levels: tuple[int, ...],
    image_level: int | None,
    resnet18: nn.Module,
    frames: Frames,
    of_torchvision: Mapping[str, Views],
) -> None:
    views, expected = frames(1, size=(32, 32)), of_torchvision
    pyramid = build_pyramid("resnet18", levels=levels, image_level=image_level, state=resnet18.state_dict())
    assert [level.number for level in pyramid.levels] == list(levels)
    assert pyramid.image_level == (image_level or levels[-1])
    assert pyramid.outputs == (*(f"level{number}" for number in levels), "image")
    *found, image = run(pyramid, views)
    for number, level in zip(levels, found, strict=True):
        np.testing.assert_allclose(level.transpose(0, 3, 1, 2), expected[f"level{number}"], rtol=1e-4, atol=1e-5)
    average = expected[f"level{pyramid.image_level}"].mean((2, 3))
    assert image.shape == (1, pyramid.image_channels)
    np.testing.assert_allclose(image, average, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_every_backbone_has_the_strides_and_channels_it_says(name: str, frames: Frames) -> None:
    torch.manual_seed(0)
    pyramid = build_pyramid(name, image_level=4)
    *levels, image = run(pyramid, frames(1, size=(32, 64)))
    for level, values in zip(pyramid.levels, levels, strict=True):
        assert values.shape == (1, 32 // level.stride, 64 // level.stride, level.channels)
        assert values.std() > 0
    assert image.shape == (1, pyramid.image_channels)
    assert image.std() > 0


def test_channels_of_the_paper() -> None:
    assert [level.channels for level in BACKBONES["wide_resnet50_2"].levels] == [256, 512, 1024, 2048]
    assert [level.stride for level in BACKBONES["wide_resnet50_2"].levels] == [4, 8, 16, 32]


def test_what_lies_after_the_last_level_used_is_left_out() -> None:
    tensors = {name.split(".", 1)[1] for name in build_pyramid("resnet18", levels=(1, 2)).stages.state_dict()}
    assert any(name.startswith("layer2.") for name in tensors)
    assert not any(name.startswith(("layer3.", "layer4.", "fc.")) for name in tensors)


def test_random_weights_follow_the_callers_seed(frames: Frames) -> None:
    views = frames(1, size=(32, 32))
    torch.manual_seed(5)
    first = run(build_pyramid("resnet18", levels=(1,)), views)
    torch.manual_seed(5)
    again = run(build_pyramid("resnet18", levels=(1,)), views)
    other = run(build_pyramid("resnet18", levels=(1,)), views)
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])


def test_evaluation_mode() -> None:
    assert not any(module.training for module in build_pyramid("resnet18").modules())


@pytest.mark.parametrize("levels", [(), (0,), (4,), (1, 4), (2, 1), (1, 1), (1, 2, 2), ("1",)])
def test_other_levels_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="levels 1, 2 and 3"):
        build_pyramid("resnet18", levels=levels)


@pytest.mark.parametrize("image_level", [0, 1, 2, 5, -1])
def test_other_image_levels_are_refused(image_level: int) -> None:
    with pytest.raises(UsageError, match="image level 3, 4 or none"):
        build_pyramid("resnet18", levels=(1, 2, 3), image_level=image_level)


def test_the_image_level_of_a_card_is_accepted() -> None:
    assert build_pyramid("resnet18", levels=(1, 2), image_level=2).image_level == 2


def test_an_unknown_backbone_names_the_choices() -> None:
    with pytest.raises(UsageError, match=r"wide_resnet50_2, resnet18, resnet50, efficientnet_lite0.*'resnet34'"):
        build_pyramid("resnet34")
