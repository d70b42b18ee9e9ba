"""Evaluations with rendered parts, and their report pages."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pages import HOSTILE, Page

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.result import FrameResult, Match, Region
from spade_edge.tools.demo.parts import render_defect, render_good
from spade_edge.tools.drawing.overlay import overlay
from spade_edge.tools.evaluation.metrics import Metric, Rate, auroc, average_precision, f1_max, roc
from spade_edge.tools.evaluation.results import (
    Choice,
    DecidingImage,
    Evaluation,
    Example,
    Header,
    ImageResult,
    count_verdicts,
)
from spade_edge.tools.report import write_evaluation

THRESHOLD = 10.0


TIMES = {"view": 1.2, "network": 19.5, "matching": 6.25, "heatmap": 0.75, "total": 27.9}


PRO = tuple((0.3 * step / 60, 1 - 0.96 ** (step * 1.4)) for step in range(61))


def judged(name: str, truth: str, score: float | None, *, reason: str = "") -> ImageResult:
    verdict = "cannot_judge" if score is None else "defect" if score > THRESHOLD else "good"
    return ImageResult(name, truth, score, verdict, reason, {} if score is None else TIMES)


def line_up(good: int, kinds: Sequence[str], each: int, *, seed: int = 0) -> tuple[ImageResult, ...]:
    """Good images and some of each kind of defect, most of them on the right side of the threshold."""
    rng = np.random.default_rng(seed)
    images = [judged(f"good/{n:03d}.png", "good", 7 * float(np.exp(rng.normal(0, 0.19)))) for n in range(good)]
    for kind in kinds:
        strength = rng.uniform(2.4, 3.6)
        scores = 7 * np.exp(rng.gamma(strength, 0.4, each))
        images += [judged(f"{kind}/{n:03d}.png", kind, float(score)) for n, score in enumerate(scores)]
    return tuple(images)


def shown(kind: str, image: ImageResult, *, mask: Path | None = None, seed: int = 0) -> Example:
    """An example with a rendered part; the anomaly map lies where the defect is."""
    name = "scratch"
    frame, truth = render_defect(name, seed, size=200) if image.truth != "good" else (render_good(seed, size=200), None)
    heat = np.random.default_rng(seed).uniform(1, 5, (64, 64)).astype(np.float32)
    peak = 1.4 * (image.score or 0)
    if truth is not None:
        there = cv2.resize(truth.astype(np.float32), (64, 64), interpolation=cv2.INTER_AREA)
        heat += peak * cv2.GaussianBlur(there, (0, 0), 2) / max(float(there.max()), 0.2)
    else:
        heat[20:26, 30:40] += peak
    heat = cv2.GaussianBlur(heat, (0, 0), 1.5)
    over = image.verdict == "defect"
    regions = (Region(x=60, y=60, width=40, height=30, score=14.0, mean=12.5, area=900.0),) if over else ()
    nearest = (Match("good/000.png", 0.4, 0.5, 3.0, item=0),) if over else ()
    result = FrameResult(
        score=float("nan") if image.score is None else image.score,
        threshold=THRESHOLD,
        pixel_threshold=12.0,
        p=0.025,
        verdict=image.verdict,
        reason=image.reason,
        heatmap=heat,
        extent=(0, 0, 200, 200),
        looked_at=None,
        regions=regions,
        nearest=nearest,
        milliseconds=TIMES,
        provider="CPUExecutionProvider",
    )
    return Example(
        kind=kind,
        image=image,
        path=Path(image.name),
        masks=() if image.truth == "good" or mask is None else (mask,),
        regions=regions,
        nearest=nearest,
        frame=frame,
        overlay=overlay(frame, result, pixel_threshold=12.0),
        nearest_patch=render_good(seed + 1, size=200)[40:106, 60:126] if over else None,
    )


def examples_of(images: Sequence[ImageResult], *, most: int = 4, mask: Path | None = None) -> tuple[Example, ...]:
    """The worst of each kind, as an evaluation picks them."""

    def worst(kind: str, some: Sequence[ImageResult], *, lowest: bool) -> list[Example]:
        order = sorted(some, key=lambda image: (image.score or 0) * (1 if lowest else -1))
        return [shown(kind, image, mask=mask, seed=seed) for seed, image in enumerate(order[:most])]

    defects = [image for image in images if image.truth != "good"]
    good = [image for image in images if image.truth == "good"]
    return (
        *worst("missed", [image for image in defects if image.wrong], lowest=True),
        *worst("false_reject", [image for image in good if image.wrong], lowest=False),
        *worst("found", [image for image in defects if image.verdict == "defect"], lowest=True),
        *worst("passed", [image for image in good if not image.wrong], lowest=False),
    )


def wrong_at(threshold: float, images: Sequence[ImageResult]) -> dict[str, Rate]:
    """The wrong verdicts at another threshold, by a loop; an image without a score is rejected."""
    wrong, of = {"false_rejects": 0, "missed": 0}, {"false_rejects": 0, "missed": 0}
    for image in images:
        kind = "false_rejects" if image.truth == "good" else "missed"
        passes = image.score is not None and image.score <= threshold
        of[kind] += 1
        wrong[kind] += passes == (kind == "missed")
    return {kind: Rate.among(wrong[kind], of[kind]) for kind in wrong}


def choices_of(images: Sequence[ImageResult]) -> tuple[Choice, ...]:
    """Three thresholds, the middle one in force."""
    return tuple(
        Choice(value, rate, (rate / 4, rate * 4), basis, **wrong_at(value, images), in_force=value == THRESHOLD)
        for value, rate, basis in (
            (8.0, 6 / 121, "certified"),
            (THRESHOLD, 1 / 121, "certified"),
            (14, 0.001, "extrapolated"),
        )
    )


def evaluated(
    images: Sequence[ImageResult],
    *,
    examples: Sequence[Example] = (),
    notes: tuple[str, ...] = (),
    pixels: bool = True,
) -> Evaluation:
    scored = [(image.score, image.truth != "good") for image in images if image.score is not None]
    scores, positive = np.array([s for s, _ in scored]), np.array([p for _, p in scored], bool)
    good = [image for image in images if image.truth == "good"]
    defects = [image for image in images if image.truth != "good"]
    best, at = f1_max(scores, positive)
    no_masks = Metric(None, "none of the defective images has a mask")
    return Evaluation(
        header=Header(
            bundle="/srv/bundles/line-2/flange.spade",
            manifest_sha256="3f" * 32,
            dataset="/srv/datasets/flange-2026-11",
            good=len(good),
            defective=len(defects),
            masks=len(defects) if pixels else 0,
            threshold=THRESHOLD,
            pixel_threshold=12.0,
            basis="certified",
            promise="at most 1.00% of good frames rejected, certified by 120 different parts",
            search="hnsw",
            provider="CPUExecutionProvider",
            writer="0.1.0",
            time="2026-11-24T13:00:00+00:00",
        ),
        images=tuple(images),
        types=count_verdicts(images),
        false_rejects=Rate.among(sum(image.wrong for image in good), len(good)),
        missed=Rate.among(sum(image.wrong for image in defects), len(defects)),
        choices=choices_of(images),
        deciding=DecidingImage("0.npy", 9.5, **wrong_at(9.5, images)),
        image_auroc=auroc(scores, positive),
        average_precision=average_precision(scores, positive),
        f1_max=best,
        f1_threshold=at,
        pixel_auroc=Metric(0.9712) if pixels else no_masks,
        aupro=Metric(0.8831) if pixels else no_masks,
        roc=roc(scores, positive),
        pro=PRO if pixels else (),
        timings=TIMES,
        notes=notes,
        examples=tuple(examples),
    )


TYPICAL = line_up(40, ("scratch", "missing_screw", "dent", "stain"), 15, seed=3)


def page_of(tmp_path: Path, evaluation: Evaluation, bundle: Bundle) -> tuple[str, Page]:
    path = tmp_path / "report.html"
    write_evaluation(path, evaluation, bundle=bundle)
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def words(page: Page) -> str:
    return " ".join(text for tag, text in page.texts if tag != "style").replace("\xa0", " ").replace("\u202f", " ")


GOOD, BAD = judged("good/a", "good", 4.0), judged("good/b", "good", 14.0)


FOUND, MISS = judged("dent/a", "dent", 30.0), judged("dent/b", "dent", 9.0)


DARK, LOST = judged("dent/c", "dent", None, reason="the frame is black"), judged("good/c", "good", None)


def picture(page: Page, beginning: str) -> NDArray[np.uint8]:
    """The page's first image whose words begin so, as (H, W, 3) BGR."""
    source = next(image["src"] for image in page.all("img") if image["alt"].startswith(beginning))
    data = base64.b64decode(source.partition("base64,")[2], validate=True)
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


def hostile() -> Evaluation:
    images = (
        judged(HOSTILE, "good", 20.0, reason=HOSTILE),
        judged("x" * 300 + ".png", HOSTILE, 3.0),
        judged("b", HOSTILE, 1e9),
        judged("W" * 255, "W" * 255, 0.0),
    )
    evaluation = evaluated(images, examples=examples_of(images), notes=(HOSTILE, "W" * 500))
    nasty = replace(
        evaluation.header,
        bundle=HOSTILE,
        dataset="/" + "d" * 200,
        promise=HOSTILE,
        provider=HOSTILE,
        time=HOSTILE,
        caution=HOSTILE,
    )
    examples = tuple(replace(one, nearest=(Match(HOSTILE, 0.5, 0.5, 1.0, item=0),)) for one in evaluation.examples)
    assert evaluation.deciding is not None
    return replace(
        evaluation,
        header=nasty,
        timings={HOSTILE: 1.0, "W" * 200: 2.0},
        aupro=Metric(None, HOSTILE),
        examples=examples,
        deciding=replace(evaluation.deciding, name="W" * 300),
    )
