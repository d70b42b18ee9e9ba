"""The report of an evaluation: missed defects, rejected good parts, their confidence intervals, and the images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path, PurePath

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.geometry.layout import Layout
from spade_edge.runtime.result import GOOD
from spade_edge.tools.drawing.overlay import figure
from spade_edge.tools.evaluation.metrics import LIMIT, Metric
from spade_edge.tools.evaluation.results import FALSE_REJECT, MISSED, Evaluation, Example
from spade_edge.tools.report.chart import Axis, Row, curve, drawing, histogram
from spade_edge.tools.report.choices import choices
from spade_edge.tools.report.examples import MISTAKES, cards_of, gallery
from spade_edge.tools.report.page import counted, document, heading, sentence, shortened, terms, text, write
from spade_edge.tools.report.rates import between, fraction
from spade_edge.tools.report.style import EVALUATION
from spade_edge.tools.report.verdicts import verdicts

POINTED_AT = 6  # images that the top of the page links to


def write_evaluation(path: Path, evaluation: Evaluation, *, bundle: Bundle) -> None:
    """Write the page of an evaluation. The file is replaced in one step, so a reader never sees half of it.

    Args:
        path: of the HTML file; its folder is created if missing.
        evaluation: the results.
        bundle: the bundle that was evaluated.
    """
    write(path, _page(evaluation, bundle))


def summary(evaluation: Evaluation) -> str:
    """The result in one or two sentences."""
    rejected, missed = evaluation.false_rejects, evaluation.missed
    parts = []
    if rejected.of:
        parts.append(f"{rejected.count} of {counted(rejected.of, 'good part')} rejected")
    if missed.of:
        parts.append(f"{missed.count} of {counted(missed.of, 'defect')} missed")
    if not parts:
        return "No images were evaluated."
    unjudged = sum(row.cannot_judge for row in evaluation.types)
    could_not = f" {counted(unjudged, 'image')} could not be judged." if unjudged else ""
    nothing = "" if missed.of else " There were no defects to find." if rejected.of else ""
    return f"{', '.join(parts)}.{nothing}{could_not}"


def _page(evaluation: Evaluation, bundle: Bundle) -> str:
    header = evaluation.header
    cards, left_out = cards_of(evaluation.examples, threshold=header.threshold)
    totals = {MISSED: evaluation.missed.count, FALSE_REJECT: evaluation.false_rejects.count}
    notes = "".join(f"<li>{text(sentence(note))}</li>" for note in evaluation.notes)
    sections = [
        ("scores", "Scores", _scores(evaluation)),
        ("verdicts", "Verdicts", verdicts(evaluation.types, missed=evaluation.missed)),
        ("choices", "Thresholds to choose from", choices(evaluation, bundle)),
        ("metrics", "Metrics", _metrics(evaluation)),
        ("notes", "Notes", f'<ul class="notes">{notes}</ul>' if notes else ""),
        ("curves", "Curves", _curves(evaluation)),
        ("images", "Images to review", gallery(cards, totals=totals, left_out=left_out)),
        ("time", "Time", _time(evaluation.timings)),
        ("setup", "What was evaluated", _setup(evaluation, bundle)),
    ]
    return document(
        f"Evaluation of {shortened(_last(header.bundle))} on {shortened(_last(header.dataset))}",
        header=f"{heading(summary(evaluation))}\n{_lead(evaluation, cards)}",
        sections=[section for section in sections if section[2]],
        style=EVALUATION,
    )


def _lead(evaluation: Evaluation, cards: Sequence[tuple[Example, str]]) -> str:
    lines = []
    expected = [
        f'<span class="whole">{between(rate)}</span> of {what}'
        for rate, what in (
            (evaluation.false_rejects, "good parts to be rejected"),
            (evaluation.missed, "defects to be missed"),
        )
        if rate.of
    ]
    if expected:
        intervals = f"95&nbsp;% interval{'s' if len(expected) > 1 else ''}"
        lines.append(
            f'<p class="lead">On many more parts like these, expect {" and ".join(expected)} ({intervals}).</p>'
        )
    wrong = _pointed_at(cards)
    if wrong:
        kinds = []
        for kind, what in ((MISSED, "missed"), (FALSE_REJECT, "falsely rejected")):
            links = [
                f'<a href="#image-{place}">{text(shortened(example.image.name, letters=36))}</a>'
                for place, example in wrong
                if example.kind == kind
            ]
            if links:
                kinds.append(f"{what} {', '.join(links)}")
        rest = evaluation.missed.count + evaluation.false_rejects.count - len(wrong)
        if rest > 0:
            kinds.append(f'and <a href="#images">{rest} more</a>')
        lines.append(f'<p class="lead">Review these first: {"; ".join(kinds)}.</p>')
    return "\n".join(lines)


def _pointed_at(cards: Sequence[tuple[Example, str]]) -> list[tuple[int, Example]]:
    """The worst miss, the worst false reject, the second miss and so on, with their places."""
    kinds = [[pair for pair in enumerate(example for example, _ in cards) if pair[1].kind == kind] for kind in MISTAKES]
    return [pair for pairs in zip_longest(*kinds) for pair in pairs if pair is not None][:POINTED_AT]


# Scores, metrics and curves


def _scores(evaluation: Evaluation) -> str:
    limit = evaluation.header.threshold
    scored = [(item.truth == GOOD, item.score) for item in evaluation.images if item.score is not None]
    drawn = [(good, score) for good, score in scored if math.isfinite(score)]
    axis = Axis.of((score for _, score in drawn), limit=limit)
    if axis is None:
        return '<p class="quiet">No scores.</p>'
    rows = []
    for kind in ("good", "defect"):
        scores = [score for good, score in drawn if good == (kind == "good")]
        over = sum(score > limit for score in scores)
        if not scores:
            continue
        name = (
            f"Good: {over} of {len(scores)} above the threshold"
            if kind == "good"
            else f"Defective: {len(scores) - over} of {len(scores)} not above the threshold"
        )
        rows.append(Row(name, kind, scores))
    lacking = len(evaluation.images) - len(drawn)
    without = f" {counted(lacking, 'image')} without a score {'is' if lacking == 1 else 'are'} not shown."
    return (
        f"{histogram(rows, axis=axis, limit=limit, name=f'threshold {figure(limit)}')}"
        f'<p class="quiet">Number of images by score, {axis.scale} axis. A score above the threshold is a '
        f"defect. Images on the wrong side are drawn in full colour.{without if lacking else ''}</p>"
    )


def _metrics(evaluation: Evaluation) -> str:
    best = evaluation.f1_threshold
    at = "" if best is None else f" Reached when scores of {figure(best)} and above count as defects."
    tiles = (
        (
            "Image AUROC",
            evaluation.image_auroc,
            "Probability that a defective image scores higher than a good one; 0.5 is chance.",
        ),
        (
            "Average precision",
            evaluation.average_precision,
            "Area under the precision-recall curve.",
        ),
        ("Best F1", evaluation.f1_max, f"At the best possible threshold, chosen with the ground truth.{at}"),
        (
            "Pixel AUROC",
            evaluation.pixel_auroc,
            "The same for the pixels of the anomaly maps; large defects count most.",
        ),
        (
            "AUPRO",
            evaluation.aupro,
            f"Overlap with each defect, small or large, averaged up to {100 * LIMIT:g} % false positives.",
        ),
    )
    return f'<dl class="figures">{"".join(_tile(*tile) for tile in tiles)}</dl>'


def _tile(name: str, metric: Metric, meaning: str) -> str:
    if metric.value is None:
        return (
            f'<div><dt>{name}</dt><dd class="value none">not defined</dd>'
            f"<dd>{text(sentence(metric.reason or 'no reason is known'))}</dd></div>"
        )
    return f'<div><dt>{name}</dt><dd class="value">{fraction(metric.value)}</dd><dd>{text(meaning)}</dd></div>'


def _curves(evaluation: Evaluation) -> str:
    figures = []
    if evaluation.roc:
        figures.append(
            _curve(
                "Image ROC",
                evaluation.image_auroc,
                curve(
                    "ROC curve of the image scores",
                    evaluation.roc,
                    names=("false rejects, fraction of good images", "found, fraction of defects"),
                    chance=True,
                    point=_working_point(evaluation),
                ),
                "All possible thresholds. The dot is the threshold of the bundle; the dashed line is chance.",
            )
        )
    if evaluation.pro:
        figures.append(
            _curve(
                "PRO",
                evaluation.aupro,
                curve(
                    f"PRO curve of the anomaly maps up to a false-positive rate of {LIMIT}",
                    evaluation.pro,
                    names=("false positives, fraction of good pixels", "mean overlap with the defects"),
                    widest=LIMIT + 0.1,
                    limit=LIMIT,
                ),
                f"AUPRO is the shaded area, divided by the whole area up to the limit of {LIMIT}.",
            )
        )
    lacking = [
        f'<p class="quiet">{_no_curve(name, metric)}</p>'
        for name, points, metric in (
            ("ROC", evaluation.roc, evaluation.image_auroc),
            ("PRO", evaluation.pro, evaluation.aupro),
        )
        if not points
    ]
    return f'<div class="curves">{"".join(figures)}</div>{"".join(lacking)}'


def _curve(name: str, metric: Metric, drawn: str, meaning: str) -> str:
    value = "" if metric.value is None else f" · {fraction(metric.value)}"
    return f'<figure><h3>{name}{value}</h3>{drawn}<figcaption class="quiet">{text(meaning)}</figcaption></figure>'


def _no_curve(name: str, metric: Metric) -> str:
    return text(sentence(f"no {name} curve: {metric.reason or 'it is not defined'}"))


def _working_point(evaluation: Evaluation) -> tuple[float, float] | None:
    """Where the bundle's threshold lies on the ROC curve."""
    fractions = []
    for good in (True, False):
        scores = [item.score for item in evaluation.images if item.score is not None and (item.truth == GOOD) == good]
        if not scores:
            return None
        fractions.append(sum(score > evaluation.header.threshold for score in scores) / len(scores))
    return fractions[0], fractions[1]


