"""One page that tells what was found: `report.html`, with every image inside it and nothing to load.

    write_report("report.html", ReportHeader(title="Flange, camera 2"), entries)

The page needs no script and no network; its own content policy forbids both. Scores are drawn and sorted by what they
are worth against the threshold.
"""

from __future__ import annotations

import base64
import math
import os
import tempfile
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import DataError
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD, FrameResult
from spade_edge.tools.overlay import figure, legend

LARGEST_IMAGE = 320  # pixels of the longer side
MOST_CARDS = 150  # about 8 MB; wrong verdicts are shown first
COMMANDS = (
    "spade-edge build --model model.onnx --images good-parts/ --output part.spade",
    "spade-edge score --bundle part.spade new-images/ --overlays overlays/",
)


@dataclass(frozen=True)
class ReportEntry:
    """One frame of the report.

    Attributes:
        name: of the frame, as a person knows it.
        truth: "good", the name of a defect, or None where nobody knows.
        frame: (H, W, 3) uint8 BGR or (H, W) grey, of any size; see `shrink` where there are many.
        result: what the scorer said.
        overlay: (H, W, 3) uint8 BGR, from `overlay`.
        nearest_patch: (h, w, 3) uint8 BGR, the place in a good part that the worst region looks like most.
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
    """What stands at the top and at the end of the report.

    Attributes:
        title: what was inspected.
        model: lines about the network.
        bundle: lines about the gallery and its calibration.
        notes: sentences that a reader must know.
        timings: milliseconds for each frame by stage, and "total".
        commands: how to do the same on one's own images.
    """

    title: str
    model: tuple[str, ...] = ()
    bundle: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    commands: tuple[str, ...] = COMMANDS


@dataclass(frozen=True)
class ClassCount:
    """How the frames of one class were judged; `truth` is None for the frames whose class nobody knows."""

    truth: str | None
    frames: int
    good: int
    defect: int
    cannot_judge: int


def shrink(image: NDArray[np.uint8], *, longest: int = LARGEST_IMAGE) -> NDArray[np.uint8]:
    """Make an image small enough for the report; a smaller one stays as it is.

    Args:
        image: (H, W, 3) uint8 BGR, (H, W) or (H, W, 1) grey.
        longest: pixels of its longer side afterwards.
    """
    height, width = image.shape[:2]
    share = longest / max(height, width)
    if share >= 1:
        return image
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def count(entries: Iterable[ReportEntry]) -> tuple[ClassCount, ...]:
    """Count the verdicts of each class: good parts first, then the defects by name, then what is not labelled."""
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
    """Say the result in one or two sentences."""
    counts = tuple(counts)
    good = [row for row in counts if row.truth == GOOD]
    defective = [row for row in counts if row.truth not in (GOOD, None)]
    unknown = [row for row in counts if row.truth is None]
    parts = []
    if defective:
        frames = sum(row.frames for row in defective)
        parts.append(f"{sum(row.defect for row in defective)} of {_number(frames, 'defective part')} found")
    if good:
        frames = sum(row.frames for row in good)
        parts.append(f"{sum(row.defect for row in good)} of {_number(frames, 'good part')} rejected")
    if unknown:
        frames = sum(row.frames for row in unknown)
        of = "unlabelled part" if parts else "part"
        parts.append(f"{sum(row.defect for row in unknown)} of {_number(frames, of)} judged defective")
    unjudged = sum(row.cannot_judge for row in counts)
    sentence = f"{', '.join(parts)}." if parts else "No frames were scored."
    return sentence + (f" {_number(unjudged, 'part')} could not be judged." if unjudged else "")


def write_report(path: str | Path, header: ReportHeader, entries: Sequence[ReportEntry]) -> None:
    """Write the page; a reader sees the former one or this one, never half of it.

    Args:
        path: of the HTML file. Its folder is made if it is missing.
        header: what stands around the entries.
        entries: the frames, in any order.
    """
    page = _page(header, entries).encode("utf-8")
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(page)
                file.flush()
                os.fsync(file.fileno())
            Path(unfinished).chmod(0o644)  # mkstemp's 0600 would hide the page from a web server
            Path(unfinished).replace(path)
        finally:
            Path(unfinished).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror}; is the folder writable and the disk not full?"
        ) from error


# The page, from top to bottom


def _page(header: ReportHeader, entries: Sequence[ReportEntry]) -> str:
    counts = count(entries)
    worst_first = sorted(entries, key=_worth, reverse=True)
    cards = sorted(worst_first, key=lambda entry: not entry.wrong)[:MOST_CARDS]  # drops the unremarkable ones
    cards = sorted(cards, key=_worth, reverse=True)
    anchors = {id(entry): f"part-{number}" for number, entry in enumerate(cards, start=1)}
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_text(header.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<p class="title">{_text(header.title)}</p>
<h1>{_text(headline(counts)).replace(" of ", "&nbsp;of&nbsp;")}</h1>
{_mistakes(worst_first, anchors)}
</header>
<main>
<section aria-labelledby="scores">
<h2 id="scores">Scores</h2>
{_strips(entries)}
</section>
<section aria-labelledby="verdicts">
<h2 id="verdicts">Verdicts</h2>
{_table(counts, entries)}
</section>
<section aria-labelledby="parts">
<h2 id="parts">Parts, worst first</h2>
{_legend()}
{_left_out(len(cards), len(entries))}
<div class="cards">
{"".join(_card(entry, anchors[id(entry)]) for entry in cards)}</div>
</section>
<section aria-labelledby="setup">
<h2 id="setup">How it was done</h2>
{_setup(header)}
</section>
<section aria-labelledby="own">
<h2 id="own">The same with your own images</h2>
<p>A few dozen images of good parts are enough to begin with. No defective part is needed.</p>
<ol class="commands">{"".join(f"<li><code>{_text(command)}</code></li>" for command in header.commands)}</ol>
</section>
</main>
</body>
</html>
"""


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
        links.append(f'<a href="#{anchors.get(id(entry), "parts")}">{_text(entry.name)}</a> ({what})')
    more = f" and {len(wrong) - 12} more" if len(wrong) > 12 else ""
    return f'<p class="lead">Look here first: {", ".join(links)}{more}.</p>'


