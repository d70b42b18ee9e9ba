"""The whole way of a frame against the paper's, computed by torch and nothing of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.ndimage
import torch
import torchvision
from numpy.typing import NDArray
from torchvision.models.feature_extraction import create_feature_extractor

from spade_edge.export import build_pyramid, export_pyramid
from spade_edge.galleries import Built, build
from spade_edge.runtime import FrameError, Scorer, UsageError
from spade_edge.runtime.matcher import Matching
from spade_edge.runtime.view import View

Frames = Callable[..., NDArray[np.uint8]]


class Published:
    """SPADE as published, naively: torchvision's whole network, every pair of embeddings, float64 distances."""

    def __init__(self, network: torch.nn.Module, good: list[NDArray[np.uint8]]) -> None:
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
    """ResNet-18 with random weights, 256 resized, 224 cropped, image vector of level 4; five good images of 512x512."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(3)
    network = torchvision.models.resnet18(weights=None).eval()
    pyramid = build_pyramid("resnet18", levels=(1, 2, 3), image_level=4, state=network.state_dict())
    export_pyramid(pyramid, folder / "model.onnx", view=View(resize=(256, 256), size=(224, 224)), weights_note={})
    (folder / "good").mkdir()
    for seed in range(5):
        np.save(folder / "good" / f"{seed}.npy", part(seed, size=(512, 512)))
    return folder / "model.onnx", folder / "good", network


@pytest.mark.parametrize(("k", "kappa"), [(3, 1), (50, 1), (2, 3)])
def test_profile_paper_is_the_paper(
    published_setup: tuple[Path, Path, torch.nn.Module], tmp_path: Path, part: Frames, k: int, kappa: int
) -> None:
    model, good, network = published_setup
    matching = Matching(neighbours=k, kappa=kappa, search="exact", image_score="vectors")
    built = build(good, model=model, output=tmp_path / "b.spade", profile="paper", matching=matching)
    assert not any("view" in departure or "image vector" in departure for departure in built.manifest.departures)
    frame = part(99, size=(512, 512), flaw=True)
    result = Scorer.open(built.path)(frame)
    score, heatmap = Published(network, [np.load(good / f"{i}.npy") for i in range(5)])(frame, k=k, kappa=kappa)
    assert result.score == pytest.approx(score, rel=1e-3)
    np.testing.assert_allclose(result.heatmap, heatmap, rtol=1e-3)


def test_the_same_frame_gives_the_same_bits(edge: Built, part: Frames) -> None:
    scorer, again = Scorer.open(edge.path), Scorer.open(edge.path)
    first = scorer(part(50, flaw=True))
    scorer(part(51))
    for other in (scorer(part(50, flaw=True)), again(part(50, flaw=True))):
        assert other.score == first.score
        assert np.array_equal(other.heatmap, first.heatmap)
        assert other.regions == first.regions


def test_a_flaw_is_found_where_it_is(edge: Built, part: Frames) -> None:
    scorer = Scorer.open(edge.path)
    good, bad = scorer(part(60)), scorer(part(60, flaw=True))
    assert bad.score > good.score
    assert bad.verdict == "defect" and "over the threshold" in bad.reason
    worst = bad.regions[0]  # the flaw covers x 20 to 34, y 32 to 46
    assert worst.x <= 27 <= worst.x + worst.width
    assert worst.y <= 39 <= worst.y + worst.height
    assert bad.nearest[0].image in edge.manifest.names
    assert 0 <= bad.nearest[0].x <= 1 and 0 <= bad.nearest[0].y <= 1
    assert len(bad.nearest) == len(bad.regions)


def test_a_good_image_is_good_and_its_map_near_zero(edge: Built, paper: Built, good_images: Path) -> None:
    for built in (edge, paper):
        result = Scorer.open(built.path)(np.load(good_images / "2.npy"))
        assert result.verdict == "good" and result.reason == ""
        assert result.heatmap.max() < 1e-3 * built.manifest.threshold.pixel


def test_the_result_is_what_the_docstring_says(edge: Built, part: Frames) -> None:
    result = Scorer.open(edge.path)(part(70))
    assert result.heatmap.shape == (64, 64) and result.heatmap.dtype == np.float32
    assert result.score == pytest.approx(result.heatmap.max())
    assert set(result.milliseconds) == {"view", "network", "matching", "map", "total"}
    assert result.provider == "CPUExecutionProvider"


def test_exact_search_is_there_for_any_bundle_and_never_farther(edge: Built, part: Frames) -> None:
    frame = part(80, flaw=True)
    near, exact = Scorer.open(edge.path)(frame), Scorer.open(edge.path, search="exact")(frame)
    assert (exact.heatmap <= near.heatmap * (1 + 1e-5)).all()
    assert near.heatmap.mean() <= exact.heatmap.mean() * 1.05


def test_threads_and_structure_check_do_not_change_the_result(edge: Built, part: Frames) -> None:
    frame = part(90, flaw=True)
    expected = Scorer.open(edge.path)(frame)
    for scorer in (Scorer.open(edge.path, threads=1), Scorer.open(str(edge.path), verify="structure")):
        np.testing.assert_allclose(scorer(frame).heatmap, expected.heatmap, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200, 3), (500, 40), (64, 64, 1)])
def test_any_size_of_frame_is_scored(edge: Built, shape: tuple[int, ...]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    result = Scorer.open(edge.path)(frame)
    assert np.isfinite(result.score)
    for region in result.regions:
        assert region.x + region.width <= shape[1] and region.y + region.height <= shape[0]


def test_colour_order_matters_and_is_bgr(edge: Built, good_images: Path) -> None:
    frame = np.load(good_images / "1.npy")
    scorer = Scorer.open(edge.path)
    assert scorer(frame).score < 0.01 * scorer(np.ascontiguousarray(frame[:, :, ::-1])).score


def test_bad_frames_and_options_are_refused(edge: Built) -> None:
    with pytest.raises(FrameError, match="expected a uint8 array"):
        Scorer.open(edge.path)(cv2.UMat(np.zeros((4, 4), np.uint8)))
    with pytest.raises(UsageError, match="search"):
        Scorer.open(edge.path, search="quick")
    with pytest.raises(UsageError, match="verify"):
        Scorer.open(edge.path, verify="no")
