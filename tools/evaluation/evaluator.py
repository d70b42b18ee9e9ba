"""Scoring a labelled dataset image by image, and computing the metrics."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

import cv2  # noqa: F401  (metrics of regions need it: what is missing is said before the long work)
import numpy as np
from numpy.typing import NDArray

from spade_edge import __version__
from spade_edge.galleries.images.like_good import Reading
from spade_edge.galleries.images.mask import looks_inverted
from spade_edge.runtime import DataError, FrameError, FrameResult, Scorer
from spade_edge.runtime.bundle.manifest import FILE
from spade_edge.runtime.digest import sha256
from spade_edge.runtime.result import CANNOT_JUDGE, GOOD
from spade_edge.tools.evaluation.checkpoint import PIXELS, Checkpoint
from spade_edge.tools.evaluation.choices import choices_of, deciding_of
from spade_edge.tools.evaluation.dataset import Dataset, Sample, check_masks, check_size, mask_of, open_dataset
from spade_edge.tools.evaluation.layout import some
from spade_edge.tools.evaluation.metrics import (
    Metric,
    PixelTally,
    Rate,
    auroc,
    average_precision,
    f1_max,
    roc,
    truth_on_map,
)
from spade_edge.tools.evaluation.results import (
    FALSE_REJECT,
    FOUND,
    MISSED,
    PASSED,
    Evaluation,
    Example,
    Header,
    ImageResult,
    count_verdicts,
)

EXAMPLES = {MISSED: 14, FALSE_REJECT: 14, FOUND: 6, PASSED: 6}  # at most, together 40

Progress = Callable[[str, int, int], None]  # called with what is done, how many of them are done, and of how many


def evaluate(
    scorer: Scorer | str | os.PathLike[str],
    dataset: Dataset | str | os.PathLike[str],
    *,
    bits: int | None = None,
    resume: Path | None = None,
    examples: bool = False,
    progress: Progress = lambda what, done, of: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Score every image of a labelled dataset and compare the verdicts and anomaly maps with the truth.

    Memory does not grow with the number of images. Examples are chosen at the end and scored once more, so that the
    pictures of all other images need not be kept.

    Args:
        scorer: a scorer, or a bundle folder that is opened with the defaults of `Scorer.open`.
        dataset: a dataset, or its folder; see `open_dataset`.
        bits: that the camera uses of the 16 of a stored number; None for those of the good images.
        resume: a folder for intermediate results, from which an interrupted evaluation is resumed; None for none.
        examples: whether to include examples: the worst mistakes and the closest right verdicts, with pictures.
        progress: called after each step.
        stopped: called after each step. If it returns True, intermediate results are kept and KeyboardInterrupt is
            raised.

    Raises:
        DataError: the folder is not a dataset, or a mask does not fit its image; nothing has been scored then.
        UsageError: `resume` belongs to another evaluation.
        SpadeError: the bundle cannot be opened, as for `Scorer.open`.
    """
    if not isinstance(dataset, Dataset):
        dataset = open_dataset(Path(dataset))
    if not isinstance(scorer, Scorer):
        scorer = Scorer.open(scorer)

    def step(what: str, done: int, of: int) -> None:
        progress(what, done, of)
        if stopped():
            raise KeyboardInterrupt

    reading = Reading.like(scorer.bundle.manifest.format, bits=bits, even_so=scorer.even_so)
    no_pixels = dataset.no_pixel_metrics()
    if not no_pixels and (resume is None or not (resume / PIXELS).exists()):
        check_masks(dataset, progress=lambda done, of: step("masks read", done, of))
    checkpoint = Checkpoint.open(resume, scorer, dataset, reading)
    consistent = True  # whether the pixel tally and the results cover the same images
    try:
        for sample in dataset.samples[len(checkpoint.results) :]:
            frame, result, image = _judge(scorer, sample, reading)
            consistent = False
            if (
                frame is not None
                and result is not None
                and not no_pixels
                and _add(checkpoint.tally, sample, frame, result)
            ):
                checkpoint.inverted.append(sample.name)
            checkpoint.add(image)
            consistent = True
            step("images scored", len(checkpoint.results), len(dataset))
    finally:
        if consistent:
            checkpoint.save()
        checkpoint.close()
    shown = _examples(scorer, dataset, checkpoint.results, reading, progress=step) if examples else ()
    return summarize(
        scorer, dataset, checkpoint.results, checkpoint.tally, inverted=checkpoint.inverted, examples=shown
    )


