"""Networks with random weights whose batch norms do something, and torchvision's own forward pass as the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from spade_edge.export import ExportReport, build_pyramid, export_pyramid
from spade_edge.runtime.geometry.view import View

Views = NDArray[np.float32]


@pytest.fixture(scope="session", autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small() -> View:
    return View(resize=(64, 64), size=(64, 64))


@pytest.fixture(scope="session")
def frames() -> Callable[..., Views]:
    """(N, H, W, 3) float32 BGR, 0 to 255."""

    def make(count: int, *, size: tuple[int, int] = (64, 64), seed: int = 1) -> Views:
        return np.random.default_rng(seed).uniform(0, 255, (count, *size, 3)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def network() -> Callable[[str], nn.Module]:
    """A full network of torchvision; running means, variances, scales and shifts differ from those of a fresh one."""

    def make(name: str) -> nn.Module:
        torch.manual_seed(0)
        whole: nn.Module = torchvision.models.get_model(name, weights=None).eval()
        for module in whole.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.uniform_(module.weight, 0.3, 0.9)
                nn.init.normal_(module.bias, std=0.2)
        return whole

    return make


@pytest.fixture(scope="session")
def resnet18(network: Callable[[str], nn.Module]) -> nn.Module:
    return network("resnet18")


@pytest.fixture(scope="session")
def oracle() -> Callable[[nn.Module, Views], Mapping[str, Views]]:
    """Torchvision's way to level1 .. level4, (N, C, h, w): RGB, 0 to 1, normalised, the whole network."""

    def compute(whole: nn.Module, views: Views) -> Mapping[str, Views]:
        rgb = torch.from_numpy(views[..., ::-1].transpose(0, 3, 1, 2).copy()) / 255
        rgb = torchvision.transforms.functional.normalize(rgb, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
        extractor = create_feature_extractor(whole, {f"layer{i}": f"level{i}" for i in (1, 2, 3, 4)})
        with torch.no_grad():
            return {name: value.numpy() for name, value in extractor(rgb).items()}

    return compute


@pytest.fixture(scope="session")
def exported(resnet18: nn.Module, small: View, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """resnet18 at 64x64, levels 1 to 3, global descriptor of level 4."""
    pyramid = build_pyramid("resnet18", image_level=4, state=resnet18.state_dict())
    path = tmp_path_factory.mktemp("exported") / "resnet18.onnx"
    return export_pyramid(pyramid, path, view=small, weights_note={"source": "random"})


@pytest.fixture(scope="session")
def two_levels(small: View, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """resnet18 up to level 2 at 64x64, levels 1 and 2, a twentieth of the size: where the network does not matter."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("two_levels") / "resnet18.onnx"
    return export_pyramid(build_pyramid("resnet18", levels=(1, 2)), path, view=small, weights_note={"source": "random"})
