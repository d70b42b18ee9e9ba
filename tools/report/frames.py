"""The report of scored frames, one card each, with or without ground truth.

Scores are drawn and sorted in units of the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD, FrameResult
from spade_edge.tools.drawing.overlay import figure
from spade_edge.tools.report.chart import Axis, Row, strips
from spade_edge.tools.report.page import (
    class_name,
    colour_scale,
    counted,
    document,
    heading,
    image,
    sentence,
    terms,
    text,
    write,
)
from spade_edge.tools.report.rates import percent

MOST_CARDS = 150  # about 8 MB; wrong verdicts are shown first
COMMANDS = (
    "spade-edge build --model model.onnx --images good-parts/ --output part.spade",
    "spade-edge score --bundle part.spade new-images/ --overlays overlays/",
)


@dataclass(frozen=True)
class ReportEntry:
    """One frame of the report.

    Attributes:
        name: of the frame, for people.
        truth: "good", the name of a defect, or None if unknown.
        frame: (H, W, 3) uint8 BGR or (H, W) grey, of any size; use `shrink` to save memory.
        result: of the scorer.
        overlay: (H, W, 3) uint8 BGR, from `overlay`.
        nearest_patch: (h, w, 3) uint8 BGR, the place in a good part that is most similar to the worst region.
    """

    name: str
    truth: str | None
    frame: NDArray[np.uint8]
    result: FrameResult
    overlay: NDArray[np.uint8]
    nearest_patch: NDArray[np.uint8] | None = None

    @property
    def wrong(self) -> bool:
        """Whether the verdict contradicts the truth, or is missing where the truth is known."""
        return self.truth is not None and self.result.verdict != (GOOD if self.truth == GOOD else DEFECT)


@dataclass(frozen=True)
class ReportHeader:
    """The head and the end of the report.

    Attributes:
        title: what was inspected.
        model: lines about the network.
        bundle: lines about the gallery and its calibration.
        notes: sentences that a reader should know.
        timings: milliseconds per frame by stage, and "total".
        commands: how to do the same with other images.
    """

    title: str
    model: tuple[str, ...] = ()
    bundle: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    commands: tuple[str, ...] = COMMANDS


@dataclass(frozen=True)
class ClassCount:
    """How the frames of one class were judged; `truth` is None for frames of unknown class."""

    truth: str | None
    frames: int
    good: int
    defect: int
    cannot_judge: int


def count(entries: Iterable[ReportEntry]) -> tuple[ClassCount, ...]:
    """Count the verdicts of each class: good parts first, then the defects by name, then unlabelled frames."""
    verdicts: dict[str | None, list[str]] = {}
    for entry in entries:
        verdicts.setdefault(entry.truth, []).append(entry.result.verdict)
    order = sorted(verdicts, key=lambda truth: (truth is None, truth != GOOD, truth or ""))
    return tuple(
        ClassCount(
            truth=truth,
            frames=len(verdicts[truth]),
            good=verdicts[truth].count(GOOD),
            defect=verdicts[truth].count(DEFECT),
            cannot_judge=verdicts[truth].count(CANNOT_JUDGE),
        )
        for truth in order
    )


def headline(counts: Iterable[ClassCount]) -> str:
    """The result in one or two sentences."""
    counts = tuple(counts)
    good = [row for row in counts if row.truth == GOOD]
    defective = [row for row in counts if row.truth not in (GOOD, None)]
    unknown = [row for row in counts if row.truth is None]
    parts = []
    if defective:
        frames = sum(row.frames for row in defective)
        parts.append(f"{sum(row.defect for row in defective)} of {counted(frames, 'defective part')} found")
    if good:
        frames = sum(row.frames for row in good)
        parts.append(f"{sum(row.defect for row in good)} of {counted(frames, 'good part')} rejected")
    if unknown:
        frames = sum(row.frames for row in unknown)
        of = "unlabelled part" if parts else "part"
        parts.append(f"{sum(row.defect for row in unknown)} of {counted(frames, of)} judged defective")
    unjudged = sum(row.cannot_judge for row in counts)
    said = f"{', '.join(parts)}." if parts else "No frames were scored."
    return said + (f" {counted(unjudged, 'part')} could not be judged." if unjudged else "")


def write_report(path: str | Path, header: ReportHeader, entries: Sequence[ReportEntry]) -> None:
    """Write the page. The file is replaced in one step, so a reader never sees half of it.

    Args:
        path: of the HTML file; its folder is created if missing.
        header: the head and the end of the page.
        entries: the frames, in any order.
    """
    write(path, _page(header, entries))


# The page, from top to bottom


def _page(header: ReportHeader, entries: Sequence[ReportEntry]) -> str:
    counts = count(entries)
    worst_first = sorted(entries, key=_worth, reverse=True)
    cards = sorted(worst_first, key=lambda entry: not entry.wrong)[:MOST_CARDS]  # leaves out inconspicuous ones
    cards = sorted(cards, key=_worth, reverse=True)
    anchors = {id(entry): f"part-{number}" for number, entry in enumerate(cards, start=1)}
    commands = "".join(f"<li><code>{text(command)}</code></li>" for command in header.commands)
    return document(
        header.title,
        header=f"{heading(headline(counts))}\n{_mistakes(worst_first, anchors)}",
        sections=(
            ("scores", "Scores", _strips(entries)),
            ("verdicts", "Verdicts", _table(counts, entries)),
            (
                "parts",
                "Parts, worst first",
                f"{colour_scale()}{_left_out(len(cards), len(entries))}\n"
                f'<div class="cards">\n{"".join(_card(entry, anchors[id(entry)]) for entry in cards)}</div>',
            ),
            ("setup", "Setup", _setup(header)),
            (
                "own",
                "With your own images",
                "<p>A few dozen images of good parts are enough to start. No defective part is needed.</p>\n"
                f'<ol class="commands">{commands}</ol>',
            ),
        ),
    )


def _left_out(shown: int, entries: int) -> str:
    if shown == entries:
        return ""
    return f'<p class="quiet">{shown} of {entries} parts: wrong verdicts, then the highest scores.</p>'


def _mistakes(entries: Sequence[ReportEntry], anchors: Mapping[int, str]) -> str:
    wrong = [entry for entry in entries if entry.wrong]
    if not wrong:
        return ""
    links = []
    for entry in wrong[:12]:
        what = "cannot judge" if entry.result.verdict == CANNOT_JUDGE else _MISTAKE[entry.truth == GOOD]
        links.append(f'<a href="#{anchors.get(id(entry), "parts")}">{text(entry.name)}</a> ({what})')
    more = f" and {len(wrong) - 12} more" if len(wrong) > 12 else ""
    return f'<p class="lead">Review these first: {", ".join(links)}{more}.</p>'


def _strips(entries: Sequence[ReportEntry]) -> str:
    """One row of dots for each class, in units of the threshold."""
    axis = Axis.of(map(_worth, entries), limit=1.0)
    if axis is None:
        return '<p class="quiet">No scores.</p>'
    rows = []
    for row in count(entries):
        drawn = [entry for entry in entries if entry.truth == row.truth and math.isfinite(_worth(entry))]
        rows.append(
            Row(
                class_name(row.truth),
                kind="good" if row.truth == GOOD else "defect" if row.truth else "unknown",
                scores=[_worth(entry) for entry in drawn],
                titles=[f"{entry.name}: {figure(entry.result.score)}" for entry in drawn],
            )
        )
    return (
        f"{strips(rows, axis=axis, limit=1.0, unit='×')}"
        f'<p class="quiet">One dot per part: score divided by the threshold, {axis.scale} axis. '
        "Parts to the right of the line are defects.</p>"
    )


def _table(counts: Sequence[ClassCount], entries: Sequence[ReportEntry]) -> str:
    rows = []
    for row in counts:
        scores = [entry.result.score for entry in entries if entry.truth == row.truth]
        scores = [score for score in scores if not math.isnan(score)]
        cells = []
        for verdict, number in ((GOOD, row.good), (DEFECT, row.defect), (CANNOT_JUDGE, row.cannot_judge)):
            right = row.truth is None or verdict == (GOOD if row.truth == GOOD else DEFECT)
            kind = "none" if not number else "right" if right else "wrong"
            cells.append(f'<td class="{kind}">{number}</td>')
        span = f"{figure(min(scores))} – {figure(max(scores))}" if scores else "–"
        rows.append(
            f'<tr><th scope="row">{text(class_name(row.truth))}</th><td>{row.frames}</td>{"".join(cells)}'
            f'<td class="span">{text(span)}</td></tr>'
        )
    return (
        '<div class="scroll"><table><thead><tr><th scope="col">Class</th><th scope="col">Parts</th>'
        '<th scope="col">Good</th><th scope="col">Defect</th><th scope="col">Cannot judge</th>'
        f'<th scope="col">Scores</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _card(entry: ReportEntry, anchor: str) -> str:
    result = entry.result
    regions = counted(len(result.regions), "region")
    frame = image(entry.frame, alternative=f"Frame {entry.name}")
    heat = image(entry.overlay, alternative=f"Anomaly map over {entry.name}: {regions} above the threshold")
    verdict = result.verdict if result.verdict in _VERDICTS else CANNOT_JUDGE
    lines = [f'<p class="score">No score, threshold {figure(result.threshold)}</p>']
    if not math.isnan(result.score):
        worth = f' <span class="quiet">· {result.score / result.threshold:.2f}×</span>' if result.threshold > 0 else ""
        lines = [
            f'<p class="score">Score <b>{figure(result.score)}</b>, threshold {figure(result.threshold)}{worth}</p>'
        ]
        if result.verdict != CANNOT_JUDGE:
            lines.append(f'<p class="quiet">At most {percent(result.p)} of good parts score as high</p>')
    if result.reason:
        lines.append(f"<p>{text(sentence(result.reason))}</p>")
    if result.nearest:
        patch = (
            ""
            if entry.nearest_patch is None
            else image(entry.nearest_patch, alternative=f"The same place in the good part {result.nearest[0].image}")
        )
        lines.append(
            f'<p class="nearest">{patch}<span>Most similar place in a good part: '
            f"{text(result.nearest[0].image)}</span></p>"
        )
    wrong = ""
    if entry.wrong and result.verdict != CANNOT_JUDGE:
        wrong = f'<span class="chip mistake">{_MISTAKE[entry.truth == GOOD]}</span>'
    truth = "" if entry.truth is None else f'<span class="quiet">ground truth: {text(class_name(entry.truth))}</span>'
    return f"""<article id="{anchor}" class="card">
