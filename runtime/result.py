"""What comes back for a frame."""

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
    """A connected part of the heat map over the pixel threshold, in pixels of the frame.

    Attributes:
        x, y: left and top edge of the box.
        width, height: its size; it covers every frame pixel that the region touches.
        score: highest value of the heat map inside.
        mean: mean value of the heat map inside.
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
    """What the worst position of a region looks like most: a place in a good image.

    Attributes:
        image: name of the good image.
        x, y: centre of the matched position, as shares (0 to 1) of the good image's width and height.
        distance: squared distance of the embeddings there (Eq. 3 with κ = 1), not smoothed.
        view: the good image's view that it lies in, as the bundle's layout numbers them from 0.
        item: the gallery item, `view * good images + number of the image`: the row of the bundle's thumbnails.
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
class FrameResult:
    """The result of scoring one frame.

    Attributes:
        score: image score; larger is worse. How far squared embedding distances are over what good images have, never
            clipped; it may be negative. With scores from image vectors, a squared distance.
        threshold: the bundle's threshold; a score above it is a defect.
        verdict: "good", "defect" or "cannot_judge".
        reason: why the verdict is not good, a short sentence; empty for a good one.
        heatmap: (h, w) float32, smoothed squared distances, raw, as fine as the network's view; where a frame has
            several, they are stitched. 0 where nothing is looked at.
        extent: x, y, width, height of what the heat map covers, in pixels of the frame.
        looked_at: (h, w) bool, the map's pixels that a view covers and no mask leaves out; None for all.
        regions: where the heat map is over the pixel threshold, worst first.
        nearest: one match for each region.
        milliseconds: time by stage, and "total".
        provider: the onnxruntime provider that ran the network.
        providers: provider to the share of the network's nodes that it ran, largest first, as measured in a run when
            the model was loaded; empty where it is not known.
    """

    score: float
    threshold: float
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