def _strips(entries: Sequence[ReportEntry]) -> str:
    """One row of dots for each class on a common axis, in units of the threshold; widths are per cent, text is not."""
    worths = [_worth(entry) for entry in entries]
    finite = [worth for worth in worths if 0 < worth < math.inf]
    if not finite:
        return '<p class="quiet">No scores.</p>'
    lowest, highest = min(*finite, 1.0), max(*finite, 1.0)
    logarithmic = highest / lowest > 8
    if logarithmic:
        start, end = math.log(lowest / 1.12), math.log(highest * 1.12)
    else:
        start, end = 0.0, highest * 1.06

    def across(worth: float) -> float:
        """Per cent of the width."""
        value = math.log(max(worth, lowest / 1.12)) if logarithmic else max(worth, 0)
        return 1 + 98 * min(max((value - start) / (end - start), 0), 1)

    rows: dict[str | None, list[ReportEntry]] = {row.truth: [] for row in count(entries)}
    for entry in entries:
        if math.isfinite(_worth(entry)):
            rows[entry.truth].append(entry)
    row_height, first = 40, 26
    height = first + row_height * len(rows) + 30
    axis = height - 26
    marks = []
    limit = across(1)
    anchor = "end" if limit > 60 else "start"
    shift = -6 if limit > 60 else 6
    marks.append(f'<line x1="{limit:.2f}%" x2="{limit:.2f}%" y1="6" y2="{axis}" class="limit"/>')
    marks.append(
        f'<text x="{limit:.2f}%" dx="{shift}" y="15" class="limit-name" style="text-anchor:{anchor}">threshold</text>'
    )
    for number, (truth, row) in enumerate(rows.items()):
        middle = first + row_height * number + 26
        marks.append(f'<text x="0" y="{middle - 12}" class="class">{_text(_class_name(truth))}</text>')
        marks.append(f'<line x1="0" x2="100%" y1="{middle}" y2="{middle}" class="rail"/>')
        for entry in sorted(row, key=_worth):
            shape = "good" if truth == GOOD else "defect" if truth else "unknown"
            marks.append(
                f'<circle cx="{across(_worth(entry)):.2f}%" cy="{middle}" r="5" class="dot {shape}">'
                f"<title>{_text(entry.name)}: {figure(entry.result.score)}</title></circle>"
            )
    for tick in _ticks(lowest if logarithmic else 0, highest):
        at = f'x="{across(tick):.2f}%"' if tick else 'x="0" style="text-anchor:start"'
        marks.append(f'<text {at} y="{axis + 18}" class="tick">{tick:g}{"×" if tick else ""}</text>')
    scale = "logarithmic" if logarithmic else "linear"
    label = f"Scores of {_number(len(entries), 'part')} by class, {scale} axis in units of the threshold"
    return (
        f'<svg role="img" aria-label="{_text(label)}" width="100%" height="{height}">{"".join(marks)}</svg>'
        f'<p class="quiet">One dot for each part; score divided by the threshold, {scale} axis. '
        "What lies right of the line is a defect.</p>"
    )