# Time and setup


def _time(timings: Mapping[str, float]) -> str:
    stages = [(name, spent) for name, spent in timings.items() if name != "total"]
    total = timings.get("total", sum(spent for _, spent in stages))
    if not total > 0:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{text(shortened(name))}</th><td>{spent:.1f} ms</td><td class="share-of">'
        f"{drawing(f'{spent / total:.0%} of the time', _bar(spent / total), height=14)}</td></tr>"
        for name, spent in stages
    )
    table = f'<table class="stages"><tbody>{rows}</tbody></table>' if rows else ""
    return (
        f'<p class="big">{total:.1f} ms per frame <span class="quiet">· {1000 / total:,.1f} frames per second, median, '
        f"on the machine of the evaluation</span></p>{table}"
    )


def _bar(part: float) -> str:
    return f'<rect x="0" y="2" width="{100 * min(max(part, 0.003), 1):.2f}%" height="10" class="stage"/>'


def _setup(evaluation: Evaluation, bundle: Bundle) -> str:
    header, manifest = evaluation.header, bundle.manifest
    card, threshold = manifest.model, manifest.threshold
    levels = ", ".join(str(level.number) for level in card.levels)
    masks = f", {header.masks} of them with a mask" if header.defective else ""
    excluded = len(manifest.images) - int(manifest.included.sum())
    without = f", {excluded} of them excluded" if excluded else ""
    return terms(
        (
            (
                "Bundle",
                (
                    header.bundle,
                    f"{len(manifest.images)} good images{without}, {manifest.size / 1e6:,.0f} MB, "
                    f"profile {manifest.profile}",
                    f"built {_moment(manifest.created)} by {manifest.writer}",
                    f"SHA-256 of its manifest {header.manifest_sha256}",
                ),
            ),
            (
                "Model",
                (
                    f"{card.backbone}, levels {levels}, {card.view.size[1]} x {card.view.size[0]} pixels, "
                    f"{card.precision}",
                ),
            ),
            (
                "Threshold",
                (
                    f"score {figure(header.threshold)}, pixels {figure(header.pixel_threshold)}",
                    sentence(header.promise),
                    sentence(threshold.method),
                ),
            ),
            ("Matching", (sentence(manifest.place.reason),)),
            ("Views", (_views(manifest.layout),)),
            (
                "Dataset",
                (
                    header.dataset,
                    f"{counted(header.good, 'good image')}, {header.defective} defective{masks}",
                ),
            ),
            (
                "Run",
                (f"{_moment(header.time)} by spade-edge {header.writer}, {header.search} search, {header.provider}",),
            ),
        )
    )


def _views(layout: Layout) -> str:
    if layout.frame is None:
        return "the whole frame, of any size"
    size = f"of frames of {layout.frame[1]} x {layout.frame[0]} pixels"
    mask = ", with a mask" if layout.masked else ""
    return f"{counted(len(layout), 'view')} {size}{mask}"


def _moment(time: str) -> str:
    """An ISO 8601 time in UTC in a readable form."""
    return time.removesuffix("+00:00").replace("T", " ") + " UTC" if time.endswith("+00:00") else time


def _last(path: str) -> str:
    return PurePath(path).name or path
