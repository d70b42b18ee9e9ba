"""The report of an evaluation: right figures, honest gaps, bounded, and fit for a phone in a real browser."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from chromium import DESKTOP, PHONE, PROGRAM, Chromium
from numpy.typing import NDArray
from pages import HOSTILE, Page
from scipy.stats import beta

from spade_edge.galleries import Built
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.geometry.layout import Layout
from spade_edge.runtime.result import FrameResult, Match, Region
from spade_edge.tools.demo.parts import render_defect, render_good
from spade_edge.tools.drawing.overlay import overlay
from spade_edge.tools.evaluation.metrics import Metric, Rate, auroc, average_precision, f1_max, roc
from spade_edge.tools.evaluation.results import Evaluation, Example, Header, ImageResult, count
from spade_edge.tools.report import ReportEntry, ReportHeader, summary, write_evaluation, write_report
from spade_edge.tools.report.style import EVERY

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
    """An example with a rendered part; the heat map lies where the defect is."""
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
        mask=None if image.truth == "good" else mask,
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
            promise="at most 1.00% of good frames rejected, certified by 120 good images",
            search="hnsw",
            provider="CPUExecutionProvider",
            writer="0.1.0",
            time="2026-11-24T13:00:00+00:00",
        ),
        images=tuple(images),
        types=count(images),
        false_rejects=Rate.among(sum(image.wrong for image in good), len(good)),
        missed=Rate.among(sum(image.wrong for image in defects), len(defects)),
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


@pytest.fixture(scope="module")
def bundle(edge: Built) -> Bundle:
    return Bundle.open(edge.path)


def page_of(tmp_path: Path, evaluation: Evaluation, bundle: Bundle) -> tuple[str, Page]:
    path = tmp_path / "report.html"
    write_evaluation(path, evaluation, bundle=bundle)
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def words(page: Page) -> str:
    return " ".join(text for tag, text in page.texts if tag != "style").replace("\xa0", " ").replace("\u202f", " ")


# What is said


GOOD, BAD = judged("good/a", "good", 4.0), judged("good/b", "good", 14.0)
FOUND, MISS = judged("dent/a", "dent", 30.0), judged("dent/b", "dent", 9.0)
DARK, LOST = judged("dent/c", "dent", None, reason="the frame is black"), judged("good/c", "good", None)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ((), "No images were evaluated."),
        ((GOOD,), "0 of 1 good part rejected. There were no defects to find."),
        ((MISS,), "1 of 1 defect missed."),
        ((GOOD, BAD, FOUND, FOUND, MISS), "1 of 2 good parts rejected, 1 of 3 defects missed."),
        ((GOOD, LOST, FOUND), "1 of 2 good parts rejected, 0 of 1 defect missed. 1 image could not be judged."),
        ((GOOD, DARK, DARK), "0 of 1 good part rejected, 0 of 2 defects missed. 2 images could not be judged."),
    ],
)
def test_the_first_sentence_says_what_was_found(
    tmp_path: Path, bundle: Bundle, images: tuple[ImageResult, ...], sentence: str
) -> None:
    evaluation = evaluated(images)
    assert summary(evaluation) == sentence
    _, page = page_of(tmp_path, evaluation, bundle)
    assert [text.replace("\xa0", " ") for text in page.text_in("h1")] == [sentence]


def test_the_table_counts_each_class_and_says_how_sure_its_rate_is(tmp_path: Path, bundle: Bundle) -> None:
    images = (*TYPICAL, DARK)
    _, page = page_of(tmp_path, evaluated(images), bundle)
    (start,) = (place for place, (tag, text) in enumerate(page.texts) if (tag, text) == ("th", "Scores"))
    rows, row = {}, ""
    for tag, text in page.texts[start + 1 :]:
        if tag == "h2":
            break
        if tag == "th":
            row = text
        rows.setdefault(row, []).append(text.replace("\u202f", " "))
    assert list(rows)[:2] == ["good", "all defects"]
    for name, found in rows.items():
        truth = name.replace(" ", "_")
        some = [image for image in images if (image.truth != "good" if name == "all defects" else image.truth == truth)]
        wrong = [image for image in some if (image.verdict == "good") != (image.truth == "good")]
        k, n = len(wrong), len(some)
        low = 0.0 if k == 0 else float(beta.ppf(0.025, k, n - k + 1))
        high = 1.0 if k == n else float(beta.ppf(0.975, k + 1, n - k))
        verdicts = [sum(image.verdict == verdict for image in some) for verdict in ("good", "defect", "cannot_judge")]
        assert found[1:6] == [str(number) for number in (n, *verdicts, k)], name
        assert found[6] == (f"{100 * k / n:.1f} %" if k else "0 %")
        assert found[7] == f"({f'{100 * low:.1f}' if k else 0}–{100 * high:.1f} %)"
    shares = [sum(image.wrong for image in TYPICAL if image.truth == name.replace(" ", "_")) for name in rows]
    assert shares[2:] == sorted(shares[2:], reverse=True)
    assert len(rows) == 6


def test_one_type_of_defect_needs_no_sum(tmp_path: Path, bundle: Bundle) -> None:
    _, page = page_of(tmp_path, evaluated((GOOD, FOUND, MISS)), bundle)
    assert [text for text in page.text_in("th") if text in {"good", "dent", "all defects"}] == ["good", "dent"]


@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_the_histogram_counts_every_score_on_its_side_of_the_threshold(
    tmp_path: Path, bundle: Bundle, spread: float
) -> None:
    good = [judged(f"g{n}", "good", score) for n, score in enumerate((4.0, 4.0, 9.99, 10.0, 10.01, 12.0))]
    scores = (9.0, 10.0, float(np.nextafter(10, 11)), 20 * spread, 22 * spread)
    bad = [judged(f"d{n}", "dent", score) for n, score in enumerate(scores)]
    text, page = page_of(tmp_path, evaluated((*good, *bad, DARK)), bundle)
    (limit,) = {line["x1"] for line in page.all("line") if line["class"] == "limit" and line["x1"].endswith("%")}
    bars = re.findall(
        r'<rect x="([\d.]+)%" y="[\d.]+" width="([\d.]+)%" height="[\d.]+" class="bar (\w+)( wrong)?"><title>(\d+) ',
        text,
    )
    sides: dict[tuple[str, bool], int] = {}
    for x, width, kind, wrong, images in bars:
        over = float(x) >= float(limit.rstrip("%")) - 0.01
        assert over or float(x) + float(width) <= float(limit.rstrip("%")) + 0.01
        assert bool(wrong) == (over == (kind == "good"))
        sides[kind, over] = sides.get((kind, over), 0) + int(images)
    assert sides == {("good", False): 4, ("good", True): 2, ("defect", False): 2, ("defect", True): 3}
    said = words(page)
    assert "Good: 2 of 6 over the threshold" in said
    assert "Defective: 2 of 5 not over it" in said
    assert "1 image without a score is not drawn" in said
    assert ("logarithmic axis" in said) == (spread > 1)


def test_scores_of_nought_and_beyond_all_bounds_do_not_break_the_page(tmp_path: Path, bundle: Bundle) -> None:
    scores = (0.0, -1.0, 1e-12, 1e12, float("inf"))
    images = [judged(f"d{score}", "dent", score) for score in scores]
    text, page = page_of(tmp_path, evaluated((GOOD, *images)), bundle)
    for x, width in re.findall(r'<rect x="([-\d.]+)%"[^>]* width="([-\d.]+)%"', text):
        assert float(x) >= 0
        assert 0 < float(width) <= 100
    assert "nan" not in words(page).lower()
    zero = replace(evaluated((GOOD, FOUND)), header=replace(evaluated(()).header, threshold=0.0))
    page_of(tmp_path, replace(zero, examples=(shown("found", FOUND),)), bundle)


def points(text: str, kind: str) -> list[tuple[float, float]]:
    """Of the first line or area of a class, in the drawing's own units."""
    match = re.search(rf'points="([^"]*)" class="{kind}"', text)
    assert match is not None
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in match[1].split())]


