"""The file: what onnxruntime computes from it, what it says of itself, and what a failed export leaves."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from spade_edge.export import (
    BACKBONES,
    ExportReport,
    TorchPyramid,
    build_pyramid,
    export_model,
    export_pyramid,
    output_file,
)
from spade_edge.export.pyramid import StagedPyramid
from spade_edge.runtime.errors import DeviceError, ModelError, UsageError
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.network.card import Level, ModelCard

Views = NDArray[np.float32]
Frames = Callable[..., Views]
Oracle = Callable[[nn.Module, Views], Mapping[str, Views]]

WEIGHTS = Path(os.environ.get("SPADE_EDGE_TEST_WEIGHTS", ""))


def open_session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_onnxruntime_gives_what_torchvision_gives(
    count: int, exported: ExportReport, resnet18: nn.Module, frames: Frames, oracle: Oracle
) -> None:
    views = frames(count)
    expected = oracle(resnet18, views)
    *levels, image = open_session(exported.path).run(None, {"frames": views})
    for number, level in enumerate(levels, start=1):
        assert level.dtype == np.float32
        np.testing.assert_allclose(level.transpose(0, 3, 1, 2), expected[f"level{number}"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(image, expected["level4"].mean((2, 3)), rtol=1e-3, atol=1e-5)


def test_the_card_says_what_is_in_the_file(exported: ExportReport, small: View) -> None:
    card = exported.card
    assert card.levels == (Level(1, 4, 64), Level(2, 8, 128), Level(3, 16, 256))
    assert (card.backbone, card.image_level, card.image_channels) == ("resnet18", 4, 512)
    assert (card.view, card.precision, card.weights) == (small, "fp32", {"source": "random"})
    content = exported.path.read_bytes()
    assert (exported.sha256, exported.size) == (hashlib.sha256(content).hexdigest(), len(content))
    metadata = {entry.key: entry.value for entry in onnx.load(str(exported.path)).metadata_props}
    assert ModelCard.from_metadata(metadata, source="test") == card
    ports = {port.name: tuple(port.shape[1:]) for port in open_session(exported.path).get_outputs()}
    assert ports == card.output_shapes()


def test_parity_is_measured_and_small_but_not_nothing(exported: ExportReport) -> None:
    parity = dict(exported.card.parity)
    versions = parity.pop("versions")
    assert list(parity) == ["level1", "level2", "level3", "image"]
    for difference in parity.values():
        assert 0 < difference["relative"] < 1e-4
        assert difference["absolute"] > 0
    assert versions == {
        "torch": str(torch.__version__),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def test_a_view_that_is_not_square_and_is_cropped(tmp_path: Path) -> None:
    torch.manual_seed(0)
    view = View(resize=(40, 128), size=(32, 96))
    report = export_pyramid(build_pyramid("resnet18"), tmp_path / "m.onnx", view=view, weights_note={})
    assert report.card.view == view
    assert open_session(report.path).get_inputs()[0].shape == ["batch", 32, 96, 3]
    assert report.card.output_shapes()["level3"] == (2, 6, 256)


def test_export_model_with_a_weights_file(
    tmp_path: Path, resnet18: nn.Module, small: View, frames: Frames, oracle: Oracle
) -> None:
    weights = tmp_path / "own.pth"
    torch.save(resnet18.state_dict(), weights)
    report = export_model(
        tmp_path / "m.onnx", backbone="resnet18", weights=weights, levels=(2,), image_level=3, view=small
    )
    assert report.card.weights == {
        "source": "file",
        "file": "own.pth",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    expected = oracle(resnet18, frames(1))
    level, image = open_session(report.path).run(None, {"frames": frames(1)})
    np.testing.assert_allclose(level.transpose(0, 3, 1, 2), expected["level2"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(image, expected["level3"].mean((2, 3)), rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="SPADE_EDGE_TEST_WEIGHTS names no weights of wide_resnet50_2")
def test_wide_resnet50_2_with_fp16_weights_of_the_truncated_network(
    tmp_path: Path, network: Callable[[str], nn.Module], small: View, frames: Frames, oracle: Oracle
) -> None:
    report = export_model(tmp_path / "m.onnx", weights=WEIGHTS, view=small)
    assert report.card.backbone == "wide_resnet50_2"
    whole = network("wide_resnet50_2")
    state = torch.load(WEIGHTS, weights_only=True)
    missing = whole.load_state_dict({name: x.float() for name, x in state.items()}, strict=False).missing_keys
    assert {name.split(".")[0] for name in missing} == {"layer4", "fc"}
    expected = oracle(whole, frames(1))
    *levels, image = open_session(report.path).run(None, {"frames": frames(1)})
    for number, level in enumerate(levels, start=1):
        largest = np.abs(expected[f"level{number}"]).max()
        np.testing.assert_allclose(level.transpose(0, 3, 1, 2), expected[f"level{number}"], atol=1e-4 * largest)
    np.testing.assert_allclose(image, expected["level3"].mean((2, 3)), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_the_same_bytes_again_and_from_another_process(exported: ExportReport, tmp_path: Path) -> None:
    script = (
        "import sys, os; sys.modules['fcntl'] = None; del os.O_DIRECTORY; "  # as on Windows
        "import torch; from pathlib import Path; from spade_edge.export import build_pyramid, export_pyramid; "
        "from spade_edge.runtime.geometry.view import View; torch.set_num_threads(2); torch.manual_seed(3); "
        "pyramid = build_pyramid('resnet18', levels=(1,)); "
        "export_pyramid(pyramid, Path(sys.argv[1]), view=View((64, 64), (64, 64)), weights_note={'source': 'random'})"
    )
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.onnx")], capture_output=True, check=True)
    assert (run.stdout, run.stderr) == (b"", b"")  # and nothing is printed
    torch.manual_seed(3)
    pyramid = build_pyramid("resnet18", levels=(1,))
    for name in ("b.onnx", "c.onnx"):
        export_pyramid(pyramid, tmp_path / name, view=exported.card.view, weights_note={"source": "random"})
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "c.onnx").read_bytes()
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def small_pyramid() -> TorchPyramid:
    torch.manual_seed(0)
    return build_pyramid("resnet18", levels=(1,))


class Brighter(StagedPyramid):
    """Exported, it is another network: every colour is off by 1 of 255."""

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return super().forward(frames + 1 if torch.onnx.is_in_onnx_export() else frames)


class Interrupted(StagedPyramid):
    """Somebody presses Ctrl-C once it is exported."""

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if not torch.onnx.is_in_onnx_export():
            raise KeyboardInterrupt
        return super().forward(frames)


@pytest.mark.parametrize("former", [b"the former model", None])
def test_a_model_that_differs_from_torch_is_not_written(former: bytes | None, tmp_path: Path, small: View) -> None:
    path = tmp_path / "m.onnx"
    if former is not None:
        path.write_bytes(former)
    pyramid = Brighter(BACKBONES["resnet18"], levels=(1,), image_level=1)
    with pytest.raises(ModelError, match=r"level1 within 0\.001 of torch, found 0\.0"):
        export_pyramid(pyramid, path, view=small, weights_note={})
    assert [x.read_bytes() for x in tmp_path.iterdir()] == ([] if former is None else [former])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda batch_norm: batch_norm.running_var.fill_(-1), "level1, found NaN"),
        (lambda batch_norm: batch_norm.weight.fill_(3e38), "level1, found NaN or infinity"),
    ],
)
def test_weights_that_give_no_finite_features(
    spoil: Callable[[nn.BatchNorm2d], object], message: str, tmp_path: Path, small: View
) -> None:
    pyramid = small_pyramid()
    with torch.no_grad():
        spoil(next(module for module in pyramid.modules() if isinstance(module, nn.BatchNorm2d)))
    with pytest.raises(ModelError, match=message):
        export_pyramid(pyramid, tmp_path / "m.onnx", view=small, weights_note={})
    assert not list(tmp_path.iterdir())


def test_weights_that_give_nothing_but_zeros(tmp_path: Path, small: View) -> None:
    pyramid = small_pyramid()
    for tensor in pyramid.stages.parameters():
        nn.init.zeros_(tensor)
    with pytest.raises(ModelError, match="level1, found only zeros"):
        export_pyramid(pyramid, tmp_path / "m.onnx", view=small, weights_note={})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_former_model(tmp_path: Path, small: View, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"the former model")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(output_file.os, "fsync", full)
    with pytest.raises(DeviceError, match="No space left on device"):
        export_pyramid(small_pyramid(), path, view=small, weights_note={})
    assert [x.read_bytes() for x in tmp_path.iterdir()] == [b"the former model"]


def test_an_interrupted_export_leaves_nothing(tmp_path: Path, small: View) -> None:
    pyramid = Interrupted(BACKBONES["resnet18"], levels=(1,), image_level=1)
    with pytest.raises(KeyboardInterrupt):
        export_pyramid(pyramid, tmp_path / "m.onnx", view=small, weights_note={})
    assert not list(tmp_path.iterdir())


def test_a_former_model_is_replaced(tmp_path: Path, small: View) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"the former model")
    report = export_pyramid(small_pyramid(), path, view=small, weights_note={})
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size == report.size


def test_a_file_that_others_may_read(tmp_path: Path, small: View) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    report = export_pyramid(small_pyramid(), tmp_path / "m.onnx", view=small, weights_note={})
    assert report.path.stat().st_mode == plain.stat().st_mode


def test_the_place_is_checked_before_the_work(tmp_path: Path) -> None:
    """There are no such weights and no such backbone, but that comes later."""
    with pytest.raises(UsageError, match=r"found no .*absent"):
        export_model(tmp_path / "absent" / "m.onnx", weights=tmp_path / "none.pth", backbone="none")
    with pytest.raises(UsageError, match="found a folder"):
        export_model(tmp_path, weights=tmp_path / "none.pth", backbone="none")


def test_options_are_checked_before_weights_are_looked_for(tmp_path: Path) -> None:
    output, absent = tmp_path / "m.onnx", tmp_path / "none.pth"  # a DataError, once it is looked for
    with pytest.raises(UsageError, match="vgg16"):
        export_model(output, weights=absent, backbone="vgg16")
    with pytest.raises(UsageError, match="found 3, 1"):
        export_model(output, weights=absent, backbone="resnet18", levels=(3, 1))
    with pytest.raises(UsageError, match="found 1"):
        export_model(output, weights=absent, backbone="resnet18", image_level=1)


def test_a_pyramid_in_training_mode_is_exported_in_evaluation_mode(tmp_path: Path, small: View) -> None:
    report = export_pyramid(small_pyramid().train(), tmp_path / "m.onnx", view=small, weights_note={})
    assert report.card.parity["level1"]["relative"] < 1e-4


def test_nothing_else_is_replaced_by_a_model(tmp_path: Path) -> None:
    """Each is refused before the weights, which are not there, are looked for."""
    original = tmp_path / "weights.pth"
    original.write_bytes(b"weights")
    (tmp_path / "link.onnx").symlink_to(original)
    (tmp_path / "part.spade").mkdir()
    (tmp_path / "part.spade" / "manifest.json").touch()
    for name in ("weights.pth", "link.onnx", "part.spade/m.onnx"):
        with pytest.raises(UsageError, match=name):
            export_model(tmp_path / name, weights=tmp_path / "none.pth", backbone="resnet18")
    assert original.read_bytes() == b"weights" and (tmp_path / "link.onnx").is_symlink()
