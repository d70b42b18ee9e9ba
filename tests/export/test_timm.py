"""Networks of timm's against timm's own ways to their features; with random weights, and nothing is downloaded."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torch import nn

from spade_edge.export import (
    ExportReport,
    Precision,
    build_pyramid,
    export_model,
    export_pyramid,
    onnx_conversion,
    own_view,
    timm_pyramid,
)
from spade_edge.export.lint import lint
from spade_edge.export.onnx_conversion import build_graph
from spade_edge.export.static import write_static
from spade_edge.export.timm_pyramid import FeatureMaps
from spade_edge.export.torch_session import TorchSession
from spade_edge.galleries import build
from spade_edge.runtime import Scorer
from spade_edge.runtime.errors import DataError, DeviceError, ModelError, UsageError
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.network.card import Level
from spade_edge.runtime.network.session import Session
from spade_edge.tools.evaluation.evaluator import evaluate

timm = pytest.importorskip("timm", reason="the extra timm is not installed")

Views = NDArray[np.float32]
Frames = Callable[..., Views]
State = Mapping[str, torch.Tensor]

CONVOLUTIONAL, TRANSFORMER = "timm:test_resnet", "timm:test_vit2"  # the latter with a register token


def view_of(side: int) -> View:
    return View(resize=(side, side), size=(side, side))


def spread(network: nn.Module) -> nn.Module:
    """Give every parameter a random value, so that none is without effect as the zeros and ones of fresh layers are."""
    torch.manual_seed(3)
    for name, parameter in network.named_parameters():
        nn.init.normal_(parameter, mean=float("norm" in name and "weight" in name), std=0.1)
    return network.eval()


@pytest.fixture(scope="module")
def convolutional() -> nn.Module:
    return spread(timm.create_model("test_resnet"))


@pytest.fixture(scope="module")
def transformer() -> nn.Module:
    return spread(timm.create_model("test_vit2"))


@pytest.fixture
def dinov2(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A DINOv2 of two blocks: patches of 14 pixels, images of 518 pixels, four register tokens."""

    def small(backbone: str) -> nn.Module:
        network: nn.Module = timm.models.VisionTransformer(
            img_size=518, patch_size=14, embed_dim=24, depth=2, num_heads=2, init_values=1e-5, num_classes=0,
            reg_tokens=4, no_embed_class=True,
        )  # fmt: skip
        network.pretrained_cfg = {"input_size": (3, 518, 518), "mean": (0.485, 0.456, 0.406), "std": (0.2, 0.3, 0.4)}
        for block in network.blocks:
            block.attn.fused_attn = False
        return network.eval()

    monkeypatch.setattr(timm_pyramid, "create", small)
    return spread(small("timm:dinov2"))