def test_the_curves_are_drawn_to_scale(tmp_path: Path, bundle: Bundle) -> None:
    evaluation = evaluated(TYPICAL)
    text, page = page_of(tmp_path, evaluation, bundle)
    left, floor, right, top = 46.0, 246.0, 348.0, 10.0
    line = points(text, "curve")
    assert line[0] == (left, floor)
    assert line[-1] == (right, top)
    area = sum((b[0] - a[0]) * (2 * floor - a[1] - b[1]) / 2 for a, b in pairwise(line))
    assert area / (right - left) / (floor - top) == pytest.approx(evaluation.image_auroc.value, abs=0.002)
    (dot,) = (circle for circle in page.all("circle") if circle["class"] == "here")
    good = [image.score > THRESHOLD for image in TYPICAL if image.truth == "good"]
    bad = [image.score > THRESHOLD for image in TYPICAL if image.truth != "good"]
    assert float(dot["cx"]) == pytest.approx(left + np.mean(good) * (right - left), abs=0.1)
    assert float(dot["cy"]) == pytest.approx(floor - np.mean(bad) * (floor - top), abs=0.1)
    shape = points(text, "counts")
    assert max(x for x, _ in shape) == pytest.approx(left + 0.75 * (right - left), abs=0.1)  # 0.3 of 0.4
    assert min(y for _, y in shape) == pytest.approx(floor - PRO[-1][1] * (floor - top), abs=0.1)