<div class="pair">{frame}{heat}</div>
<h3>{text(entry.name)}</h3>
<p class="chips"><span class="chip {verdict}">{_VERDICTS[verdict]}</span>{wrong}{truth}</p>
{"".join(lines)}
</article>
"""


def _setup(header: ReportHeader) -> str:
    time: tuple[str, ...] = ()
    if header.timings:
        stages = [f"{name} {spent:.1f}" for name, spent in header.timings.items() if name != "total"]
        total = header.timings.get("total", sum(header.timings.values()))
        by_stage = f" ({', '.join(stages)})" if stages else ""
        time = (f"{total:.1f} ms per frame{by_stage}",)
    return terms((("Model", header.model), ("Gallery", header.bundle), ("Time", time), ("Notes", header.notes)))


_VERDICTS = {GOOD: "Good", DEFECT: "Defect", CANNOT_JUDGE: "Cannot judge"}
_MISTAKE = {True: "false alarm", False: "missed"}


def _worth(entry: ReportEntry) -> float:
    """Score in units of the threshold; infinite for frames that cannot be judged, so that they come first."""
    result = entry.result
    if result.verdict == CANNOT_JUDGE or math.isnan(result.score):
        return math.inf
    return result.score / result.threshold if result.threshold > 0 else math.inf
