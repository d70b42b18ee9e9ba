"""Writing a model file: beside its place, and moved there once verified, so that nobody ever sees half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from spade_edge.runtime.bundle.manifest import FILE as MANIFEST
from spade_edge.runtime.errors import DeviceError, UsageError


def check_output_file(output: Path, *, option: str) -> None:
    """Refuse a path that no file can be written to, or that something else than a model has.

    Args:
        output: the file that will be written.
        option: of the command line, for messages.

    Raises:
        UsageError: its folder is missing or a bundle, or a folder, a device, a link or another kind of file has its
            name.
    """
    if not output.parent.is_dir():
        raise UsageError(f"{option} {output}: expected a folder that exists, found no {output.parent}; create it first")
    if output.exists() and not output.is_file():
        raise UsageError(f"{option} {output}: expected the name of a file, found a folder or device of that name")
    if output.is_symlink():
        raise UsageError(f"{option} {output}: expected the name of a file, found a link; choose another name")
    if output.exists() and output.suffix.lower() != ".onnx" and not _is_ours(output):
        raise UsageError(
            f"{option} {output}: expected a free name or that of an .onnx file, found a file that spade-edge did not "
            "write; choose another name"
        )
    if (output.parent / MANIFEST).is_file():
        raise UsageError(f"{option} {output}: expected a folder outside of bundles, found a bundle; choose another")


def _is_ours(output: Path) -> bool:
    """Whether a file is a model that was exported here: its producer stands at its beginning."""
    with output.open("rb") as file:
        return b"spade-edge" in file.read(64)


@contextmanager
def replacing(output: Path, *, option: str) -> Iterator[Path]:
    """A file beside `output` that replaces it at the end of the block, or is removed if the block fails.

    Raises:
        DeviceError: it cannot be written, e.g. because the disk is full.
    """
    part = output.with_name(f".{secrets.token_hex(8)}.part")  # not longer than allowed, whatever the name
    try:
        yield part
        part.replace(output)
    except OSError as problem:
        raise DeviceError(
            f"{option} {output}: expected to write the model, found {problem.strerror or problem}; "
            "free some space or choose another folder"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def write_model(path: Path, model: onnx.ModelProto) -> bytes:
    """Write a model and flush it to disk; returns the content of the file, the same bytes for the same model."""
    content = model.SerializeToString(deterministic=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return content