def test_a_curve_of_a_hundred_thousand_points_is_drawn_with_few() -> None:
    from spade_edge.tools.report.chart import curve

    many = [(n / 1e5, (n / 1e5) ** 0.3) for n in range(100001)]
    drawn = curve("many", many, names=("across", "up"))
    assert len(drawn) < 20000
    line = points(drawn, "curve")
    assert (line[0], line[-1]) == ((46.0, 246.0), (348.0, 10.0))
    for x, y in line[20:]:
        assert y == pytest.approx(246 - 236 * ((x - 46) / 302) ** 0.3, abs=4)


def test_what_is_not_defined_says_why(tmp_path: Path, bundle: Bundle) -> None:
    _, page = page_of(tmp_path, evaluated((GOOD, BAD), pixels=False), bundle)
    said = words(page)
    assert said.count("not defined") == 5
    assert said.count("No defective image was scored.") == 3
    assert said.count("None of the defective images has a mask.") == 2
    assert "No ROC curve: no defective image was scored." in said
    assert "No PRO curve: none of the defective images has a mask." in said
    assert not re.search(r"\b(nan|None)\b", said.replace("None of the", ""))
    assert not [svg for svg in page.all("svg") if "viewbox" in svg]


@pytest.mark.parametrize(
    ("value", "shown_as"),
    [(1.0, "1.000"), (0.99951, "0.99951"), (0.9999999, "0.99999"), (0.98765, "0.988"), (0.0, "0.000")],
)
def test_a_metric_is_never_rounded_to_perfection(tmp_path: Path, bundle: Bundle, value: float, shown_as: str) -> None:
    _, page = page_of(tmp_path, replace(evaluated(TYPICAL), aupro=Metric(value)), bundle)
    assert page.text_in("dd")[8:10][0] == shown_as or shown_as in page.text_in("dd")