def normalised(views: Views, *, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    rgb = torch.from_numpy(views[..., ::-1].transpose(0, 3, 1, 2).copy()) / 255
    normal: torch.Tensor = torchvision.transforms.functional.normalize(rgb, mean=list(mean), std=list(std))
    return normal


def run(pyramid: nn.Module, views: Views) -> list[Views]:
    with torch.no_grad():
        return [output.numpy() for output in pyramid(torch.from_numpy(views))]


def saved(network: nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


# Features


def test_levels_are_those_of_timms_own_extractor(convolutional: nn.Module, frames: Frames) -> None:
    views = frames(2, size=(64, 96))
    extractor = timm.create_model("test_resnet", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    extractor.load_state_dict(convolutional.state_dict(), strict=False)
    with torch.no_grad():
        expected = extractor(normalised(views, mean=(0.5,) * 3, std=(0.5,) * 3))
    view = View(resize=(64, 96), size=(64, 96))
    pyramid = build_pyramid(CONVOLUTIONAL, image_level=4, view=view, state=convolutional.state_dict())
    assert [(x.number, x.stride) for x in pyramid.levels] == [(1, 4), (2, 8), (3, 16)]
    *levels, image = run(pyramid, views)
    for level, values, wanted in zip(pyramid.levels, levels, expected[:3], strict=True):
        assert values.shape == (2, 64 // level.stride, 96 // level.stride, level.channels)
        np.testing.assert_allclose(values.transpose(0, 3, 1, 2), wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(image, expected[3].mean((2, 3)), rtol=1e-4, atol=1e-4)


def test_the_last_block_of_a_transformer_without_its_other_tokens(transformer: nn.Module, frames: Frames) -> None:
    views = frames(2, size=(160, 160))  # the size that it is made for
    with torch.no_grad():
        tokens = transformer.forward_features(normalised(views, mean=(0.5,) * 3, std=(0.5,) * 3)).numpy()
    kept = tokens[:, transformer.num_prefix_tokens :]
    assert 1 <= transformer.num_prefix_tokens == tokens.shape[1] - 100
    pyramid = build_pyramid(TRANSFORMER, state=transformer.state_dict())
    assert pyramid.levels == (Level(8, 16, 64, blocks=(8,)),)
    level, image = run(pyramid, views)
    np.testing.assert_allclose(level, kept.reshape(2, 10, 10, 64), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(image, kept.mean(1), rtol=1e-4, atol=1e-4)
    assert level.min() < 0


def test_blocks_are_joined_each_after_the_last_norm(transformer: nn.Module, frames: Frames) -> None:
    views = frames(1, size=(160, 160))
    seen: list[torch.Tensor] = []
    hooks = [transformer.blocks[i].register_forward_hook(lambda *call: seen.append(call[2])) for i in (2, 4)]
    with torch.no_grad():
        transformer.forward_features(normalised(views, mean=(0.5,) * 3, std=(0.5,) * 3))
        third, fifth = (transformer.norm(x)[:, transformer.num_prefix_tokens :].numpy() for x in seen)
    for hook in hooks:
        hook.remove()
    pyramid = build_pyramid(TRANSFORMER, levels=(3, 5), state=transformer.state_dict())
    assert pyramid.levels == (Level(5, 16, 128, blocks=(3, 5)),)
    level, image = run(pyramid, views)
    joined = np.concatenate([third, fifth], axis=2)
    np.testing.assert_allclose(level, joined.reshape(1, 10, 10, 128), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(image, joined.mean(1), rtol=1e-4, atol=1e-4)
    pyramid = build_pyramid(TRANSFORMER, levels=(5,), image_level=3, state=transformer.state_dict())
    np.testing.assert_allclose(run(pyramid, views)[1], third.mean(1), rtol=1e-4, atol=1e-4)


def test_positions_are_interpolated_to_the_size_of_the_view(transformer: nn.Module, frames: Frames) -> None:
    views = frames(1, size=(224, 96))
    other = timm.create_model("test_vit2", img_size=(224, 96)).eval()
    convert = sys.modules[type(other).__module__].checkpoint_filter_fn
    other.load_state_dict(convert(dict(transformer.state_dict()), other))
    with torch.no_grad():
        tokens = other.forward_features(normalised(views, mean=(0.5,) * 3, std=(0.5,) * 3)).numpy()
    view = View(resize=(224, 96), size=(224, 96))
    for state in (transformer.state_dict(), other.state_dict()):  # a file of the original size, and of this one
        level, _ = run(build_pyramid(TRANSFORMER, view=view, state=state), views)
        expected = tokens[:, other.num_prefix_tokens :].reshape(1, 14, 6, 64)
        np.testing.assert_allclose(level, expected, rtol=1e-4, atol=1e-4)


def test_what_comes_after_the_last_level_is_left_out(transformer: nn.Module, convolutional: nn.Module) -> None:
    state = {name: tensor for name, tensor in transformer.state_dict().items() if not name.startswith("blocks.7.")}
    pyramid = build_pyramid(TRANSFORMER, levels=(7,), state=state)
    assert not [name for name in pyramid.state_dict() if "blocks.7." in name or "head" in name]
    state = {
        name: tensor for name, tensor in convolutional.state_dict().items() if not name.startswith(("layer4", "fc"))
    }
    assert not [name for name in build_pyramid(CONVOLUTIONAL, state=state).state_dict() if "layer4" in name]


# Sizes, levels and names


def test_a_dinov2_gives_one_level(dinov2: nn.Module, frames: Frames) -> None:
    assert own_view("timm:dinov2") == view_of(448)  # 518 is no multiple of 32; 448 is 32 patches
    pyramid = build_pyramid("timm:dinov2", view=view_of(224), state=dinov2.state_dict())
    assert pyramid.levels == (Level(2, 14, 24, blocks=(2,)),)
    views = frames(1, size=(224, 224))
    level, image = run(pyramid, views)
    dinov2.set_input_size((224, 224))
    with torch.no_grad():  # the last norm is in here
        tokens = dinov2.forward_features(normalised(views, mean=(0.485, 0.456, 0.406), std=(0.2, 0.3, 0.4))).numpy()
    np.testing.assert_allclose(level, tokens[:, 5:].reshape(1, 16, 16, 24), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(image, tokens[:, 5:].mean(1), rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError):
        build_pyramid("timm:dinov2", view=view_of(256))  # no whole number of patches


def test_the_names_of_dinov2s_publisher_are_known(dinov2: nn.Module, frames: Frames) -> None:
    published = {name.replace("reg_token", "register_tokens"): x for name, x in dinov2.state_dict().items()}
    published |= {
        "mask_token": torch.zeros(1, 24),
        "pos_embed": torch.cat([torch.zeros(1, 1, 24), dinov2.pos_embed], 1),
    }
    views = frames(1, size=(224, 224))
    expected = run(build_pyramid("timm:dinov2", view=view_of(224), state=dinov2.state_dict()), views)
    found = run(build_pyramid("timm:dinov2", view=view_of(224), state=published), views)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "levels", "image_level"),
    [
        (CONVOLUTIONAL, (), None),
        (CONVOLUTIONAL, (0,), None),
        (CONVOLUTIONAL, (2, 1), None),
        (CONVOLUTIONAL, (1, 1), None),
        (CONVOLUTIONAL, (5,), None),
        (CONVOLUTIONAL, None, 5),
        (TRANSFORMER, (9,), None),
        (TRANSFORMER, (0, 8), None),
        (TRANSFORMER, None, 0),
    ],
)
def test_other_levels_are_refused(backbone: str, levels: tuple[int, ...] | None, image_level: int | None) -> None:
    with pytest.raises(UsageError):
        build_pyramid(backbone, levels=levels, image_level=image_level)


def described(*strides: int, forward: bool = True) -> nn.Module:
    network = nn.Module()
    network.feature_info = [{"reduction": stride} for stride in strides]
    if forward:
        network.forward_intermediates = None
    return network


def test_levels_are_numbered_by_their_stride() -> None:
    maps = FeatureMaps.of(described(2, 4, 8, 16, 16, 32), backbone="timm:x")
    assert (maps.blocks, dict(maps.strides), dict(maps.places)) == (
        False,
        {1: 4, 2: 8, 3: 16, 4: 32},
        {1: 1, 2: 2, 3: 4, 4: 5},
    )
    assert maps.default() == (1, 2, 3)
    assert FeatureMaps.of(described(16, 32, 64), backbone="timm:x").default() == (3,)
    assert FeatureMaps.of(described(32, 64), backbone="timm:x").default() == (4,)
    blocks = FeatureMaps.of(described(14, 14, 14), backbone="timm:x")
    assert (blocks.blocks, blocks.default(), dict(blocks.places)) == (True, (3,), {1: 0, 2: 1, 3: 2})


@pytest.mark.parametrize("network", [nn.Module(), described(), described(3, 6), described(4, 8, forward=False)])
def test_a_network_without_feature_maps_is_refused(network: nn.Module) -> None:
    with pytest.raises(UsageError):
        FeatureMaps.of(network, backbone="timm:x")


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="test_resnet"):
        build_pyramid("timm:test_resnett")
    with pytest.raises(UsageError, match="r160_in1k"):
        build_pyramid("timm:test_resnet.nonesuch")
    for name in ("hf-hub:timm/resnet18.a1_in1k", "local-dir:/tmp", "", "resnet18/x"):
        with pytest.raises(UsageError):
            build_pyramid(f"timm:{name}")


def test_missing_timm_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(DeviceError, match=r"pip install 'spade-edge\[timm\]'"):
        build_pyramid(CONVOLUTIONAL)


# Weights


def test_nothing_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pretrained=True"):
        export_model(tmp_path / "m.onnx", backbone=CONVOLUTIONAL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backbone", [CONVOLUTIONAL, TRANSFORMER])
def test_weights_that_do_not_fit(backbone: str, convolutional: nn.Module, transformer: nn.Module) -> None:
    network, other = (convolutional, transformer) if backbone == CONVOLUTIONAL else (transformer, convolutional)
    state = dict(network.state_dict())
    with pytest.raises(DataError, match="missing"):
        build_pyramid(backbone, state=other.state_dict())
    name = "layer1.0.conv1.weight" if backbone == CONVOLUTIONAL else "blocks.1.mlp.fc1.weight"
    with pytest.raises(DataError, match=name):
        build_pyramid(backbone, state={key: x for key, x in state.items() if key != name})
    with pytest.raises(DataError, match=name):
        build_pyramid(backbone, state=state | {name: state[name][:1]})
    with pytest.raises(DataError, match=name):
        build_pyramid(backbone, state=state | {name: torch.full_like(state[name], torch.nan)})


# The file


@pytest.fixture(scope="module")
def weights(transformer: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(transformer, tmp_path_factory.mktemp("weights") / "own.pth")


@pytest.fixture(scope="module")
def report(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """Two blocks of the transformer, at 14 x 14 tokens."""
    path = tmp_path_factory.mktemp("timm") / "m.onnx"
    return export_model(path, backbone=TRANSFORMER, weights=weights, levels=(4, 8), view=view_of(224))


def test_the_card_of_a_transformer(report: ExportReport) -> None:
    card = Session.open(report.path).card
    assert card == report.card
    assert (card.backbone, card.levels, card.image_level) == (TRANSFORMER, (Level(8, 16, 128, blocks=(4, 8)),), 8)
    assert (card.mean, card.std) == ((127.5,) * 3, (127.5,) * 3)
    assert card.weights["timm"] == timm.__version__ and len(card.weights["sha256"]) == 64
    assert card.grid(card.levels[0]) == (14, 14)


def test_the_file_computes_what_torch_computes_for_any_number_of_views(
    report: ExportReport, weights: Path, frames: Frames
) -> None:
    session, network = Session.open(report.path), TorchSession(report.card, weights=weights)
    views = frames(5, size=(224, 224))
    expected, together = network(views), session(views)
    for number, wanted in enumerate(expected):
        for found in (together[number], session(views[number : number + 1])[0]):
            np.testing.assert_allclose(found.levels[0], wanted.levels[0], rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(found.descriptor, wanted.descriptor, rtol=1e-3, atol=1e-4)


def test_the_graph_has_fixed_sizes_and_plain_operators(report: ExportReport) -> None:
    model = onnx.load(report.path)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert kinds["Shape"] == 1  # the number of views, for class and register tokens
    assert not kinds.keys() & {"Identity", "Constant", "ConstantOfShape", "Where", "Range", "If", "Loop"}
    assert all(max(array, default=0) < 2**31 for array in integers(model))
    found = lint(report.path)
    assert found.fit("cpu") and found.fit("tensorrt")
    assert {x.check for x in found.findings} == {"operators", "types"}  # LayerNormalization, 64-bit number of views


def integers(model: onnx.ModelProto) -> list[list[int]]:
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    return [array.ravel().tolist() for array in arrays if array.dtype == np.int64]


def test_a_fixed_batch(report: ExportReport, tmp_path: Path) -> None:
    assert write_static(report.path, tmp_path / "two.onnx", batch=2).batch == 2


def test_stored_sizes_change_nothing(monkeypatch: pytest.MonkeyPatch, frames: Frames) -> None:
    torch.manual_seed(0)
    pyramid = build_pyramid(TRANSFORMER, view=view_of(64))
    stored = build_graph(pyramid, view=view_of(64))
    monkeypatch.setattr(onnx_conversion, "fold_shapes", lambda *model, view: None)
    computed = build_graph(pyramid, view=view_of(64))
    assert sum(node.op_type == "Shape" for node in computed.graph.node) > 5
    views = frames(3)
    for found, expected in zip(outputs_of(stored, views), outputs_of(computed, views), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def outputs_of(model: onnx.ModelProto, views: Views) -> list[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"frames": views}))


@pytest.mark.parametrize("backbone", [CONVOLUTIONAL, TRANSFORMER])
def test_half_precision(backbone: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pyramid = build_pyramid(backbone, view=view_of(64))
    path = tmp_path / "m.onnx"
    report = export_pyramid(pyramid, path, view=view_of(64), weights_note={}, precision=Precision("fp16"))
    assert lint(path).precision == "fp16" and report.card.parity["image"]["relative"] < 1e-2
    weights = [x for x in onnx.load(path).graph.initializer if len(x.dims) >= 2]
    assert weights and all(x.data_type == onnx.TensorProto.FLOAT16 for x in weights if x.name not in ("mean", "std"))


def test_int8_is_for_convolutions(tmp_path: Path, frames: Frames) -> None:
    precision = Precision("int8", views=frames(4))
    torch.manual_seed(0)
    path = tmp_path / "m.onnx"
    pyramid = build_pyramid(CONVOLUTIONAL, view=view_of(64))
    report = export_pyramid(pyramid, path, view=view_of(64), weights_note={}, precision=precision)
    assert lint(path).fit("cpu") and report.card.precision == "int8"
    pyramid = build_pyramid(TRANSFORMER, view=view_of(64))
    with pytest.raises(UsageError, match="convolutions"):
        export_pyramid(pyramid, tmp_path / "none.onnx", view=view_of(64), weights_note={}, precision=precision)


def test_other_weights_are_no_reference(report: ExportReport, convolutional: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        TorchSession(report.card, weights=saved(convolutional, tmp_path / "other.pth"))


def test_a_bundle_of_a_transformer_finds_a_flaw(
    report: ExportReport, good_images: Path, part: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    """One level of 14 x 14 positions, whose features are negative as often as not, through all that follows."""
    built = build(good_images, model=report.path, output=tmp_path / "part.spade")
    scorer = Scorer.open(built.path)
    good, flawed = scorer(part(20, size=(100, 80))), scorer(part(21, size=(100, 80), flaw=True))
    assert flawed.score > good.score
    assert flawed.heatmap.shape == (224, 224)
    row, column = np.unravel_index(flawed.heatmap.argmax(), flawed.heatmap.shape)
    # The flaw is at rows 33 to 47 of 100 and columns 20 to 34 of 80; a position is 16 of 224 pixels wide.
    assert 33 / 100 * 224 - 16 <= row <= 47 / 100 * 224 + 16
    assert 20 / 80 * 224 - 16 <= column <= 34 / 80 * 224 + 16
    for kind, seeds in (("good", (22, 23)), ("flaw", (24, 25))):
        (tmp_path / "dataset" / kind).mkdir(parents=True)
        for seed in seeds:
            np.save(tmp_path / "dataset" / kind / f"{seed}.npy", part(seed, size=(100, 80), flaw=kind == "flaw"))
    assert evaluate(scorer, tmp_path / "dataset").image_auroc.value == 1