def summarize(
    scorer: Scorer,
    dataset: Dataset,
    images: Sequence[ImageResult],
    tally: PixelTally,
    *,
    inverted: Sequence[str] = (),
    examples: Sequence[Example] = (),
) -> Evaluation:
    """Compute the metrics of a dataset whose images have been scored.

    Args:
        scorer: that scored them.
        dataset: whose images they are.
        images: the results, in the dataset's order.
        tally: their pixels.
        inverted: names of images whose masks look inverted.
        examples: images to look at.
    """
    manifest = scorer.bundle.manifest
    judged = [image for image in images if image.score is not None]
    scores = np.array([image.score for image in judged], np.float64)
    positive = np.array([image.truth != GOOD for image in judged], bool)
    good = [image for image in images if image.truth == GOOD]
    defective = [image for image in images if image.truth != GOOD]
    best, from_score = f1_max(scores, positive)
    no_pixels = dataset.no_pixel_metrics()
    times = [image.milliseconds for image in images if image.milliseconds]
    return Evaluation(
        header=Header(
            bundle=str(scorer.bundle.path),
            manifest_sha256=sha256(scorer.bundle.path / FILE),
            dataset=str(dataset.path),
            good=len(good),
            defective=len(defective),
            masks=len(dataset.defective) - len(dataset.without_mask),
            threshold=manifest.threshold.score,
            pixel_threshold=manifest.threshold.pixel,
            basis=manifest.threshold.basis,
            promise=manifest.threshold.sentence(),
            search=scorer.matcher.matching.search,
            provider=scorer.session.provider,
            providers=dict(scorer.session.node_fractions),
            writer=__version__,
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            caution=manifest.threshold.caution(),
            layout=dataset.layout,
        ),
        images=tuple(images),
        types=count_verdicts(images),
        false_rejects=Rate.among(sum(image.wrong for image in good), len(good)),
        missed=Rate.among(sum(image.wrong for image in defective), len(defective)),
        choices=choices_of(manifest, images),
        deciding=deciding_of(manifest, images),
        image_auroc=auroc(scores, positive),
        average_precision=average_precision(scores, positive),
        f1_max=best,
        f1_threshold=from_score,
        pixel_auroc=Metric(None, no_pixels) if no_pixels else tally.auroc(),
        aupro=Metric(None, no_pixels) if no_pixels else tally.aupro(),
        roc=roc(scores, positive),
        pro=() if no_pixels else tally.pro(),
        timings={stage: median(time[stage] for time in times) for stage in times[0]} if times else {},
        notes=_notes(dataset, images, tally, inverted),
        examples=tuple(examples),
    )


def _judge(
    scorer: Scorer, sample: Sample, reading: Reading
) -> tuple[NDArray[np.uint8] | None, FrameResult | None, ImageResult]:
    """Score an image. There is no frame if it cannot be read, and no result if it cannot be scored or judged."""
    frame, result, reason, times = None, None, "", {}
    try:
        frame = reading.image(sample.path)
        result = scorer(frame)
    except (DataError, FrameError) as problem:
        reason = str(problem)
    else:
        times = {stage: round(time, 3) for stage, time in result.milliseconds.items()}
        reason = result.reason
    if result is None or result.verdict == CANNOT_JUDGE:
        return frame, None, ImageResult(sample.name, sample.truth, None, CANNOT_JUDGE, reason, times)
    return frame, result, ImageResult(sample.name, sample.truth, result.score, result.verdict, reason, times)