def test_notes_times_and_identity_are_there(tmp_path: Path, bundle: Bundle) -> None:
    _, page = page_of(tmp_path, evaluated(TYPICAL, notes=("2 masks belong to no image",)), bundle)
    said = words(page)
    assert "2 masks belong to no image." in said
    assert "27.9 ms a frame" in said
    assert "35.8 frames a second" in said
    assert [cell for cell in page.text_in("td") if cell.endswith(" ms")] == ["1.2 ms", "19.5 ms", "6.2 ms", "0.8 ms"]
    manifest = bundle.manifest
    created = manifest.created.replace("T", " ").replace("+00:00", " UTC")
    for expected in (
        "/srv/bundles/line-2/flange.spade",
        f"built {created} by {manifest.writer}",
        f"{len(manifest.names)} good images, {manifest.size / 1e6:,.0f} MB, profile edge",
        "SHA-256 of its manifest " + "3f" * 32,
        "resnet18, levels 1, 2, 3, 64 x 64 pixels, fp32",
        "score 10, pixels 12",
        "At most 1.00% of good frames rejected, certified by 120 good images.",
        "the whole frame, of any size",
        "/srv/datasets/flange-2026-11",
        "40 good images, 60 defective, 60 of them with a mask",
        "2026-11-24 13:00:00 UTC by spade-edge 0.1.0, hnsw search, CPUExecutionProvider",
    ):
        assert expected in page.text_in("dd"), expected
    layout = Layout(frame=(480, 640), boxes=((0, 0, 320, 480), (320, 0, 320, 480)), masked=True)
    boxed = replace(bundle, manifest=replace(manifest, layout=layout))
    _, page = page_of(tmp_path, evaluated(TYPICAL), boxed)
    assert "2 views of frames of 640 x 480 pixels, a mask leaves parts out" in page.text_in("dd")
    empty = replace(evaluated(TYPICAL), timings={})
    assert "Time" not in page_of(tmp_path, empty, bundle)[1].text_in("h2")


# Images


def picture(page: Page, beginning: str) -> NDArray[np.uint8]:
    """The page's first image whose words begin so, as (H, W, 3) BGR."""
    source = next(image["src"] for image in page.all("img") if image["alt"].startswith(beginning))
    data = base64.b64decode(source.partition("base64,")[2], validate=True)
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


def test_the_gallery_shows_mistakes_first_and_the_top_leads_to_them(tmp_path: Path, bundle: Bundle) -> None:
    missed = [judged(f"dent/{n}", "dent", 3.0 + n) for n in range(6)]
    rejected = [judged(f"good/{n}", "good", 20.0 - n) for n in range(3)]
    images = (*rejected, GOOD, *missed, FOUND)
    _, page = page_of(tmp_path, evaluated(images, examples=examples_of(images, most=4)), bundle)
    order = [name for name in page.text_in("h3") if "/" in name]
    assert order == [f"dent/{n}" for n in range(4)] + [f"good/{n}" for n in range(3)] + ["dent/a", "good/a"]
    said = words(page)
    assert "Missed defects the worst 4 of 6" in said
    assert "Rejected good parts 3" in said
    links = [link for link in page.all("a") if link["href"].startswith("#image-")]
    names = ["dent/0", "dent/1", "dent/2", "good/0", "good/1", "good/2"]
    assert page.text_in("a")[:6] == names
    anchors = [attributes["id"] for attributes in page.all("article")]
    assert [order[anchors.index(link["href"].removeprefix("#"))] for link in links] == names
    assert "3 more" in page.text_in("a")
    chips = page.text_in("span")
    assert chips.count("missed") == 4
    assert chips.count("false reject") == 3


def test_a_card_tells_everything_about_its_image(tmp_path: Path, bundle: Bundle) -> None:
    rejected = judged("good/x.png", "good", 31.4, reason="1 region over the pixel threshold")
    dark = judged("good/dark.png", "good", None, reason="the frame is black")
    lost = judged("good/lost.png", "good", None, reason="the file is cut off")
    examples = (
        shown("false_reject", rejected),
        replace(shown("false_reject", dark), overlay=None, nearest=(), nearest_patch=None),
        replace(shown("false_reject", lost), frame=None, overlay=None, nearest=(), nearest_patch=None),
    )
    _, page = page_of(tmp_path, evaluated((rejected, dark, lost), examples=examples), bundle)
    said = words(page)
    for expected in (
        "Score 31.4 , threshold 10 · 3.14×",
        "1 region over the pixel threshold.",
        "Looks most like this place in a good part: good/000.png",
        "No score, threshold 10",
        "The frame is black.",
        "No heat map.",
        "The image cannot be read.",
    ):
        assert expected in said, expected
    gauge = [line for line in page.all("line") if line["class"] == "worth over"]
    assert [float(line["x2"].rstrip("%")) for line in gauge] == [
        pytest.approx(50 + 50 * np.log(3.14) / np.log(4), abs=0.1)
    ]
    alternatives = [image["alt"] for image in page.all("img")]
    assert "Heat map over good/x.png: 1 region over the pixel threshold" in alternatives
    assert "The same place in the good part good/000.png" in alternatives
    assert np.abs(picture(page, "Frame good/x").astype(int) - examples[0].frame).mean() < 4  # BGR kept


