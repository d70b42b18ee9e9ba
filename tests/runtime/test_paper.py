"""Profile `paper`: the whole way of a frame against the paper's, computed by torch and nothing of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, build
from spade_edge.runtime import Scorer
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.matching.config import Matching

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

Frames = Callable[..., NDArray[np.uint8]]


class Published:
    """SPADE as published, naively: torchvision's whole network, every pair of embeddings, float64 distances."""

    def __init__(self, network: torch.nn.Module, good: list[NDArray[np.uint8]]) -> None:
        from torchvision.models.feature_extraction import create_feature_extractor

        nodes = {"layer1": "1", "layer2": "2", "layer3": "3", "layer4": "4"}
        self._features = create_feature_extractor(network, nodes)
        self._good = [self._embed(frame) for frame in good]

    def _embed(self, frame: NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
        # 512 to 256 by averages of 2 x 2, the middle 224, RGB, ImageNet's mean and standard deviation.
        rgb = torch.from_numpy(frame[:, :, ::-1].copy()).permute(2, 0, 1)[None].float()
        crop = torch.nn.functional.avg_pool2d(rgb, 2)[:, :, 16:240, 16:240] / 255
        x = torchvision.transforms.functional.normalize(crop, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        with torch.no_grad():
            levels = self._features(x)
        grid = levels["1"].shape[2:]
        embedding = torch.cat(
            [
                torch.nn.functional.interpolate(levels[k], size=grid, mode="bilinear", align_corners=False)[0]
                for k in ("1", "2", "3")
            ]
        )
        return embedding.flatten(1).T.double(), levels["4"].mean(dim=(2, 3))[0].double()

    def __call__(self, frame: NDArray[np.uint8], *, k: int, kappa: int) -> tuple[float, NDArray[np.float64]]:
        """Image score and map, smoothed with σ = 4 at 224 x 224."""
        embedding, vector = self._embed(frame)
        to_images = torch.stack([((other - vector) ** 2).sum() for _, other in self._good])
        nearest = to_images.argsort()[:k]
        gallery = torch.cat([self._good[i][0] for i in nearest.tolist()])
        lengths = (embedding**2).sum(dim=1, keepdim=True) + (gallery**2).sum(dim=1)
        squared = lengths - 2 * embedding @ gallery.T  # float64: nothing is lost by the product form
        distances = squared.topk(kappa, largest=False).values.mean(dim=1).reshape(1, 1, 56, 56)
        full = torch.nn.functional.interpolate(distances, size=(224, 224), mode="bilinear", align_corners=False)
        return float(to_images[nearest].mean()), scipy.ndimage.gaussian_filter(full[0, 0].numpy(), 4)


@pytest.fixture(scope="module")
def published_setup(tmp_path_factory: pytest.TempPathFactory, part: Frames) -> tuple[Path, Path, torch.nn.Module]:
    """ResNet-18 with random weights, 256 resized, 224 cropped, descriptor of level 4; five good images of 512x512."""
    from spade_edge.export import build_pyramid, export_pyramid

    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(3)
    network = torchvision.models.resnet18(weights=None).eval()
    pyramid = build_pyramid("resnet18", levels=(1, 2, 3), image_level=4, state=network.state_dict())
    export_pyramid(pyramid, folder / "model.onnx", view=View(resize=(256, 256), size=(224, 224)), weights_note={})
    (folder / "good").mkdir()
    for seed in range(5):
        np.save(folder / "good" / f"{seed}.npy", part(seed, size=(512, 512)))
    return folder / "model.onnx", folder / "good", network


@pytest.mark.parametrize(
    ("k", "kappa"), [(3, 1), pytest.param(50, 1, marks=pytest.mark.slow), pytest.param(2, 3, marks=pytest.mark.slow)]
)
def test_profile_paper_is_the_paper(
    published_setup: tuple[Path, Path, torch.nn.Module], tmp_path: Path, part: Frames, k: int, kappa: int
) -> None:
    model, good, network = published_setup
    matching = Matching(neighbours=k, kappa=kappa, projection="none", search="exact", image_score="descriptors")
    built = build(
        good, model=model, output=tmp_path / "b.spade", options=BuildOptions(profile="paper", matching=matching)
    )
    assert not any("view" in text or "descriptor" in text for text in built.manifest.deviations)
    frame = part(99, size=(512, 512), flaw=True)
    result = Scorer.open(built.path)(frame)
    score, heatmap = Published(network, [np.load(good / f"{i}.npy") for i in range(5)])(frame, k=k, kappa=kappa)
    assert result.score == pytest.approx(score, rel=1e-3)
    np.testing.assert_allclose(result.heatmap, heatmap, rtol=1e-3)
