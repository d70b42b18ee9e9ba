"""Build a bundle from images of good parts, check it, and change its images and its threshold.

    from pathlib import Path
    from spade_edge.galleries import BuildOptions, build, set_threshold

    built = build(
        Path("good_parts"), model=Path("model.onnx"), output=Path("part.spade"), options=BuildOptions(rate=0.01)
    )
    print(built.manifest.threshold.sentence())
    set_threshold(built.path, rate=0.005, reason="fewer good parts may be rejected")

The files of a bundle are listed in `spade_edge.runtime.bundle.manifest`.
"""

from __future__ import annotations

from spade_edge.galleries.builder import Built, build
from spade_edge.galleries.bundle_difference import Difference, difference
from spade_edge.galleries.exclusion import exclude, include
from spade_edge.galleries.gallery_change import GalleryChange
from spade_edge.galleries.generation import Generation, Pruned, back_to, generations, prune, undo
from spade_edge.galleries.held_back import Calibration, calibrate
from spade_edge.galleries.options import BuildOptions
from spade_edge.galleries.packing import Packed, pack
from spade_edge.galleries.plan import Plan
from spade_edge.galleries.prospect import Prospect
from spade_edge.galleries.teaching import compact, take_out, teach_in
from spade_edge.galleries.threshold_change import ThresholdChange, set_threshold
from spade_edge.galleries.unpacking import Unpacked, unpack
from spade_edge.galleries.view_selection import Views

__all__ = [
    "BuildOptions",
    "Built",
    "Calibration",
    "Difference",
    "GalleryChange",
    "Generation",
    "Packed",
    "Plan",
    "Prospect",
    "Pruned",
    "ThresholdChange",
    "Unpacked",
    "Views",
    "back_to",
    "build",
    "calibrate",
    "compact",
    "difference",
    "exclude",
    "generations",
    "include",
    "pack",
    "prune",
    "set_threshold",
    "take_out",
    "teach_in",
    "undo",
    "unpack",
]