def test_the_true_defect_is_outlined_in_the_frame_and_nothing_else(tmp_path: Path, bundle: Bundle) -> None:
    mask = np.zeros((400, 400), np.uint8)  # of the image as it was, twice as large as the frame shown
    mask[100:140, 300:360] = 255
    np.save(tmp_path / "mask.npy", mask)
    example = shown("missed", MISS, mask=tmp_path / "mask.npy")
    _, page = page_of(tmp_path, evaluated((GOOD, MISS), examples=(example,)), bundle)
    found = np.abs(picture(page, "Frame dent/b").astype(int) - example.frame).max(axis=2)
    inside = np.zeros((200, 200), bool)
    inside[44:76, 144:186] = True
    assert found[~inside].max() < 60  # JPEG
    assert (found[inside] > 60).any()
    assert found[54:66, 154:176].max() < 60  # the defect itself stays to be seen
    assert "the outline is the defect, by its mask" in page.all("img")[1]["alt"]
    for unreadable in (tmp_path / "missing.png", tmp_path):
        _, page = page_of(tmp_path, evaluated((GOOD, MISS), examples=(replace(example, mask=unreadable),)), bundle)
        assert np.abs(picture(page, "Frame dent/b").astype(int) - example.frame).max() < 60


def test_the_smallest_defect_is_outlined_too(tmp_path: Path, bundle: Bundle) -> None:
    mask = np.zeros((4000, 3000, 3), np.uint8)
    mask[2005, 1506] = 1  # between what is left of the rows and columns
    np.save(tmp_path / "mask.npy", mask)
    example = replace(shown("missed", MISS, mask=tmp_path / "mask.npy"), frame=np.full((320, 240), 90, np.uint8))
    _, page = page_of(tmp_path, evaluated((GOOD, MISS), examples=(example,)), bundle)
    assert (picture(page, "Frame dent/b")[150:170, 110:130] > 180).any()


def test_the_page_stays_small_whatever_the_images_are(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)

    def noise() -> NDArray[np.uint8]:
        return rng.integers(0, 256, (320, 320, 3), np.uint8)

    kinds = ["missed"] * 14 + ["false_reject"] * 14 + ["found"] * 6 + ["passed"] * 6
    image = {"missed": MISS, "false_reject": BAD, "found": FOUND, "passed": GOOD}
    examples = [
        replace(shown(kind, image[kind]), frame=noise(), overlay=noise(), nearest_patch=noise()) for kind in kinds
    ]
    evaluation = evaluated((GOOD, BAD, FOUND, MISS), examples=examples)
    text, page = page_of(tmp_path, evaluation, bundle)
    assert len(text.encode()) < 10e6
    assert len(page.all("article")) == 40
    monkeypatch.setattr("spade_edge.tools.report.examples.LARGEST", 4 << 20)
    text, page = page_of(tmp_path, evaluation, bundle)
    assert len(text.encode()) < 5e6
    left = 40 - len(page.all("article"))
    assert 12 <= left < 26
    assert f"{left} more images would make this page too large." in words(page)
    assert page.text_in("h3").count("dent/b") == 14  # misses are the last to go


