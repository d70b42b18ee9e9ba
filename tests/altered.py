"""Bundles whose manifest says something else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from spade_edge.runtime.manifest import FILE


def altered(bundle: Path, copy: Path, field: str, **changes: object) -> Path:
    """A copy of a bundle with other values in one object of its manifest."""
    shutil.copytree(bundle, copy)
    value = json.loads((copy / FILE).read_text())
    value[field].update(changes)
    (copy / FILE).write_text(json.dumps(value))
    return copy