def _add(tally: PixelTally, sample: Sample, frame: NDArray[np.uint8], result: FrameResult) -> bool:
    """Add the pixels of an image, and tell whether its mask looks inverted."""
    truth, inverted = None, False
    if sample.defective:
        mask = mask_of(sample)
        check_size(sample, mask, frame)
        inverted = looks_inverted(mask)
        truth = truth_on_map(mask, size=result.heatmap.shape, extent=result.extent, looked_at=result.looked_at)
    tally.add(result.heatmap, truth, looked_at=result.looked_at)
    return inverted


def _notes(
    dataset: Dataset, images: Sequence[ImageResult], tally: PixelTally, inverted: Sequence[str]
) -> tuple[str, ...]:
    notes = list(dataset.notes)
    unjudged = [image for image in images if image.verdict == CANNOT_JUDGE]
    if unjudged:
        notes.append(
            f"{len(unjudged)} of {len(images)} images cannot be judged. They count as rejects, which is correct for a "
            f"defect and wrong for a good image, and are left out of all other metrics: "
            f"{some(image.name for image in unjudged)}"
        )
    if dataset.stray:
        notes.append(f"masks without an image: {some(mask.name for mask in dataset.stray)}")
    if inverted:
        notes.append(
            f"masks that mark most of their image, with all four corners; what is not 0 counts as defective, so look "
            f"whether they are inverted: {some(inverted)}"
        )
    if tally.unseen and not dataset.no_pixel_metrics():
        notes.append(
            f"{tally.unseen} of {tally.unseen + tally.regions} defective regions lie outside of the views or under "
            "the bundle's mask; they are left out of the pixel metrics"
        )
    return tuple(notes)


# Examples


def _examples(
    scorer: Scorer, dataset: Dataset, images: Sequence[ImageResult], reading: Reading, *, progress: Progress
) -> tuple[Example, ...]:
    """Choose examples, and score them once more for their pictures."""
    samples = {sample.name: sample for sample in dataset.samples}
    chosen = [(kind, image) for kind in EXAMPLES for image in choose(images, kind)]
    shown = []
    for number, (kind, image) in enumerate(chosen, start=1):
        shown.append(_example(scorer, samples[image.name], kind, image, reading))
        progress("examples drawn", number, len(chosen))
    return tuple(shown)


def choose(images: Sequence[ImageResult], kind: str) -> list[ImageResult]:
    """The images of one kind of example: the worst mistakes, or the right verdicts closest to the threshold."""
    defects = kind in (MISSED, FOUND)
    some = [
        image
        for image in images
        if (image.truth != GOOD) == defects and image.wrong == (kind in (MISSED, FALSE_REJECT))
    ]
    if kind == FOUND:  # an image that cannot be judged has no score
        some = [image for image in some if image.score is not None]

    def score(image: ImageResult) -> float:
        return np.inf if image.score is None else image.score

    return sorted(some, key=score, reverse=not defects)[: EXAMPLES[kind]]


def _example(scorer: Scorer, sample: Sample, kind: str, image: ImageResult, reading: Reading) -> Example:
    from spade_edge.tools.drawing.nearest import nearest_patch
    from spade_edge.tools.drawing.overlay import in_colour, overlay
    from spade_edge.tools.drawing.picture_size import shrink

    bundle = scorer.bundle
    frame, result, _ = _judge(scorer, sample, reading)
    picture = None
    if frame is not None and result is not None:
        picture = shrink(overlay(frame, result, pixel_threshold=bundle.manifest.threshold.pixel))
    if frame is not None:
        frame = shrink(in_colour(frame))
    return Example(
        kind=kind,
        image=image,
        path=sample.path,
        masks=sample.masks,
        regions=() if result is None else result.regions,
        nearest=() if result is None else result.nearest,
        frame=frame,
        overlay=picture,
        nearest_patch=nearest_patch(bundle, result.nearest[0]) if result is not None and result.nearest else None,
    )