def test_hundreds_of_types_are_there_the_worst_in_sight(tmp_path: Path, bundle: Bundle) -> None:
    images = line_up(20, [f"type_{number:03d}" for number in range(450)], 3, seed=1)
    text, page = page_of(tmp_path, evaluated(images), bundle)
    assert len(text) < 1e6
    assert "<details><summary>388 more types of defects" in text
    assert "50 more types are left out here." in text
    names = [name for name in page.text_in("th") if name.startswith("type ")]
    assert len(names) == len(set(names)) == 400
    wrong = {row.truth: row.wrong.count for row in count(images)}
    missed = [wrong[name.replace(" ", "_")] for name in names]
    assert missed == sorted(missed, reverse=True)
    assert missed[0] == max(wrong.values())


# What names and colours can do


def hostile() -> Evaluation:
    images = (
        judged(HOSTILE, "good", 20.0, reason=HOSTILE),
        judged("x" * 300 + ".png", HOSTILE, 3.0),
        judged("b", HOSTILE, 1e9),
        judged("W" * 255, "W" * 255, 0.0),
    )
    evaluation = evaluated(images, examples=examples_of(images), notes=(HOSTILE, "W" * 500))
    nasty = replace(
        evaluation.header, bundle=HOSTILE, dataset="/" + "d" * 200, promise=HOSTILE, provider=HOSTILE, time=HOSTILE
    )
    examples = tuple(replace(one, nearest=(Match(HOSTILE, 0.5, 0.5, 1.0, item=0),)) for one in evaluation.examples)
    return replace(
        evaluation, header=nasty, timings={HOSTILE: 1.0, "W" * 200: 2.0}, aupro=Metric(None, HOSTILE), examples=examples
    )


def test_hostile_names_are_shown_and_do_nothing(tmp_path: Path, bundle: Bundle) -> None:
    text, page = page_of(tmp_path, hostile(), bundle)
    assert page.loads() == []
    assert "\x00" not in text
    assert "\u202e" not in text
    whole = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\\x00\\u202egnp.\\udc80"
    for tag in ("h3", "dd", "li", "span", "p"):
        assert any(whole in found for found in page.text_in(tag)), tag
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))


def test_the_page_loads_nothing_and_forbids_it_too(tmp_path: Path, bundle: Bundle) -> None:
    text, page = page_of(tmp_path, evaluated(TYPICAL, examples=examples_of(TYPICAL)), bundle)
    assert page.loads() == []
    assert not re.search(r"https?:|url\(|@import|<script", text)
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= set(names)
    assert all(image["alt"] for image in page.all("img"))
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in page.all("svg"))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_style_uses_only_colours_that_it_names(tmp_path: Path, bundle: Bundle) -> None:
    text, _ = page_of(tmp_path, evaluated(TYPICAL), bundle)
    style = text[text.index("<style>") : text.index("</style>")]
    used, named = set(re.findall(r"var\((--\w+)\)", style)), set(re.findall(r"(--\w+):", style))
    assert used == named


def schemes() -> dict[str, dict[str, NDArray[np.float64]]]:
    """The style's colours as linear RGB, by scheme and name."""
    light, dark = re.findall(r":root\{((?:--\w+:#\w+;?\s*)+)\}", EVERY)

    def linear(value: str) -> NDArray[np.float64]:
        value = "".join(2 * letter for letter in value) if len(value) == 3 else value
        share = np.array([int(value[place : place + 2], 16) for place in (0, 2, 4)]) / 255
        return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)

    return {
        name: {colour: linear(value) for colour, value in re.findall(r"--(\w+):#(\w+)", rules)}
        for name, rules in (("light", light), ("dark", dark))
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: str) -> None:
    colours = schemes()[scheme]
    for ink in ("ink", "quiet", "good", "defect", "unknown"):
        for ground in ("page", "card"):
            light, dark = sorted(
                (float(colours[name] @ (0.2126, 0.7152, 0.0722)) for name in (ink, ground)), reverse=True
            )
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)  # WCAG 2, AA


