"""The result of scoring one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOOD = "good"
DEFECT = "defect"
CANNOT_JUDGE = "cannot_judge"
VERDICTS = (GOOD, DEFECT, CANNOT_JUDGE)


@dataclass(frozen=True)
class Region:
    """A connected part of the anomaly map above the pixel threshold, in pixels of the frame.

    Attributes:
        x, y: left and top edge of the box.
        width, height: its size; it covers every frame pixel that the region touches.
        score: highest value of the anomaly map in the region.
        mean: mean value of the anomaly map in the region.
        area: of the region itself, in pixels of the frame.
    """

    x: int
    y: int
    width: int
    height: int
    score: float
    mean: float
    area: float


@dataclass(frozen=True)
class Match:
    """The place in a good image that the worst position of a region resembles most.

    Attributes:
        image: name of the good image.
        x, y: centre of the matched position, as fractions (0 to 1) of the good image's width and height.
        distance: squared distance of the embeddings there (Eq. 3 with κ = 1), not smoothed.
        view: the view of the good image that it lies in, numbered from 0 as in the bundle's layout.
        item: number of the gallery item, `view * N + image` for N good images; also the row of the bundle's thumbnails.
    """

    image: str
    x: float
    y: float
    distance: float
    view: int = 0
    item: int = field(kw_only=True)

    def to_json(self) -> dict[str, Any]:
        """The fields of a line that `spade-edge score` prints."""
        return {"image": self.image, "x": self.x, "y": self.y, "distance": self.distance, "view": self.view}


@dataclass(frozen=True)
class Pose:
    """Where the part lies in a frame, from the middle of where good parts lie.

    Attributes:
        right, down: the shift, in pixels of the frame.
        angle: the turn in degrees, clockwise; 0 where turns are not measured.
        aligned: whether the part lay elsewhere than good parts, and was brought back before it was judged.
    """

    right: float
    down: float
    angle: float
    aligned: bool


@dataclass(frozen=True)
class FrameResult:
    """The result of scoring one frame.

    Attributes:
        score: image score, larger is worse: the mean of the highest anomaly-map values after subtracting the map
            expected of good parts. It is never clipped. A negative score means that the frame differs less from the
            good images than they usually differ from each other, even where it differs most. If the bundle scores by
            global descriptors, it is a squared distance.
        threshold: the bundle's threshold; a higher score is a defect.
        pixel_threshold: the bundle's threshold of the anomaly map; regions are drawn above it.
        p: fraction of good parts that score as high or higher, (k + 1) / (n + 1) with k of n parts in the evidence for
            the threshold; see `spade_edge.runtime.bundle.evidence`.
        verdict: "good", "defect" or "cannot_judge".
        reason: one short sentence why the verdict is not good; empty if it is.
        heatmap: (h, w) float32, the anomaly map: smoothed squared distances, never rescaled, at the resolution of the
            network's view. The maps of several views are stitched. 0 outside of the views and under a mask.
        extent: x, y, width, height of the area that the anomaly map covers, in pixels of the frame.
        looked_at: (h, w) bool, True for pixels of the map that a view covers and no mask excludes; None for all.
        regions: parts of the anomaly map above the pixel threshold, worst first.
        nearest: one match per region.
        milliseconds: time per stage, and "total".
        provider: the onnxruntime execution provider that ran the network.
        providers: execution provider to the fraction of the network's nodes that it runs, largest first, measured when
            the model was loaded; empty if unknown.
        pose: where the part lies; None if it was not found for certain, or if the bundle does not align frames.
        bundle: the first 16 hexadecimal digits of the SHA-256 of the bundle's manifest: the generation that judged.
        condition: name to value: brightness, contrast, focus, colour and the other quantities by which the frame is
            compared with the good images; see `spade_edge.runtime.preprocessing.condition.Condition`.
    """

    score: float
    threshold: float
    pixel_threshold: float
    p: float
    verdict: str
    reason: str
    heatmap: NDArray[np.float32]
    extent: tuple[float, float, float, float]
    looked_at: NDArray[np.bool_] | None
    regions: tuple[Region, ...]
    nearest: tuple[Match, ...]
    milliseconds: Mapping[str, float]
    provider: str
    providers: Mapping[str, float] = field(default_factory=dict)
    pose: Pose | None = None
    bundle: str = ""
    condition: Mapping[str, float] = field(default_factory=dict)
