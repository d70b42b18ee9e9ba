"""The images to review: one card each, with frame, anomaly map, score and the most similar good part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import read_masks
from spade_edge.runtime.errors import SpadeError
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD
from spade_edge.tools.drawing.overlay import TOP, figure, in_colour
from spade_edge.tools.drawing.picture_size import shrink
from spade_edge.tools.evaluation.results import FALSE_REJECT, FOUND, MISSED, PASSED, Example
from spade_edge.tools.report.chart import drawing
from spade_edge.tools.report.page import class_name, colour_scale, counted, image, sentence, text
from spade_edge.tools.report.rates import times

LARGEST = 8 << 20  # bytes of all cards; the page says how many more are left out
MISTAKES = {MISSED: "missed", FALSE_REJECT: "false reject"}
_HEADINGS = {
    MISSED: "Missed defects",
    FALSE_REJECT: "Rejected good parts",
    FOUND: "Found, closest to the threshold",
    PASSED: "Passed, closest to the threshold",
}

_VERDICTS = {GOOD: "Good", DEFECT: "Defect", CANNOT_JUDGE: "Cannot judge"}


def cards_of(
    examples: Sequence[Example], *, threshold: float, largest: int = LARGEST
) -> tuple[list[tuple[Example, str]], int]:
    """The examples with their HTML, as many as fit into `largest` bytes, and the number of those left out."""
    cards: list[tuple[Example, str]] = []
    left = largest
    for place, example in enumerate(examples):
        card = _card(example, f"image-{place}", threshold=threshold)
        left -= len(card)
        if left < 0:
            return cards, len(examples) - place
        cards.append((example, card))
    return cards, 0


def gallery(cards: Sequence[tuple[Example, str]], *, totals: Mapping[str, int], left_out: int) -> str:
    """The cards by kind.

    Args:
        cards: of `cards_of`.
        totals: number of mistakes of each kind, shown or not.
        left_out: number of examples that did not fit.
    """
    if not cards:
        return ""
    groups = []
    for kind, title in _HEADINGS.items():
        shown = [card for example, card in cards if example.kind == kind]
        total = totals.get(kind, len(shown))
        of = f"the worst {len(shown)} of {total}" if len(shown) < total else f"{len(shown)}" if kind in totals else ""
        if shown:
            groups.append(
                f'<h3 class="group">{title} <span class="quiet">{of}</span></h3>'
                f'<div class="cards">{"".join(shown)}</div>'
            )
    gone = f'<p class="quiet">{counted(left_out, "more image")} would make this page too large.</p>'
    outline = '<p class="quiet outline">The outline in the left picture is the defect according to its mask.</p>'
    masks = any(example.masks for example, _ in cards)
    return f"{colour_scale()}{outline if masks else ''}{''.join(groups)}{gone if left_out else ''}"


def _card(example: Example, anchor: str, *, threshold: float) -> str:
    item = example.image
    if example.frame is None:
        pair = '<p class="blank">The image cannot be read.</p>'
    else:
        outlined = _outlined(example.frame, example.masks)
        drawn = "" if outlined is None else "; the outline is the defect according to its mask"
        frame = example.frame if outlined is None else outlined
        pair = image(frame, alternative=f"Frame {item.name}{drawn}")
        if example.overlay is None:
            pair += '<p class="blank">No anomaly map.</p>'
        else:
            regions = counted(len(example.regions), "region")
            pair += image(
                example.overlay, alternative=f"Anomaly map over {item.name}: {regions} above the pixel threshold"
            )
    verdict = item.verdict if item.verdict in _VERDICTS else CANNOT_JUDGE
    chips = [f'<span class="chip {verdict}">{_VERDICTS[verdict]}</span>']
    if example.kind in MISTAKES and verdict != CANNOT_JUDGE:
        chips.append(f'<span class="chip mistake">{MISTAKES[example.kind]}</span>')
    chips.append(f'<span class="quiet">ground truth: {text(class_name(item.truth))}</span>')
    lines = [_worth(item.score, threshold)]
    if item.reason:
        lines.append(f"<p>{text(sentence(item.reason))}</p>")
    if example.nearest:
        match = example.nearest[0]
        patch = (
            ""
            if example.nearest_patch is None
            else image(example.nearest_patch, alternative=f"The same place in the good part {match.image}", longest=160)
        )
        lines.append(
            f'<p class="nearest">{patch}<span>Most similar place in a good part: {text(match.image)}</span></p>'
        )
    return (
        f'<article id="{anchor}" class="card">\n<div class="pair">{pair}</div>\n<h3>{text(item.name)}</h3>\n'
        f'<p class="chips">{"".join(chips)}</p>\n{"".join(lines)}\n</article>\n'
    )


def _worth(score: float | None, threshold: float) -> str:
    """A score against the threshold, in words and on the axis of the colour scale."""
    if score is None or math.isnan(score):
        return f'<p class="score">No score, threshold {figure(threshold)}</p>'
    words = f"Score <b>{figure(score)}</b>, threshold {figure(threshold)}"
    if not threshold > 0:
        return f'<p class="score">{words}</p>'
    ratio = score / threshold
    across = 50 * max(ratio, 0) if ratio <= 1 else 50 + 50 * min(math.log(ratio, TOP), 1)
    side = "over" if ratio > 1 else "under"
    marks = (
        '<line x1="0" x2="100%" y1="7" y2="7" class="rail"/><line x1="50%" x2="50%" y1="0" y2="14" class="edge"/>'
        f'<line x1="0" x2="{across:.1f}%" y1="7" y2="7" class="worth {side}"/>'
    )
    label = f"{ratio:.3g} times the threshold; the line in the middle is the threshold, the right end {TOP:g} times"
    return (
        f'<p class="score">{words} <span class="quiet">· {times(ratio)}</span></p>'
        f'<div class="gauge">{drawing(label, marks, height=14)}</div>'
    )


def _outlined(frame: NDArray[np.uint8], masks: Sequence[Path]) -> NDArray[np.uint8] | None:
    """The frame with an outline just outside each defect; None without a readable mask."""
    if not masks:
        return None
    try:
        truth = read_masks(masks)
    except SpadeError:
        return None
    picture = shrink(in_colour(frame))
    height, width = picture.shape[:2]
    # Area averaging, so that small defects are not lost.
    covered = cv2.resize(truth.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0
    around = cv2.dilate(covered.astype(np.uint8), np.ones((7, 7), np.uint8))
    contours, _ = cv2.findContours(around, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for shade, line in (((20, 20, 20), 3), ((255, 255, 255), 1)):
        cv2.drawContours(picture, contours, -1, shade, line, cv2.LINE_8)
    return picture