# Machado, Oliveira & Fernandes 2009, severity 1: how linear RGB looks to the colour-blind.
EYES = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eyes", EYES)
def test_good_and_defect_differ_for_all_eyes(scheme: str, eyes: str) -> None:
    seen = [np.clip(np.array(EYES[eyes]) @ schemes()[scheme][name], 0, 1) ** (1 / 2.2) for name in ("good", "defect")]
    assert np.abs(seen[0] - seen[1]).max() > 0.25


# In a browser


def framed(path: Path) -> None:
    """The demo's page, with names that are hard to lay out."""
    entries = []
    for image in (judged("W" * 200, "good", 20.0), judged("scratch/1", "W" * 200, 5.0), MISS, GOOD):
        one = shown("found", image)
        result = FrameResult(
            score=image.score or 0.0,
            threshold=THRESHOLD,
            verdict=image.verdict,
            reason="W" * 200,
            heatmap=np.zeros((8, 8), np.float32),
            extent=(0, 0, 200, 200),
            looked_at=None,
            regions=one.regions,
            nearest=one.nearest,
            milliseconds=TIMES,
            provider="CPU",
        )
        entries.append(ReportEntry(image.name, image.truth, one.frame, result, one.overlay, one.nearest_patch))
    write_report(path, ReportHeader("Flange " + "W" * 100, ("W" * 300,), timings=TIMES), entries)


def typical() -> Evaluation:
    return evaluated((*TYPICAL, DARK), examples=examples_of(TYPICAL), notes=("1 image cannot be judged",))


def crowded() -> Evaluation:
    images = line_up(100, [f"a_type_of_defect_with_a_long_name_{number}" for number in range(300)], 4, seed=1)
    return evaluated(images, examples=examples_of(images))


PAGES: dict[str, Callable[[], Evaluation] | None] = {
    "typical": typical,
    "crowded": crowded,
    "hostile": hostile,
    "no defects": lambda: evaluated(line_up(12, (), 0), pixels=False),
    "one image": lambda: evaluated((GOOD,), pixels=False, examples=(shown("passed", GOOD),)),
    "nothing": lambda: replace(evaluated((), pixels=False), timings={}),
    "frames": None,
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if PROGRAM is None:
        pytest.skip("expected chromium or google-chrome, found neither: apt install chromium")
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("name", PAGES)
def test_a_browser_shows_the_page_on_a_phone_and_a_desk_and_paper(
    tmp_path: Path, bundle: Bundle, browser: Chromium, name: str
) -> None:
    path = tmp_path / "report.html"
    make = PAGES[name]
    if make is None:
        framed(path)
    else:
        write_evaluation(path, make(), bundle=bundle)
    grounds = set()
    for width in (PHONE, DESKTOP):
        for scheme in ("light", "dark"):
            look = browser.look(path, width=width, scheme=scheme)
            assert look.page["width"] == width
            assert look.page["scroll"] <= width
            assert look.page["outside"] == []
            assert look.page["broken"] == 0
            assert look.page["images"] == len(Page(path.read_text(encoding="utf-8")).all("img"))
            assert look.requests == []
            assert look.complaints == []
            grounds.add((scheme, look.page["background"]))
    assert len(grounds) == 2
    paper = browser.look(path, width=718, scheme="dark", media="print")  # A4 without its margins
    assert paper.page["scroll"] <= 718
    assert paper.page["outside"] == []
    assert ("light", paper.page["background"]) in grounds
    assert browser.printed().startswith(b"%PDF")


def test_the_checks_above_find_what_they_look_for(tmp_path: Path, browser: Chromium) -> None:
    path = tmp_path / "bad.html"
    path.write_text(
        '<body><p style="width:1500px">wide</p><img src="data:image/png;base64,AAAA"><img src="http://127.0.0.1:9/x.png">'
        "<script>console.error('no')</script>"
    )
    look = browser.look(path, width=DESKTOP)
    assert look.page["scroll"] > DESKTOP
    assert look.page["outside"] == ["P.: wide"]
    assert look.page["broken"] == 2
    assert look.requests == ["http://127.0.0.1:9/x.png"]
    assert look.complaints
    assert browser.look(path, width=PHONE).page["width"] > PHONE
