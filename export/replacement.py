"""Writing a model so that nobody ever sees half of one: beside its place, and moved there when it has proved itself."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from spade_edge.runtime.errors import DeviceError, UsageError


def check_place(output: Path, *, option: str) -> None:
    """Refuse a place that cannot hold a file.

    Args:
        output: the file that will be written.
        option: that named it, for messages.

    Raises:
        UsageError: its folder is missing, or it is a folder or device.
    """
    if not output.parent.is_dir():
        raise UsageError(f"{option} {output}: expected a folder that exists, found no {output.parent}; create it first")
    if output.exists() and not output.is_file():
        raise UsageError(f"{option} {output}: expected the name of a file, found a folder or device of that name")


@contextmanager
def replacing(output: Path, *, option: str) -> Iterator[Path]:
    """A file beside `output` that takes its place if all goes well, and is gone if not.

    Raises:
        DeviceError: it cannot be written: the disk is full.
    """
    part = output.with_name(f".{output.name}.{secrets.token_hex(4)}.part")
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
    """Write a model through to the disk; gives the file's content, the same bytes every time."""
    content = model.SerializeToString(deterministic=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return content
