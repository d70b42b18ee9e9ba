"""Small models and bundles, made once: ResNet-18 with random weights at 64x64, whose numbers torch can check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spade_edge.export import Pyramid as TorchPyramid
from spade_edge.export import build_pyramid, export_pyramid
from spade_edge.galleries import Built, build
from spade_edge.runtime.view import View

SMALL = View(resize=(64, 64), size=(64, 64))


@pytest.fixture(scope="session")
def part() -> Callable[..., NDArray[np.uint8]]:
    """A noisy striped square that varies a little; `flaw` adds a bright spot. (H, W, 3) uint8 BGR."""

    def make(seed: int, *, size: tuple[int, int] = (96, 80), flaw: bool = False) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[: size[0], : size[1]]
        stripes = 90 + 50 * np.sin(x / 5 + rng.normal(0, 0.2)) * (np.abs(y - size[0] / 2) < size[0] / 3)
        image = np.stack([stripes, stripes * 0.8, stripes * 0.6 + 30], axis=-1) + rng.normal(0, 4, (*size, 3))
        if flaw:
            image[size[0] // 3 : size[0] // 3 + 14, size[1] // 4 : size[1] // 4 + 14] += 90
        return np.clip(image, 0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def good_images(tmp_path_factory: pytest.TempPathFactory, part: Callable[..., NDArray[np.uint8]]) -> Path:
    """Eight good images as .npy, one of them grey, one nested, sizes differing."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "nested").mkdir()
    for seed in range(8):
        image = part(seed, size=(96 + seed, 80))
        path = folder / ("nested" if seed == 3 else ".") / f"{seed}.npy"
        np.save(path, image[:, :, 0] if seed == 5 else image)
    return folder


@pytest.fixture(scope="session")
def torch_pyramid() -> TorchPyramid:
    """ResNet-18 with random weights, levels 1 to 3, image vector from level 3."""
    torch.manual_seed(0)
    return build_pyramid("resnet18", levels=(1, 2, 3)).eval()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, torch_pyramid: TorchPyramid) -> Path:
    """That network as ONNX, view 64x64."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    export_pyramid(torch_pyramid, path, view=SMALL, weights_note={"source": "random"})
    return path


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory, model: Path, good_images: Path) -> Built:
    """A bundle of profile edge."""
    return build(good_images, model=model, output=tmp_path_factory.mktemp("edge") / "part.spade")


@pytest.fixture(scope="session")
def paper(tmp_path_factory: pytest.TempPathFactory, model: Path, good_images: Path) -> Built:
    """A bundle of profile paper."""
    return build(good_images, model=model, output=tmp_path_factory.mktemp("paper") / "part.spade", profile="paper")
