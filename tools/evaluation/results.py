"""The results of an evaluation: scores, verdicts, metrics and examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD, Match, Region
from spade_edge.tools.evaluation.metrics import Curve, Metric, Rate

# Kinds of examples. "found" and "passed" are the right verdicts closest to the threshold.
MISSED, FALSE_REJECT, FOUND, PASSED = "missed", "false_reject", "found", "passed"
KINDS = (MISSED, FALSE_REJECT, FOUND, PASSED)


@dataclass(frozen=True)
class ImageResult:
    """The verdict on one image.

    Attributes:
        name: path relative to the folder that contains `good`, with forward slashes.
        truth: "good" or the type of the defect.
        score: image score; None if the image cannot be judged.
        verdict: "good", "defect" or "cannot_judge".
        reason: one short sentence why the verdict is not good; empty if it is.
        milliseconds: time per stage, and "total"; empty if the image was not scored.
    """

    name: str
    truth: str
    score: float | None
    verdict: str
    reason: str
    milliseconds: Mapping[str, float]

    @property
    def wrong(self) -> bool:
        """Whether a good image is rejected, even if only because it cannot be judged, or a defect passes as good."""
        return (self.truth == GOOD) != (self.verdict == GOOD)


@dataclass(frozen=True)
class TypeCount:
    """The verdicts on the images of one type.

    Attributes:
        truth: "good" or the type of the defect.
        images: number of images.
        good, defect, cannot_judge: number of images with this verdict.
        wrong: for good images the false rejects (defect or cannot_judge), for defects the missed ones (good).
        lowest, highest: scores; None if no image has a score.
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
    """Bundle, dataset and versions of an evaluation.

    Attributes:
        bundle: path of the bundle folder.
        manifest_sha256: SHA-256 of its manifest.json, which identifies the bundle.
        dataset: path of the dataset folder.
        good, defective: number of images in the dataset.
        masks: number of defective images with a mask.
        threshold, pixel_threshold: those of the bundle.
        basis: where the threshold comes from: "certified", "extrapolated" or "manual".
        promise: the false-reject rate that the threshold stands for, as a phrase.
        search: "hnsw", "place" or "exact".
        provider: the onnxruntime execution provider that ran the network.
        writer: version of spade-edge.
        time: end of the evaluation, UTC, ISO 8601.
        providers: execution provider to the fraction of the network's nodes that it ran; empty if unknown.
        caution: what a user of few good parts should know about the rate, in plain words; empty if there are enough.
        layout: the folders of the dataset that were recognised, in words.
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
    caution: str = ""
    layout: str = ""


@dataclass(frozen=True)
class Choice:
    """A threshold to choose, and the wrong verdicts that it would give.

    Attributes:
        threshold: a score above it is a defect.
        rate: fraction of good frames that are rejected: an upper limit if certified, an estimate if extrapolated, and
            counted in the evidence if the threshold was set manually.
        interval: 95 % interval of the rate.
        basis: "certified", "extrapolated" or "manual".
        false_rejects: good images of the dataset that it rejects, including those that cannot be judged.
        missed: defective images of the dataset that pass as good.
        in_force: whether it is the bundle's threshold.
    """

    threshold: float
    rate: float
    interval: tuple[float, float]
    basis: str
    false_rejects: Rate
    missed: Rate
    in_force: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"false_rejects": self.false_rejects.to_json(), "missed": self.missed.to_json()}


@dataclass(frozen=True)
class DecidingImage:
    """The good image of the bundle whose own score is the threshold, and what would change without it.

    The wrong verdicts are counted with the scores as they are. Scores of frames that resemble the image may rise a
    little when it is excluded.

    Attributes:
        name: of the image.
        threshold: without it.
        false_rejects, missed: of the dataset, at that threshold.
    """

    name: str
    threshold: float
    false_rejects: Rate
    missed: Rate

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"false_rejects": self.false_rejects.to_json(), "missed": self.missed.to_json()}


@dataclass(frozen=True, eq=False)
class Example:
    """An image to look at: a wrong verdict, or a right one close to the threshold.

    Attributes:
        kind: "missed", "false_reject", "found" or "passed".
        image: the verdict on it.
        path: the image file.
        masks: files of its masks, which are read as one; none for a good image, or if it has no mask.
        regions: parts of the anomaly map above the pixel threshold, worst first, in pixels of the frame.
        nearest: one match per region.
        frame: (h, w, 3) uint8 BGR, reduced; None if the image cannot be read.
        overlay: (h, w, 3) uint8 BGR, as large as `frame`; None if the image cannot be judged.
        nearest_patch: (h, w, 3) uint8 BGR, the patch of a good image that the worst region resembles most; None without
            regions.
    """

    kind: str
    image: ImageResult
    path: Path
    masks: tuple[Path, ...]
    regions: tuple[Region, ...]
    nearest: tuple[Match, ...]
    frame: NDArray[np.uint8] | None
    overlay: NDArray[np.uint8] | None
    nearest_patch: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    An image that cannot be judged has no score. It counts as a reject: wrong for a good image, correct for a defect. It
    is left out of all metrics, and a note says so.

    Attributes:
        header: bundle, dataset and versions.
        images: every image in the order of the dataset: good first, then the types of defects by name.
        types: counts per type, in the same order.
        false_rejects: good images that are rejected at the bundle's threshold, including `cannot_judge`.
        missed: defective images that pass as good at the bundle's threshold.
        choices: thresholds to choose from, the lowest first, and among them the bundle's.
        deciding: the good image that alone decides the bundle's threshold; None if there is none.
        image_auroc, average_precision, f1_max: of the image scores; defects are the positive class.
        f1_threshold: the lowest score that is classified as a defect at `f1_max`; None if that is undefined.
        pixel_auroc, aupro: of the inspected pixels of the anomaly maps. AUPRO is the area up to a false-positive rate
            of 0.3, divided by 0.3.
        roc: of the image scores, (false-positive rate, true-positive rate), without points on straight lines.
        pro: (false-positive rate of pixels, mean overlap of regions), up to a rate of 0.3, at most 400 points.
        timings: median milliseconds per frame by stage, and "total"; empty if nothing was scored.
        notes: sentences that a reader of the metrics must know.
        examples: at most 40, kind by kind, worst first; empty unless they were asked for.
    """

    header: Header
    images: tuple[ImageResult, ...]
    types: tuple[TypeCount, ...]
    false_rejects: Rate
    missed: Rate
    choices: tuple[Choice, ...]
    deciding: DecidingImage | None
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
        """Everything except the pictures of the examples; `spade-edge evaluate --json` prints this."""
        return {name: _json(part) for name, part in vars(self).items()} | {
            "images": [asdict(image) | {"wrong": image.wrong} for image in self.images],
            "types": [asdict(row) | {"wrong": row.wrong.to_json()} for row in self.types],
            "choices": [choice.to_json() for choice in self.choices],
            "deciding": None if self.deciding is None else self.deciding.to_json(),
            "examples": [{"kind": example.kind, "name": example.image.name} for example in self.examples],
        }


def _json(part: Any) -> Any:
    if isinstance(part, Rate):
        return part.to_json()
    return asdict(part) if isinstance(part, (Header, Metric)) else part


def count_verdicts(images: Iterable[ImageResult]) -> tuple[TypeCount, ...]:
    """Count the verdicts of each type, in the order in which the types first appear."""
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
