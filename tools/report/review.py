"""The review of a gallery: its good images on one page, the least typical first, for a person to decide on.

The network does not run. The maps come from the features in the bundle; each image is left out with its part.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from spade_edge.galleries.progress import Progress
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.good_image import in_words
from spade_edge.tools.drawing.good_image import good_image
from spade_edge.tools.drawing.overlay import TOP, figure
from spade_edge.tools.report.chart import Axis, Row, drawing, histogram, strips
from spade_edge.tools.report.good_pictures import WIDE, GoodPicture, GoodPictures, longest_side
from spade_edge.tools.report.good_set import GoodSet
from spade_edge.tools.report.page import (
    colour_scale,
    counted,
    document,
    heading,
    image,
    sentence,
    shortened,
    text,
    write,
)
from spade_edge.tools.report.rates import times
from spade_edge.tools.report.style import EVALUATION, REVIEW

FILE = "index.html"
CARDS = 24  # images that are shown large; more if more are worth a look or excluded
SLOW_CARDS = 6  # the same where a map takes seconds; more cards have no map then
COMPARED = 4  # images not worth a look that are shown large in any case
MOST_CARDS = 100  # about 8 MB
MOST_SMALL = 400
SMALL = 112  # pixels of a small picture
MOST_DOTS = 500  # in the drawing of the scores
MOST_LINKS = 12  # names of images at the top of the page
MOST_NAMES = 3  # of images of the same part
IN_A_LINE = 3  # names in one line of the command


def write_review(
    folder: Path, bundle: Path, *, images: Path | None = None, threads: int | None = None, progress: Progress
) -> Path:
    """Write the page of a bundle's good images. The file is replaced in one step.

    Args:
        folder: index.html is written there; it is created if missing.
        bundle: the bundle folder.
        images: the folder that it was built from, for sharper pictures than the bundle's thumbnails.
        threads: of the matching; None for one per core.
        progress: wraps the images whose maps are drawn, with a label.

    Returns:
        the path of the page.

    Raises:
        BundleError: there is no bundle, or it is damaged.
        DataError: none of the images is in the folder `images`, or the page cannot be written.
    """
    opened = Bundle.open(bundle)
    good = GoodSet.of(opened.manifest)
    pictures = GoodPictures(opened, images=images, pixel_threshold=good.pixel_threshold, threads=threads)
    write(folder / FILE, _page(opened, good, pictures, progress))
    return folder / FILE


def _page(bundle: Bundle, good: GoodSet, pictures: GoodPictures, progress: Progress) -> str:
    most = SLOW_CARDS if pictures.slow else CARDS
    shown = _shown(good, most)
    mapped = shown[:most] if pictures.slow else shown
    cards = {}
    for number in progress(shown, "drawing maps"):
        with_map = number in mapped
        drawn = pictures.mapped(number, allowed=good.allowed(number)) if with_map else pictures.plain(number)
        cards[number] = _card(good, number, drawn)
    compared = [number for number in good.others if number in cards]
    rest = [number for number in good.others if number not in cards]
    least = "The least typical of the others, for comparison" if good.suspects else "The least typical images"
    compare = ("compared", least, _cards(compared, cards, small=bool(good.suspects)))
    first = ("look", "Worth a look", _cards(good.suspects, cards)) if good.suspects else compare
    sections = [
        (*first[:2], f"{first[2]}\n{_key(good, pictures)}"),  # the pictures come before their explanation
        ("scores", "Scores", _scores(good)),
        *([compare] if good.suspects else []),
        ("excluded", "Excluded", _cards(good.excluded, cards)),
        ("rest", f"The other {counted(len(rest), 'image')}", _sheet(bundle, rest)),
        ("decide", "You decide", _commands(bundle, good)),
    ]
    return document(
        f"Good images of {shortened(bundle.path.resolve().name)}",
        header=f"{heading(_summary(good))}\n{_lead(bundle, good, cards)}",
        sections=[section for section in sections if section[2]],
        style=EVALUATION + REVIEW,
    )


def _shown(good: GoodSet, most: int) -> tuple[int, ...]:
    """The images that are shown large: those worth a look, some to compare them with, and the excluded ones."""
    compared = list(good.others[: max(COMPARED, most - len(good.suspects) - len(good.excluded))])
    decisive = good.decisive
    if decisive in good.others and decisive not in compared:
        compared.append(decisive)
    suspects = good.suspects[: MOST_CARDS - len(compared)]
    excluded = good.excluded[: MOST_CARDS - len(compared) - len(suspects)]
    return (*suspects, *compared, *excluded)


# The top of the page


def _summary(good: GoodSet) -> str:
    suspects, images = len(good.suspects), counted(good.included, "good image")
    if not suspects:
        return f"None of {images} stands out."
    return f"{suspects} of {images} {'is' if suspects == 1 else 'are'} worth a look."


def _lead(bundle: Bundle, good: GoodSet, cards: Mapping[int, str]) -> str:
    threshold = good.manifest.threshold
    excluded = f"{len(good.excluded)} excluded" if good.excluded else "none excluded"
    lines = [
        ("", _look_first(good, cards)),
        ("", _decisive(good, cards)),
        (
            " quiet",
            text(
                f"{bundle.path}: {counted(good.included, 'good image')} of {counted(good.parts, 'part')}, {excluded}. "
                f"Threshold {figure(threshold.score)}: {threshold.sentence()}."
            ),
        ),
        (" quiet", text(sentence(good.manifest.place.reason))),
        (" quiet", text(sentence(threshold.caution())) if threshold.caution() else ""),
    ]
    return "\n".join(f'<p class="lead{kind}">{line}</p>' for kind, line in lines if line)


def _look_first(good: GoodSet, cards: Mapping[int, str]) -> str:
    suspects = good.suspects
    if not suspects:
        return "The least typical come first. If one of them does not show a good part, exclude it."
    links = [_link(good, number, cards) for number in suspects[:MOST_LINKS]]
    more = f" and {len(suspects) - MOST_LINKS} more" if len(suspects) > MOST_LINKS else ""
    first = "first image" if len(suspects) == 1 else f"first {len(suspects)} images"
    return f"Look at the {first}: {', '.join(links)}{more}."


def _decisive(good: GoodSet, cards: Mapping[int, str]) -> str:
    """The image whose score is the threshold, and what the threshold would be without it or without all suspects."""
    now, suspects, lines = good.manifest.threshold.score, len(good.suspects), []
    without = None if good.without is None else good.without.score
    if good.deciding is not None and good.decisive is not None:
        lines.append(
            f"The threshold, {figure(now)}, is the score of {_link(good, good.decisive, cards)} alone: without this "
            f"image it would be about {figure(good.deciding.without)}."
        )
        if without == good.deciding.without:
            without = None  # said already
    if without is not None and without != now:
        all_of_them = "the image that is" if suspects == 1 else f"the {suspects} images that are"
        lines.append(f"Without {all_of_them} worth a look, the threshold would be about {figure(without)}.")
    return " ".join(lines)


def _link(good: GoodSet, number: int, cards: Mapping[int, str]) -> str:
    name = text(shortened(good.manifest.names[number], letters=36))
    return f'<a href="#image-{number}">{name}</a>' if number in cards else name


# The images


def _key(good: GoodSet, pictures: GoodPictures) -> str:
    """What pictures, colours and numbers mean."""
    now, here = good.manifest.threshold.pixel, good.pixel_threshold
    lines = [
        "The first picture is the image; the second shows where it differs from the good images of other parts"
        + (", without those that are worth a look." if good.suspects else ".")
    ]
    if here != now:
        lines.append(
            f"The pixel threshold of these pictures is {figure(here)}, as it would be without the images that are "
            f"worth a look. That of the bundle is {figure(now)}."
        )
    lines.append("Untypical is 0 for a usual score; over 1, the mark on the bar, an image is worth a look.")
    if pictures.missing:
        lines.append(
            f"{counted(len(pictures.missing), 'image')} could not be found or read in the folder of the good images: "
            f"{_some(pictures.missing)}. The pictures from the bundle are shown instead."
        )
    return f'{colour_scale()}<p class="quiet key">{" ".join(text(line) for line in lines)}</p>'


def _cards(numbers: Sequence[int], cards: Mapping[int, str], *, small: bool = False) -> str:
    if not numbers:
        return ""
    shown = "".join(cards[number] for number in numbers if number in cards)
    left_out = sum(number not in cards for number in numbers)
    more = f'<p class="quiet">{counted(left_out, "more image")} would make this page too large.</p>'
    return f'<div class="cards{" small" if small else ""}">{shown}</div>{more if left_out else ""}'


def _card(good: GoodSet, number: int, drawn: GoodPicture) -> str:
    own, threshold = good.manifest.images[number], good.manifest.threshold
    pair = image(drawn.plain, alternative=f"Good image {own.name}", longest=max(drawn.plain.shape))
    if drawn.mapped is None or drawn.peak is None:
        pair += '<p class="blank">No map: each takes long in this bundle.</p>'
    else:
        largest = f"largest value {figure(drawn.peak)}, {times(drawn.peak / good.pixel_threshold)} the pixel threshold"
        pair += image(
            drawn.mapped, alternative=f"Anomaly map over {own.name}: {largest}", longest=max(drawn.mapped.shape)
        )
    chips = []
    if own.exclusion is not None:
        chips.append('<span class="chip cannot_judge">excluded</span>')
    if own.taught is not None:
        chips.append('<span class="chip">taught in</span>')
    if number == good.decisive:
        chips.append('<span class="chip mistake">sets the threshold</span>')
    lines = [f'<p class="chips">{"".join(chips)}</p>'] if chips else []
    if own.exclusion is not None:
        lines.append(f"<p>{text(sentence(f'Excluded on {own.exclusion.set[:10]}: {own.exclusion.reason}'))}</p>")
    if own.taught is not None:
        lines.append(f"<p>{text(sentence(in_words(own.taught)))}</p>")
    if own.remark:
        lines.append(f"<p>{text(sentence(own.remark))}</p>")
    lines.append(_untypical(own.untypical))
    score = f"Score {figure(own.score)}, threshold {figure(threshold.score)}."
    lines.append(f'<p class="quiet">{text(" ".join(filter(None, (score, _same_part(good, number)))))}</p>')
    height, width = drawn.plain.shape[:2]
    kind = ("" if own.included else " excluded") + (" wide" if width >= WIDE * height else "")
    return (
        f'<article id="image-{number}" class="card{kind}">\n<div class="pair scroll">{pair}</div>\n'
        f"<h3>{text(own.name)}</h3>\n{''.join(lines)}\n</article>\n"
    )


def _same_part(good: GoodSet, number: int) -> str:
    others = [good.manifest.names[other] for other in good.repeats(number)]
    return f"Shows the same part as {_some(others)}." if others else ""


def _untypical(value: float) -> str:
    """How untypical an image is, in figures and as a bar with the limit in its middle."""
    across = 50 * max(value, 0) if value <= 1 else 50 + 50 * min(math.log(value, TOP), 1)
    side = "over" if value > 1 else "under"
    said = f"{round(value, 2) + 0.0:.2f}"  # no minus sign before 0.00
    marks = (
        '<line x1="0" x2="100%" y1="7" y2="7" class="rail"/><line x1="50%" x2="50%" y1="0" y2="14" class="edge"/>'
        f'<line x1="0" x2="{across:.1f}%" y1="7" y2="7" class="worth {side}"/>'
    )
    label = f"Untypical {said}; from the line in the middle, 1, on an image is worth a look; the right end is {TOP:g}"
    gauge = drawing(label, marks, height=14)
    return f'<p class="score">Untypical <b>{said}</b></p><div class="gauge">{gauge}</div>'


def _sheet(bundle: Bundle, numbers: Sequence[int]) -> str:
    """Small pictures of the other images, so that a person sees them all at a glance."""
    if not numbers:
        return ""
    *_, width, height = bundle.manifest.canvas.field
    longest = longest_side(height, width, usual=SMALL)
    items = []
    for number in numbers[:MOST_SMALL]:
        own = bundle.manifest.images[number]
        small = image(
            good_image(bundle, number, longest=longest), alternative=f"Good image {own.name}", longest=longest
        )
        items.append(f'<li>{small}<span class="name">{text(own.name)}</span></li>')
    left_out = len(numbers) - len(items)
    more = f'<p class="quiet">{counted(left_out, "more image")}, the most typical of all, not shown.</p>'
    wide = " wide" if width >= WIDE * height else ""
    return f'<ul class="sheet{wide}">{"".join(items)}</ul>{more if left_out else ""}'


# Scores and commands


def _scores(good: GoodSet) -> str:
    """One row of dots for the images worth a look, for the others and for those excluded, in units of the threshold."""
    limit = good.manifest.threshold.score
    if not limit > 0:
        return ""
    rows = []
    for name, kind, numbers in (
        ("worth a look", "defect", good.suspects),
        ("the other images", "good", good.others),
        ("excluded", "unknown", good.excluded),
    ):
        some = [good.manifest.images[number] for number in numbers]
        if some:
            titles = [f"{one.name}: {figure(one.score)}" for one in some]
            rows.append(Row(name, kind, [one.score / limit for one in some], titles))
    axis = Axis.of((score for row in rows for score in row.scores), limit=1.0)
    if axis is None:
        return ""
    if len(good.manifest.images) <= MOST_DOTS:
        drawn, unit = strips(rows, axis=axis, limit=1.0, unit="×"), "One dot per image"
    else:
        drawn, unit = histogram(rows, axis=axis, limit=1.0, name="threshold"), "Number of images"
    return (
        f'{drawn}<p class="quiet">{unit}: its score when its part is left out, divided by the threshold, {axis.scale} '
        "axis.</p>"
    )


def _commands(bundle: Bundle, good: GoodSet) -> str:
    """The command that excludes the images worth a look, for a person to shorten, complete and run."""
    names = [good.manifest.names[number] for number in good.suspects] or ["NAME"]
    quoted = [shlex.quote(name) for name in names]
    if any(name.startswith("-") for name in names):
        quoted.insert(0, "--")  # what follows is no option
    start = f'spade-edge gallery exclude --bundle {shlex.quote(str(bundle.path))} --reason "…"'
    listed = [start, *quoted] if len(names) > IN_A_LINE else [" ".join((start, *quoted))]
    command = " \\\n  ".join(text(part) for part in listed)
    return (
        '<p class="said">The figures only say which images differ. Whether an image shows a good part is for a person '
        "to decide. An image of a rare but acceptable part should stay: without it, such parts will be rejected. Leave "
        "its name out of this command.</p>\n"
        f'<ol class="commands"><li><code>{command}</code></li></ol>\n'
        '<p class="quiet said">The command needs no image file and does not run the network. Scores, limits and '
        "threshold are found anew. Excluded images stay in the bundle; <code>spade-edge gallery include</code> takes "
        "them back.</p>"
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
