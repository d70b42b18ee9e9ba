"""spade-edge: find defects on a production line from images of good parts only.

On the command line:

    spade-edge export --output model.onnx
    spade-edge build --model model.onnx --images good_parts/ --output part.spade
    spade-edge score --bundle part.spade new_parts/

The same in Python:

    from pathlib import Path
    from spade_edge import Scorer, build, export_model, open_source

    export_model(Path("model.onnx"))
    build(Path("good_parts"), model=Path("model.onnx"), output=Path("part.spade"))

    scorer = Scorer.open("part.spade")
    for shot in open_source("new_parts"):
        result = scorer(shot.frame)             # frame: (H, W, 3) uint8 BGR, or (H, W) uint8 grey
        print(shot.name, result.score, result.verdict)

Scoring needs numpy and onnxruntime only. Every name of `__all__` is loaded when it is first used; a name whose packages
are not installed raises a `DeviceError` that says what to install.

The method is SPADE (Cohen & Hoshen 2020, arXiv 2005.02357).
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spade_edge.export import ExportReport, Precision, export_model  # noqa: TID251  (loaded on demand)
    from spade_edge.galleries import (  # noqa: TID251
        BuildOptions,
        Built,
        Calibration,
        Difference,
        GalleryChange,
        Generation,
        Packed,
        Plan,
        Prospect,
        Pruned,
        ThresholdChange,
        Unpacked,
        Views,
        back_to,
        build,
        calibrate,
        compact,
        difference,
        exclude,
        generations,
        include,
        pack,
        prune,
        set_threshold,
        take_out,
        teach_in,
        undo,
        unpack,
    )
    from spade_edge.runtime import (
        BundleError,
        DataError,
        DeviceError,
        Drift,
        DriftChange,
        DriftOptions,
        DriftWatch,
        FollowingScorer,
        FrameError,
        FrameResult,
        Match,
        ModelError,
        Pose,
        Provider,
        Region,
        Scorer,
        SpadeError,
        UsageError,
    )
    from spade_edge.runtime.geometry.view import View
    from spade_edge.runtime.matching.config import PROFILES, Matching
    from spade_edge.runtime.matching.graph_search import Search
    from spade_edge.tools.evaluation.dataset import Dataset, open_dataset  # noqa: TID251
    from spade_edge.tools.evaluation.device_parity import (  # noqa: TID251
        Parity,
        ParityStage,
        golden_parity,
        parity,
    )
    from spade_edge.tools.evaluation.evaluator import evaluate  # noqa: TID251
    from spade_edge.tools.evaluation.results import Evaluation  # noqa: TID251
    from spade_edge.tools.preparation.preparation import Preparation, prepare  # noqa: TID251
    from spade_edge.tools.signing import Signed, Verified, new_key, sign, verify, verify_signature  # noqa: TID251
    from spade_edge.tools.sources import Camera, Grab, Shot, Source, SourceOptions, open_source  # noqa: TID251

__version__ = "0.1.0"

# Module to its public names, and the extra that brings the packages that the module imports.
_HOMES = {
    "spade_edge.runtime": (
        "cpu",
        "BundleError DataError DeviceError Drift DriftChange DriftOptions DriftWatch FollowingScorer FrameError "
        "FrameResult Match ModelError Pose Provider Region Scorer SpadeError UsageError",
    ),
    "spade_edge.runtime.geometry.view": ("cpu", "View"),
    "spade_edge.runtime.matching.config": ("cpu", "Matching PROFILES"),
    "spade_edge.runtime.matching.graph_search": ("cpu", "Search"),
    "spade_edge.export": ("export", "ExportReport Precision export_model"),
    "spade_edge.galleries": (
        "galleries",
        "BuildOptions Built Calibration Difference GalleryChange Generation Packed Plan Pruned ThresholdChange "
        "Prospect Unpacked Views back_to build calibrate compact difference exclude generations include pack prune "
        "set_threshold take_out teach_in undo unpack",
    ),
    "spade_edge.tools.evaluation.dataset": ("camera", "Dataset open_dataset"),
    "spade_edge.tools.evaluation.device_parity": ("export", "Parity ParityStage golden_parity parity"),
    "spade_edge.tools.evaluation.evaluator": ("camera", "evaluate"),
    "spade_edge.tools.evaluation.results": ("camera", "Evaluation"),
    "spade_edge.tools.preparation.preparation": ("gpu", "Preparation prepare"),
    "spade_edge.tools.signing": ("sign", "Signed Verified new_key sign verify verify_signature"),
    "spade_edge.tools.sources": ("camera", "Camera Grab Shot Source SourceOptions open_source"),
}
_HOME_OF = {name: (module, extra) for module, (extra, names) in _HOMES.items() for name in names.split()}

__all__ = [
    "PROFILES",
    "BuildOptions",
    "Built",
    "BundleError",
    "Calibration",
    "Camera",
    "DataError",
    "Dataset",
    "DeviceError",
    "Difference",
    "Drift",
    "DriftChange",
    "DriftOptions",
    "DriftWatch",
    "Evaluation",
    "ExportReport",
    "FollowingScorer",
    "FrameError",
    "FrameResult",
    "GalleryChange",
    "Generation",
    "Grab",
    "Match",
    "Matching",
    "ModelError",
    "Packed",
    "Parity",
    "ParityStage",
    "Plan",
    "Pose",
    "Precision",
    "Preparation",
    "Prospect",
    "Provider",
    "Pruned",
    "Region",
    "Scorer",
    "Search",
    "Shot",
    "Signed",
    "Source",
    "SourceOptions",
    "SpadeError",
    "ThresholdChange",
    "Unpacked",
    "UsageError",
    "Verified",
    "View",
    "Views",
    "back_to",
    "build",
    "calibrate",
    "compact",
    "difference",
    "evaluate",
    "exclude",
    "export_model",
    "generations",
    "golden_parity",
    "include",
    "new_key",
    "open_dataset",
    "open_source",
    "pack",
    "parity",
    "prepare",
    "prune",
    "set_threshold",
    "sign",
    "take_out",
    "teach_in",
    "undo",
    "unpack",
    "verify",
    "verify_signature",
]

# onnxruntime 1.29 and newer send usage data to their maker; a machine on a line sends nothing. It reads this when it is
# imported, so it is set here, before any module of ours imports it. Whoever wants the data sent sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used.

    Raises:
        DeviceError: a package that it needs is not installed.
    """
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from spade_edge.tools.extras import packages_of  # noqa: TID251

    module, extra = _HOME_OF[name]
    with packages_of(extra, needed_by=f"spade_edge.{name}"):
        value = getattr(importlib.import_module(module), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
