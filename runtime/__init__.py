"""Scores camera frames; needs only numpy and onnxruntime.

    from spade_edge.runtime import Scorer

    scorer = Scorer.open("part.spade")
    result = scorer(frame)              # frame: (H, W, 3) uint8 BGR, or (H, W) uint8 grey
    if result.verdict != "good":
        print(result.reason, result.regions)

`scorer` can be read from top to bottom, as a frame is scored. The rooms in the same order:

- `bundle`: opens and checks the bundle folder
- `preprocessing`: frame → views
- `network`: views → features
- `matching`: features → distances to the gallery (Eq. 3)
- `anomaly_map`: distances → anomaly map, image score, regions
- `geometry` and `kernels`, used by all of them: positions and resampling, and small computations on onnxruntime

`following` takes each new generation of a bundle between two frames, and `drift` hears it when parts look different
from before. `location` places results on the frame, `result` is what comes back, and `errors` draws the tree of
exceptions.
"""

from __future__ import annotations

from spade_edge.runtime.drift.change import Drift, DriftChange
from spade_edge.runtime.drift.options import DriftOptions
from spade_edge.runtime.drift.watch import DriftWatch
from spade_edge.runtime.errors import (
    BundleError,
    DataError,
    DeviceError,
    FrameError,
    ModelError,
    SpadeError,
    UsageError,
)
from spade_edge.runtime.following import FollowingScorer
from spade_edge.runtime.network.provider import Provider
from spade_edge.runtime.result import FrameResult, Match, Pose, Region
from spade_edge.runtime.scorer import Scorer

__all__ = [
    "BundleError",
    "DataError",
    "DeviceError",
    "Drift",
    "DriftChange",
    "DriftOptions",
    "DriftWatch",
    "FollowingScorer",
    "FrameError",
    "FrameResult",
    "Match",
    "ModelError",
    "Pose",
    "Provider",
    "Region",
    "Scorer",
    "SpadeError",
    "UsageError",
]
