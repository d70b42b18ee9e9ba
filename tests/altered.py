"""Bundles that hold something else than what was built."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.bundle.manifest import FILE


def altered(bundle: Path, copy: Path, field: str, **changes: object) -> Path:
    """A copy of a bundle with other values in one object of its manifest."""
    shutil.copytree(bundle, copy)
    value = json.loads((copy / FILE).read_text())
    value[field].update(changes)
    (copy / FILE).write_text(json.dumps(value))
    return copy


def replaced(bundle: Path, copy: Path, role: str, array: NDArray[np.generic]) -> Path:
    """A copy of a bundle with another array in the place of one, named and hashed as the format asks for."""
    shutil.copytree(bundle, copy)
    np.save(copy / "new.npy", array)
    content = (copy / "new.npy").read_bytes()
    (copy / "new.npy").unlink()
    put_payload(copy, role, content, suffix=".npy")
    return copy


def put_payload(copy: Path, role: str, content: bytes, *, suffix: str) -> Path:
    """Put a file in a role of a bundle that may be changed, as above; returns its path."""
    value = json.loads((copy / FILE).read_text())
    digest = hashlib.sha256(content).hexdigest()
    name = f"{role}-{digest[:16]}{suffix}"
    (copy / name).write_bytes(content)
    value["files"][role] = {"name": name, "sha256": digest, "size": len(content)}
    (copy / FILE).write_text(json.dumps(value))
    return copy / name
