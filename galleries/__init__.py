"""Build a bundle from images of good parts.

    from pathlib import Path
    from spade_edge.galleries import build

    built = build(Path("good_parts"), model=Path("model.onnx"), output=Path("part.spade"))
    built.manifest.threshold.score

The bundle's files are listed in `spade_edge.runtime.bundle.manifest`.
"""

from __future__ import annotations

from spade_edge.galleries.builder import Built, build
from spade_edge.galleries.options import BuildOptions
from spade_edge.galleries.plan import Plan
from spade_edge.galleries.view_selection import Views

__all__ = ["BuildOptions", "Built", "Plan", "Views", "build"]