def _ticks(lowest: float, highest: float) -> list[float]:
    """Round numbers between the ends, at most about eight."""
    if lowest > 0:
        rounds = [step * 10.0**power for power in range(-6, 9) for step in (1, 2, 5)]
        inside = [value for value in rounds if lowest <= value <= highest]
        return inside if len(inside) <= 8 else [value for value in inside if f"{value:e}"[0] == "1"]
    step = next(step for step in (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100) if highest / step <= 8)
    return [number * step for number in range(int(highest / step) + 1)]


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
            f'<tr><th scope="row">{_text(_class_name(row.truth))}</th><td>{row.frames}</td>{"".join(cells)}'
            f'<td class="span">{_text(span)}</td></tr>'
        )
    return (
        '<div class="scroll"><table><thead><tr><th scope="col">Class</th><th scope="col">Parts</th>'
        '<th scope="col">Good</th><th scope="col">Defect</th><th scope="col">Cannot judge</th>'
        f'<th scope="col">Scores</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _legend() -> str:
    alternative = (
        "Colour scale: black at 0, purple below the pixel threshold, red above it, pale yellow at 4 times and more"
    )
    ticks = "".join(f"<span>{tick}</span>" for tick in ("0", "½", "<b>pixel threshold</b>", "2×", "4×"))
    scale = _image(legend(width=512, height=8), alternative=alternative, kind=".png")
    return f"""<figure class="legend">
{scale}
<div class="ticks" aria-hidden="true">{ticks}</div>
<figcaption>One colour scale for every picture: never stretched to fit. Below half the pixel threshold the picture is
left as it is; the white contour is the threshold itself, the box is a region.</figcaption>
</figure>
"""


def _card(entry: ReportEntry, anchor: str) -> str:
    result = entry.result
    regions = _number(len(result.regions), "region")
    frame = _image(entry.frame, alternative=f"Frame {entry.name}")
    heat = _image(entry.overlay, alternative=f"Heat map over {entry.name}: {regions} over the threshold")
    verdict = result.verdict if result.verdict in _VERDICTS else CANNOT_JUDGE
    lines = [f'<p class="score">No score, threshold {figure(result.threshold)}</p>']
    if not math.isnan(result.score):
        worth = f' <span class="quiet">· {result.score / result.threshold:.2f}×</span>' if result.threshold > 0 else ""
        lines = [
            f'<p class="score">Score <b>{figure(result.score)}</b>, threshold {figure(result.threshold)}{worth}</p>'
        ]
    if result.reason:
        lines.append(f"<p>{_text(_sentence(result.reason))}</p>")
    if result.nearest:
        patch = (
            ""
            if entry.nearest_patch is None
            else _image(entry.nearest_patch, alternative=f"The same place in the good part {result.nearest[0].image}")
        )
        lines.append(
            f'<p class="nearest">{patch}<span>Looks most like this place in a good part: '
            f"{_text(result.nearest[0].image)}</span></p>"
        )
    wrong = ""
    if entry.wrong and result.verdict != CANNOT_JUDGE:
        wrong = f'<span class="chip mistake">{_MISTAKE[entry.truth == GOOD]}</span>'
    truth = "" if entry.truth is None else f'<span class="quiet">in truth: {_text(_class_name(entry.truth))}</span>'
    return f"""<article id="{anchor}" class="card">
<div class="pair">{frame}{heat}</div>
<h3>{_text(entry.name)}</h3>
<p class="chips"><span class="chip {verdict}">{_VERDICTS[verdict]}</span>{wrong}{truth}</p>
{"".join(lines)}
</article>
"""


def _setup(header: ReportHeader) -> str:
    terms = [("Model", header.model), ("Gallery", header.bundle)]
    if header.timings:
        stages = [f"{name} {time:.1f}" for name, time in header.timings.items() if name != "total"]
        total = header.timings.get("total", sum(header.timings.values()))
        by_stage = f" ({', '.join(stages)})" if stages else ""
        terms.append(("Time", (f"{total:.1f} ms a frame{by_stage}",)))
    if header.notes:
        terms.append(("Notes", header.notes))
    rows = [f"<dt>{name}</dt>" + "".join(f"<dd>{_text(line)}</dd>" for line in lines) for name, lines in terms if lines]
    return f"<dl>{''.join(f'<div>{row}</div>' for row in rows)}</dl>" if rows else '<p class="quiet">Nothing noted.</p>'


_VERDICTS = {GOOD: "Good", DEFECT: "Defect", CANNOT_JUDGE: "Cannot judge"}
_MISTAKE = {True: "false alarm", False: "missed"}


def _worth(entry: ReportEntry) -> float:
    """Score in units of the threshold; what cannot be judged comes before everything."""
    result = entry.result
    if result.verdict == CANNOT_JUDGE or math.isnan(result.score):
        return math.inf
    return result.score / result.threshold if result.threshold > 0 else math.inf


def _class_name(truth: str | None) -> str:
    return "not labelled" if truth is None else truth.replace("_", " ")


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def _text(text: str) -> str:
    """Text from anywhere, such as a file's name, as harmless HTML; what cannot be printed is shown as its code."""
    return escape("".join(letter if _printable(letter) else ascii(letter)[1:-1] for letter in text))


def _printable(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"  # narrow and unbreakable spaces


def _image(image: NDArray[np.uint8], *, alternative: str, kind: str = ".jpg") -> str:
    small = shrink(image) if kind == ".jpg" else image
    options = [cv2.IMWRITE_JPEG_QUALITY, 82] if kind == ".jpg" else []
    data = base64.b64encode(cv2.imencode(kind, small, options)[1].tobytes()).decode("ascii")
    height, width = small.shape[:2]
    media = "jpeg" if kind == ".jpg" else "png"
    return (
        f'<img src="data:image/{media};base64,{data}" alt="{_text(alternative)}" '
        f'width="{width}" height="{height}" decoding="async">'
    )


_STYLE = """
:root{--page:#fbfaf8;--card:#fff;--ink:#1d2126;--quiet:#646b74;--rule:#e4e2dd;--good:#0067a3;--defect:#b84a00;
--unknown:#6e6e6e}
@media (prefers-color-scheme:dark){:root{--page:#15171a;--card:#1d2024;--ink:#e8e6e3;--quiet:#9aa1ab;--rule:#33373d;
--good:#5bb3e8;--defect:#f0883e;--unknown:#a0a0a0}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:1120px;padding:clamp(20px,4vw,56px) clamp(16px,4vw,40px);background:var(--page);
color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
h1,h2,h3,p,dl,dd,figure,ol{margin:0}
.title{color:var(--quiet);margin-bottom:8px}
h1{font-size:clamp(26px,4.4vw,42px);line-height:1.15;letter-spacing:-.02em;font-weight:650;max-width:24em;
text-wrap:balance;overflow-wrap:normal}
.lead{margin-top:16px;max-width:46em}
section{margin-top:clamp(36px,5vw,56px)}
h2{font-size:19px;font-weight:650;letter-spacing:-.01em;padding-bottom:8px;margin-bottom:16px;
border-bottom:1px solid var(--rule)}
a{color:var(--good);text-underline-offset:2px}
.quiet{color:var(--quiet);font-size:14px}
svg{display:block;overflow:visible}
svg text{font-size:13px;fill:var(--quiet)}
svg .class{fill:var(--ink);stroke:var(--page);stroke-width:4px;paint-order:stroke}
svg .tick{text-anchor:middle}
svg .rail{stroke:var(--rule)}
svg .limit{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3}
svg .limit-name{fill:var(--ink);font-weight:600}
.dot{stroke-width:1.5}
.dot.good{fill:var(--page);stroke:var(--good);fill-opacity:.6}
.dot.defect{fill:var(--defect);stroke:var(--page);stroke-width:1}
.dot.unknown{fill:var(--unknown);stroke:var(--page);stroke-width:1}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:15px}
th,td{padding:8px 0 8px 20px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap;font-weight:400}
th:first-child{padding-left:0;text-align:left}
thead th{color:var(--quiet);font-size:13px;vertical-align:bottom}
td.none{color:var(--quiet);opacity:.55}
td.right{font-weight:650}
td.wrong{font-weight:650;color:var(--defect)}
td.wrong::after{content:" ✕";font-size:11px}
.span{color:var(--quiet)}
.legend{margin-bottom:28px;max-width:520px}
.legend img{display:block;width:100%;height:12px;border-radius:2px}
.ticks{position:relative;height:22px;font-size:13px;color:var(--quiet)}
.ticks span{position:absolute;top:2px;transform:translateX(-50%)}
.ticks b{color:var(--ink);font-weight:600}
.ticks span:nth-child(1){left:0;transform:none}
.ticks span:nth-child(2){left:25%}
.ticks span:nth-child(3){left:50%}
.ticks span:nth-child(4){left:75%}
.ticks span:nth-child(5){right:0;transform:none}
.legend figcaption{color:var(--quiet);font-size:14px;margin-top:6px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:24px}
.cards+*{margin-top:16px}
.card{background:var(--card);border:1px solid var(--rule);border-radius:6px;overflow:hidden;padding-bottom:16px;
scroll-margin-top:16px}
.card:target{outline:2px solid var(--ink)}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1px;background:var(--rule);margin-bottom:14px}
.pair img{display:block;width:100%;height:auto}
.card>:not(.pair){margin-left:16px;margin-right:16px}
h3{font-size:16px;font-weight:650}
.chips{display:flex;flex-wrap:wrap;align-items:center;gap:8px;margin-top:6px}
.chip{font-size:13px;font-weight:600;line-height:1;padding:5px 8px;border-radius:3px;border:1px solid currentColor}
.chip.good{color:var(--good)}
.chip.defect{color:var(--defect)}
.chip.cannot_judge{color:var(--unknown)}
.chip.mistake{background:var(--ink);color:var(--card);border-color:var(--ink)}
.score{margin-top:10px}
.card p:not([class]){font-size:15px;margin-top:2px}
.nearest{display:flex;align-items:center;gap:12px;margin-top:10px;font-size:14px;color:var(--quiet)}
.nearest img{display:block;width:56px;height:56px;object-fit:cover;border-radius:3px;flex:none}
dl>div{display:grid;grid-template-columns:7em 1fr;gap:0 16px;padding:8px 0;border-bottom:1px solid var(--rule)}
dt{color:var(--quiet);grid-row:1/99}
dd{grid-column:2}
.commands{padding:0;list-style:none;margin-top:12px}
.commands li{background:var(--card);border:1px solid var(--rule);border-radius:4px;padding:10px 14px;margin-top:8px;
overflow-x:auto}
code{font:14px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;white-space:pre}
@media (max-width:520px){th,td{padding-left:10px}table{font-size:14px}.span{display:none}
thead th:last-child{display:none}thead th{white-space:normal}dl>div{grid-template-columns:1fr}dd{grid-column:1}
dt{grid-row:auto}}
@media print{.card{break-inside:avoid}}
"""
