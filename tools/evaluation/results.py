"""How a bundle does on images whose truth is known: scores, verdicts, metrics, and the images worth looking at.

evaluation = evaluate(Scorer.open("part.spade"), open_dataset(Path("part")))
evaluation.aupro.value, evaluation.missed.share
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD, Match, Region
from spade_edge.tools.evaluation.metrics import Curve, Metric, Rate

# What an example shows. "found" and "passed" are the right verdicts that were closest to being wrong.
MISSED, FALSE_REJECT, FOUND, PASSED = "missed", "false_reject", "found", "passed"
KINDS = (MISSED, FALSE_REJECT, FOUND, PASSED)


@dataclass(frozen=True)
class ImageResult:
    """How one image was judged.

    Attributes:
        name: relative to the folder that holds `good`, with slashes.
        truth: "good" or the type of the defect.
        score: image score; None where the image cannot be judged.
        verdict: "good", "defect" or "cannot_judge".
        reason: why it is not good, a short sentence; empty for a good one.
        milliseconds: time by stage, and "total"; empty where the image was not scored.
    """

    name: str
    truth: str
    score: float | None
    verdict: str
    reason: str
    milliseconds: Mapping[str, float]

    @property
    def wrong(self) -> bool:
        """A good image that is rejected, if only because it cannot be judged, or a defect that passes as good."""
        return (self.truth == GOOD) != (self.verdict == GOOD)


@dataclass(frozen=True)
class TypeCount:
    """How the images of one type were judged.

    Attributes:
        truth: "good" or the type of the defect.
        images: how many there are.
        good, defect, cannot_judge: how many got this verdict.
        wrong: false rejects of good images (defect or cannot_judge), missed ones of a defect (good).
        lowest, highest: scores; None where none of the images has one.
    """

    truth: str
    images: int
    good: int
    defect: int
    cannot_judge: int
    wrong: Rate
    lowest: float | None
    highest: float | None


@dataclass(frozen=True)
class Header:
    """What was evaluated with what.

    Attributes:
        bundle: path of the bundle folder.
        manifest_sha256: of its manifest.json: the bundle's identity.
        dataset: path of the dataset folder.
        good, defective: images of the dataset.
        masks: how many of the defective ones have a mask.
        threshold, pixel_threshold: the bundle's own.
        basis: of the threshold: "certified", "extrapolated" or "by hand".
        promise: which false-reject rate the bundle promises with it, half a sentence.
        search: "hnsw" or "exact".
        provider: the onnxruntime provider that ran the network.
        writer: version of spade-edge.
        time: when the evaluation ended, UTC, ISO 8601.
        providers: provider to the share of the network's nodes that it ran; empty where it is not known.
    """

    bundle: str
    manifest_sha256: str
    dataset: str
    good: int
    defective: int
    masks: int
    threshold: float
    pixel_threshold: float
    basis: str
    promise: str
    search: str
    provider: str
    writer: str
    time: str
    providers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Example:
    """An image worth looking at.

    Attributes:
        kind: "missed", "false_reject", "found" or "passed".
        image: how it was judged.
        path: of the image file; `read_image` gives the frame.
        mask: of its mask's file; None if it has none.
        regions: where the heat map is over the pixel threshold, worst first, in pixels of the frame.
        nearest: one match for each region.
        frame: (h, w, 3) uint8 BGR, small; None where the image cannot be read.
        overlay: (h, w, 3) uint8 BGR, small, of the frame's shape; None where the image cannot be judged.
        nearest_patch: (h, w, 3) uint8 BGR, what the worst region looks like most; None without regions.
    """

    kind: str
    image: ImageResult
    path: Path
    mask: Path | None
    regions: tuple[Region, ...]
    nearest: tuple[Match, ...]
    frame: NDArray[np.uint8] | None
    overlay: NDArray[np.uint8] | None
    nearest_patch: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Evaluation:
    """All that is known after an evaluation.

    Images that cannot be judged have no score: they count as rejects in `false_rejects` and are no misses, and are left
    out of all metrics, which a note then says.

    Attributes:
        header: what was evaluated with what.
        images: every image, in the order of their names within good first, then the defects by name.
        types: by type, good first, then the defects by name.
        false_rejects: good images that are rejected at the bundle's threshold, `cannot_judge` counted among them.
        missed: defective images that pass as good at the bundle's threshold.
        image_auroc, average_precision, f1_max: of the image scores, defects being the positive ones.
        f1_threshold: scores from this one on are called defects to reach `f1_max`; None where that is not defined.
        pixel_auroc, aupro: of the heat maps' pixels that are looked at. AUPRO is up to a false-positive rate of 0.3,
            divided by 0.3.
        roc: of the image scores, (false-positive rate, true-positive rate), without points on a straight line.
        pro: (false-positive rate of pixels, mean overlap of the regions), up to a rate of 0.3, at most 400 points.
        timings: median milliseconds a frame by stage, and "total"; empty where nothing was scored.
        notes: sentences that a reader of the figures must know.
        examples: images worth looking at, at most 40, kind by kind, worst first; none unless they were asked for.
    """

    header: Header
    images: tuple[ImageResult, ...]
    types: tuple[TypeCount, ...]
    false_rejects: Rate
    missed: Rate
    image_auroc: Metric
    average_precision: Metric
    f1_max: Metric
    f1_threshold: float | None
    pixel_auroc: Metric
    aupro: Metric
    roc: Curve
    pro: Curve
    timings: Mapping[str, float]
    notes: tuple[str, ...]
    examples: tuple[Example, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures of the examples."""
        value = {
            name: asdict(part) if hasattr(part, "__dataclass_fields__") else part for name, part in vars(self).items()
        }
        return value | {
            "images": [asdict(image) | {"wrong": image.wrong} for image in self.images],
            "types": [asdict(row) for row in self.types],
            "examples": [{"kind": example.kind, "name": example.image.name} for example in self.examples],
        }


def count(images: Iterable[ImageResult]) -> tuple[TypeCount, ...]:
    """Count the verdicts of each type, in the order in which the types come."""
    of_type: dict[str, list[ImageResult]] = {}
    for image in images:
        of_type.setdefault(image.truth, []).append(image)
    rows = []
    for truth, some in of_type.items():
        verdicts = [image.verdict for image in some]
        scores = [image.score for image in some if image.score is not None]
        rows.append(
            TypeCount(
                truth=truth,
                images=len(some),
                good=verdicts.count(GOOD),
                defect=verdicts.count(DEFECT),
                cannot_judge=verdicts.count(CANNOT_JUDGE),
                wrong=Rate.among(sum(image.wrong for image in some), len(some)),
                lowest=min(scores, default=None),
                highest=max(scores, default=None),
            )
        )
    return tuple(rows)
