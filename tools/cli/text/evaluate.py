"""What `spade-edge evaluate` prints."""

from __future__ import annotations

from spade_edge.runtime.result import GOOD
from spade_edge.tools.evaluation.choices import another, changes_without, exclude_command, percentage, set_command
from spade_edge.tools.evaluation.metrics import Metric, Rate
from spade_edge.tools.evaluation.results import Evaluation


def lines(evaluation: Evaluation) -> list[str]:
    """The metrics as lines of text."""
    text = []
    header = evaluation.header
    text.append(f"{header.bundle}: threshold {header.threshold:.4g}, {header.promise}")
    text.append(
        f"{header.dataset}: images {len(evaluation.images)}, good {header.good}, defective {header.defective}, "
        f"types of defects {len(evaluation.types) - 1}, masks {header.masks}"
    )
    if header.layout:
        text.append(f"layout: {header.layout}")
    best = evaluation.f1_threshold
    text.append("")
    for label, metric, beside in (
        ("image AUROC", evaluation.image_auroc, ""),
        ("average precision", evaluation.average_precision, ""),
        ("F1-max", evaluation.f1_max, "" if best is None else f"with scores from {best:.4g} classified as defects"),
        ("pixel AUROC", evaluation.pixel_auroc, ""),
        ("AUPRO", evaluation.aupro, "false-positive rate up to 0.3"),
    ):
        text.append(f"{label:18} {_metric(metric, beside)}".rstrip())
    text.append(f"\n{'at the threshold':32}{'images':>8}{'wrong':>8}{'rate':>9}   95 % interval")
    for row in evaluation.types:
        text.append(_row(f"{row.truth}, {'false rejects' if row.truth == GOOD else 'missed'}", row.wrong))
    if len(evaluation.types) > 2:
        text.append(_row("all defects, missed", evaluation.missed))
    text += ["", *_choices(evaluation), *_deciding(evaluation)]
    if header.caution:
        text.append(f"caution: {header.caution}")
    if evaluation.timings:
        stages = ", ".join(f"{stage} {time:.1f}" for stage, time in evaluation.timings.items() if stage != "total")
        text.append(f"\n{evaluation.timings['total']:.1f} ms per frame: {stages}")
    for note in evaluation.notes:
        text.append(f"note: {note}")
    return text


def _choices(evaluation: Evaluation) -> list[str]:
    """The thresholds to choose from, and the command that sets another one."""
    defects = bool(evaluation.missed.of)
    missed = f"{'defects missed':>20}" if defects else ""
    text = [f"{'false rejects':>14}  {'threshold':>10}{'good rejected':>20}{missed}   basis"]
    for choice in evaluation.choices:
        missed = f"{_of(choice.missed):>20}" if defects else ""
        now = ", in force" if choice.in_force else ""
        text.append(
            f"{percentage(choice.rate):>14}  {choice.threshold:10.6g}{_of(choice.false_rejects):>20}{missed}"
            f"   {choice.basis}{now}"
        )
    if not defects:
        text.append("the dataset has no defective images, so it is not known how many defects each threshold lets pass")
    other = another(evaluation.choices)
    if other is not None:
        text.append(f"set another: {set_command(evaluation.header.bundle, other.rate)}")
    return text


def _deciding(evaluation: Evaluation) -> list[str]:
    """The good image that alone decides the threshold, what would change without it, and the command to exclude it."""
    image = evaluation.deciding
    if image is None:
        return []
    return [
        f"this threshold is the score of {image.name}; without that image it would be about "
        f"{image.threshold:.4g}: {changes_without(evaluation)}",
        f"if it is not a good part: {exclude_command(evaluation.header.bundle, image)}",
    ]


def _of(rate: Rate) -> str:
    return "-" if rate.fraction is None else f"{rate.count} of {rate.of}, {rate.fraction:.1%}"


def _metric(metric: Metric, beside: str) -> str:
    if metric.value is None:
        return f"    -   {metric.reason}"
    return f"{metric.value:6.4f}  {beside}"


def _row(label: str, rate: Rate) -> str:
    if rate.fraction is None or rate.low is None or rate.high is None:
        return f"{label:32}{rate.of:8}{rate.count:8}{'-':>9}"
    return f"{label:32}{rate.of:8}{rate.count:8}{rate.fraction:9.1%}   {rate.low:.1%} to {rate.high:.1%}"
