"""The engines that TensorRT has built on this machine, kept in a private folder.

    $XDG_CACHE_HOME or ~/.cache/spade-edge/engines/<16 hex of the model>-tensorrt<major version>-<16 hex of the key>/
        *.engine, *.profile, *.timing        what TensorRT writes
        prepared.json                        written last: the key, and size and SHA-256 of every engine

An engine is executable code. It is only loaded from a folder that nobody else can write to, and never from a bundle.
It is only valid for the model, onnxruntime, TensorRT and GPU that it was built with; all of them are in the key.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from spade_edge.runtime.digest import BUNDLE_MARK, sha256
from spade_edge.runtime.errors import DeviceError
from spade_edge.runtime.kernels.ort import onnxruntime
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.gpu import Gpu, tensorrt_version
from spade_edge.runtime.network.gpu_session import must_be_offered, provider_library
from spade_edge.runtime.network.provider import TENSORRT, BatchRange, Provider
from spade_edge.runtime.network.tensorrt import major

SCHEMA = 1
PREPARED = "prepared.json"
PRIVATE = stat.S_IRWXU
TF32 = "NVIDIA_TF32_OVERRIDE"


@dataclass(frozen=True)
class EngineCache:
    """The engines of one model for one machine.

    Attributes:
        folder: the folder of the engines; it need not exist.
        key: everything that the engines depend on.
    """

    folder: Path
    key: Mapping[str, Any]

    @classmethod
    def of(cls, model: Path, card: ModelCard, provider: Provider, *, views: BatchRange) -> EngineCache:
        """The engines of a model on this machine, whether or not they have been built.

        Args:
            model: the ONNX file.
            card: the model's card.
            provider: the GPU, and the options of the engine.
            views: the numbers of views in one run.

        Raises:
            DeviceError: TensorRT or the GPU is missing, or there is no suitable folder.
            UsageError: the provider asks for what this version of TensorRT cannot do.
        """
        must_be_offered(provider.execution_provider)
        if not hasattr(os, "geteuid"):
            raise DeviceError(
                "expected a system whose file permissions keep engines private, as they are executable code, "
                f"found {sys.platform}; use --provider cuda or cpu"
            )
        tensorrt = tensorrt_version(provider_library(TENSORRT))
        gpu = Gpu.at(provider.device)
        fp16, int8 = provider.flags(card.precision, tensorrt=tensorrt)
        digest = sha256(model)
        key = {
            "schema": SCHEMA,
            "model": digest,
            "name": model.name,  # TensorRT's files are named after it
            "onnxruntime": str(onnxruntime().__version__),
            "tensorrt": tensorrt,
            "gpu": gpu.name,
            "capability": gpu.capability,
            "fp16": fp16,
            "int8": int8,
            "tf32": allows_tf32(provider),
            "workspace": provider.workspace,
            "views": [views.least, views.usual, views.most],
        }
        text = json.dumps(key, sort_keys=True).encode()
        root = _root() if provider.engines is None else provider.engines
        name = f"{digest[:16]}-tensorrt{major(tensorrt)}-{hashlib.sha256(text).hexdigest()[:16]}"
        folder = root / "engines" / name
        if (model.parent / BUNDLE_MARK).exists() and folder.resolve().is_relative_to(model.parent.resolve()):
            raise DeviceError(f"{folder}: expected a folder for engines outside the bundle, found it inside")
        return cls(folder=folder, key=key)

    @property
    def tensorrt(self) -> str:
        """Version of TensorRT."""
        return str(self.key["tensorrt"])

    def prepared(self) -> bool:
        """Whether complete engines exist for exactly this key.

        Raises:
            DeviceError: others could have written to the folder.
        """
        if not self.folder.is_symlink() and not self.folder.exists():
            return False
        for folder in self._chain():
            _must_be_private(folder)
        try:
            value = json.loads((self.folder / PREPARED).read_bytes())
            files = value["files"].items()
            same = value["key"] == self.key and len(files) > 0
            return same and all(_describe(self.folder / Path(name).name) == found for name, found in files)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return False

    @contextmanager
    def building(self) -> Iterator[None]:
        """Make an empty folder for engines; if the block succeeds, the engines in it count as prepared.

        If two processes build the same engines, the second waits for the first.

        Raises:
            DeviceError: the folder cannot be made, is not private, or no engine was written to it.
        """
        import fcntl  # POSIX only, as are engines

        for folder in self._chain():
            try:
                folder.mkdir(mode=PRIVATE, parents=folder == self._chain()[0], exist_ok=True)
            except OSError as problem:
                raise DeviceError(
                    f"{folder}: expected a folder for engines, found that it cannot be made: {problem.strerror}; "
                    "set XDG_CACHE_HOME to a folder of this user"
                ) from None
            _must_be_private(folder)
        with self.folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.prepared():  # another process has built them in the meantime
                yield
                return
            self._empty()  # of what an interrupted run left
            start = monotonic()
            yield
            self._mark(seconds=monotonic() - start)

    def sweep(self) -> None:
        """Remove what a build that was ended has left. The files of a process that is building now are not touched.

        Raises:
            DeviceError: others could have written to the folder.
        """
        import fcntl  # as above

        with suppress(FileNotFoundError, BlockingIOError), self.folder.with_suffix(".lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self.prepared():
                self._empty()

    def others(self) -> tuple[Path, ...]:
        """Folders of the same model for other versions, GPUs or settings."""
        found = self.folder.parent.glob(f"{self.folder.name.partition('-')[0]}-*")
        return tuple(sorted(path for path in found if path != self.folder and path.is_dir() and not path.is_symlink()))

    def remove(self, other: Path) -> None:
        """Remove one of the folders that `others` returned."""
        shutil.rmtree(other)
        other.with_suffix(".lock").unlink(missing_ok=True)

    def _chain(self) -> tuple[Path, ...]:
        """The folders from the root of the cache down to the engines' own folder."""
        return self.folder.parents[1], self.folder.parent, self.folder

    def _empty(self) -> None:
        for left in self.folder.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()

    def _mark(self, *, seconds: float) -> None:
        engines = sorted(self.folder.glob("*.engine"))
        if not engines:
            raise DeviceError(
                f"{self.folder}: expected TensorRT to write its engine there, found none; is the disk full?"
            )
        value = {"key": self.key, "seconds": round(seconds, 1), "files": {x.name: _describe(x) for x in engines}}
        unfinished = self.folder / f".{PREPARED}"
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)
            file.flush()
            for path in engines:  # engines only count when they are on the disk
                _sync(path)
            os.fsync(file.fileno())
        unfinished.replace(self.folder / PREPARED)


def allows_tf32(provider: Provider) -> bool:
    """Whether TensorRT may round float32 to TensorFloat-32."""
    return os.environ.get(TF32, "1" if provider.tf32 else "0") != "0"


def _must_be_private(folder: Path) -> None:
    """Refuse a folder that anybody else could have written code to."""
    state = folder.lstat()
    if stat.S_ISLNK(state.st_mode):
        fault = "a symbolic link"
    elif not stat.S_ISDIR(state.st_mode):
        fault = "something else"
    elif state.st_uid != os.geteuid():
        fault = f"one of user {state.st_uid}"
    elif state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        fault = f"one that others can write to, mode {stat.S_IMODE(state.st_mode):03o}"
    else:
        return
    raise DeviceError(
        f"{folder}: expected a private folder of user {os.geteuid()}, as engines are executable code, found {fault}; "
        "remove it, or set XDG_CACHE_HOME to another place"
    )


def _root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # noqa: PTH117  (the standard says to ignore a relative path)
        return Path(base, "spade-edge")
    try:
        return Path.home() / ".cache" / "spade-edge"
    except RuntimeError:
        raise DeviceError("expected a home folder for engines, found none; set XDG_CACHE_HOME") from None


def _describe(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": sha256(path)}


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
