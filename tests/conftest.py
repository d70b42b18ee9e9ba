"""Small models and bundles, made once. The network is three convolutions; tests/export has a ResNet-18 of its own."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_network import write_tiny_model

from spade_edge.galleries import BuildOptions, Built, Views, build
from spade_edge.runtime.matching.config import Matching

if TYPE_CHECKING:
    from spade_edge.export import TorchPyramid


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Let Ctrl-C reach the commands under test, even where the shell has put the tests into the background."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
    """Eight good images as .npy, one of them nested, sizes differing."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "nested").mkdir()
    for seed in range(8):
        image = part(seed, size=(96 + seed, 80))
        path = folder / ("nested" if seed == 3 else ".") / f"{seed}.npy"
        np.save(path, image)
    return folder


@pytest.fixture(scope="session")
def torch_pyramid() -> TorchPyramid:
    """ResNet-18 with random weights, levels 1 to 3, for tests that need torch beside ONNX."""
    torch = pytest.importorskip("torch")
    from spade_edge.export import build_pyramid

    torch.manual_seed(0)
    return build_pyramid("resnet18", levels=(1, 2, 3)).eval()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network with a view of 64x64."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "model.onnx", size=(64, 64))


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory, model: Path, good_images: Path) -> Built:
    """A bundle of profile edge."""
    # Rendered parts always lie alike; an index is what most tests need. `placed` is matched by place.
    return build(
        good_images,
        model=model,
        output=tmp_path_factory.mktemp("edge") / "part.spade",
        options=BuildOptions(place="free"),
    )


@pytest.fixture(scope="session")
def paper(tmp_path_factory: pytest.TempPathFactory, model: Path, good_images: Path) -> Built:
    """A bundle of profile paper."""
    return build(
        good_images,
        model=model,
        output=tmp_path_factory.mktemp("paper") / "part.spade",
        options=BuildOptions(profile="paper"),
    )


TEXTURE = (56, 72)  # height, width: 2 x 3 tiles of 32 that overlap by 8 or more
TILES = Views(tile=(32, 32), overlap=8)
REGIONS = ((0, 0, 32, 30), (25, 10, 45, 45))  # overlapping, of different sizes
# Name to views and matching.
# Views are tested with features as they are: a random network says little by their direction.
EDGE = Matching(sigma=2, candidates=24, normalisation="none")
NO_CODES = Matching(sigma=2, projection="none", search="exact")
VIEWS = {
    "shared": (TILES, EDGE),
    "per-view": (TILES, replace(EDGE, gallery="per-view")),
    "shared, 5 neighbours": (TILES, replace(EDGE, neighbours=5)),
    "per-view, 2 neighbours": (TILES, replace(EDGE, neighbours=2, gallery="per-view")),
    "shared, exact": (TILES, replace(EDGE, search="exact", kappa=2)),
    "shared, no codes": (TILES, NO_CODES),
    "per-view, no codes": (TILES, replace(NO_CODES, gallery="per-view")),
    "regions, vectors": (Views(regions=REGIONS), replace(EDGE, neighbours=3, image_score="descriptors")),
    "regions, per-view": (Views(regions=REGIONS), replace(EDGE, gallery="per-view")),
    "tiles in regions": (Views(regions=REGIONS, tile=(24, 32), overlap=4), EDGE),
    "masked": (TILES, EDGE),
    "masked regions, per-view": (Views(regions=REGIONS), replace(EDGE, gallery="per-view")),
    "masked regions, no codes": (Views(regions=REGIONS), NO_CODES),
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network with a view of 32x32: grids of 8x8, 4x4 and 2x2, so that all pairs are few."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model.onnx", size=(32, 32))


@pytest.fixture(scope="session")
def texture() -> Callable[..., NDArray[np.uint8]]:
    """A woven texture with a bright border, which varies a little; `flaw` paints a green spot of 8 pixels at (x, y)."""

    def make(seed: int, *, size: tuple[int, int] = TEXTURE, flaw: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[: size[0], : size[1]]
        woven = 120 + 40 * np.sin(x / 3 + rng.uniform(0, 6)) + 30 * np.sin(y / 4 + rng.uniform(0, 6)) + 20 * (y < 4)
        image = woven[..., None] * [1, 0.85, 0.7] + rng.normal(0, 4, (*size, 3))
        if flaw is not None:
            image[flaw[1] : flaw[1] + 8, flaw[0] : flaw[0] + 8] = (0, 255, 0)
        return np.clip(image, 0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def textures(tmp_path_factory: pytest.TempPathFactory, texture: Callable[..., NDArray[np.uint8]]) -> Path:
    """Six frames of it, all of one size, one of them with red and blue swapped."""
    folder = tmp_path_factory.mktemp("textures")
    for seed in range(6):
        frame = texture(seed)
        np.save(folder / f"{seed}.npy", frame[:, :, ::-1] if seed == 4 else frame)
    return folder


@pytest.fixture(scope="session")
def looked_at() -> NDArray[np.bool_]:
    """A mask of these frames: a clamp at the left and a disc inside are ignored."""
    y, x = np.mgrid[: TEXTURE[0], : TEXTURE[1]]
    return np.asarray((x >= 6) & ((y - 30) ** 2 + (x - 45) ** 2 >= 7**2))


@pytest.fixture(scope="session")
def with_views(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, textures: Path, looked_at: NDArray[np.bool_]
) -> Callable[[str], Built]:
    """Bundles by the names in VIEWS, built when they are asked for."""
    built: dict[str, Built] = {}
    folder = tmp_path_factory.mktemp("views")
    np.save(folder / "mask.npy", looked_at.astype(np.uint8) * 255)

    def of(name: str) -> Built:
        if name not in built:
            views, matching = VIEWS[name]
            if name.startswith("masked"):
                views = replace(views, mask=folder / "mask.npy")
            output = folder / f"{len(built)}.spade"
            built[name] = build(
                textures,
                model=tiny_model,
                output=output,
                options=BuildOptions(views=views, matching=matching, place="free"),
            )
        return built[name]

    return of
