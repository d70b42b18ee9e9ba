"""The report: right figures, nothing to load, and no file name that can break the page."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from pages import HOSTILE, Page

from spade_edge.runtime.errors import DataError, UsageError
from spade_edge.runtime.result import FrameResult, Match, Region
from spade_edge.tools.report import (
    MOST_CARDS,
    ClassCount,
    ReportEntry,
    ReportHeader,
    count,
    headline,
    shrink,
    write_report,
)


def entry(
    name: str,
    truth: str | None,
    score: float,
    *,
    verdict: str = "",
    reason: str = "",
    threshold: float = 10.0,
    image: np.ndarray | None = None,
) -> ReportEntry:
    frame = np.full((64, 96, 3), 90, dtype=np.uint8) if image is None else image
    verdict = verdict or ("defect" if score > threshold else "good")
    regions = (Region(x=3, y=4, width=5, height=6, score=score, mean=score, area=20.0),) if verdict == "defect" else ()
    nearest = (Match("good <7>.png", 0.5, 0.5, 3.0, item=0),) if verdict == "defect" else ()
    heatmap = np.zeros((32, 32), dtype=np.float32)
    result = FrameResult(
        score=score,
        threshold=threshold,
        pixel_threshold=2 * threshold,
        p=0.25,
        verdict=verdict,
        reason=reason,
        heatmap=heatmap,
        extent=(0, 0, frame.shape[1], frame.shape[0]),
        looked_at=None,
        regions=regions,
        nearest=nearest,
        milliseconds={"total": 1.0},
        provider="CPU",
    )
    return ReportEntry(name, truth, frame, result, frame, frame[:20, :20] if nearest else None)


ENTRIES = (
    entry("good/0.png", "good", 4.0),
    entry("good/1.png", "good", 5.0),
    entry("good/2.png", "good", 12.0, reason="1 region over the pixel threshold"),
    entry("scratch/0.png", "scratch", 31.0),
    entry("scratch/1.png", "scratch", 9.0),
    entry("missing_screw/0.png", "missing_screw", 55.0),
    entry("missing_screw/1.png", "missing_screw", float("nan"), verdict="cannot_judge", reason="the frame is black"),
)
HEADER = ReportHeader(
    title="Flange & Co",
    model=("EfficientNet-Lite0",),
    bundle=("60 good images",),
    notes=("Drawn, not photographed.",),
    timings={"view": 1.25, "network": 20.0, "total": 22.5},
)


def page_of(tmp_path: Path, entries: tuple[ReportEntry, ...], header: ReportHeader = HEADER) -> tuple[str, Page]:
    path = tmp_path / "report.html"
    write_report(path, header, entries)
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_the_summary_counts_what_was_found_missed_and_rejected(tmp_path: Path) -> None:
    assert count(ENTRIES) == (
        ClassCount("good", frames=3, good=2, defect=1, cannot_judge=0),
        ClassCount("missing_screw", frames=2, good=0, defect=1, cannot_judge=1),
        ClassCount("scratch", frames=2, good=1, defect=1, cannot_judge=0),
    )
    sentence = "2 of 4 defective parts found, 1 of 3 good parts rejected. 1 part could not be judged."
    assert headline(count(ENTRIES)) == sentence
    _, page = page_of(tmp_path, ENTRIES)
    assert [text.replace("\xa0", " ") for text in page.text_in("h1")] == [sentence]
    cells = [text for tag, text in page.texts if tag in ("th", "td")][6:]  # without the heading
    assert cells == [
        *("good", "3", "2", "1", "0", "4 – 12"),
        *("missing screw", "2", "0", "1", "1", "55 – 55"),
        *("scratch", "2", "1", "1", "0", "9 – 31"),
    ]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ((), "No frames were scored."),
        ((entry("a", "dent", 20.0),), "1 of 1 defective part found."),
        ((entry("a", "good", 2.0), entry("b", "good", 3.0)), "0 of 2 good parts rejected."),
        ((entry("a", None, 2.0), entry("b", None, 30.0)), "1 of 2 parts judged defective."),
        (
            (entry("a", "good", 2.0), entry("b", None, 30.0)),
            "0 of 1 good part rejected, 1 of 1 unlabelled part judged defective.",
        ),
    ],
)
def test_the_headline_fits_what_is_known(tmp_path: Path, entries: tuple[ReportEntry, ...], sentence: str) -> None:
    assert headline(count(entries)) == sentence
    _, page = page_of(tmp_path, entries)
    assert [text.replace("\xa0", " ") for text in page.text_in("h1")] == [sentence]


def test_the_page_holds_everything_and_loads_nothing(tmp_path: Path) -> None:
    text, page = page_of(tmp_path, ENTRIES)
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert page.loads() == []
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_every_picture_has_words_and_opens(tmp_path: Path) -> None:
    large = np.zeros((700, 1400, 3), dtype=np.uint8)
    large[:, 700:] = (20, 30, 220)
    grey = np.full((50, 40), 77, dtype=np.uint8)
    _, page = page_of(tmp_path, (entry("wide", "good", 1.0, image=large), entry("grey", "good", 2.0, image=grey)))
    sizes = []
    for picture in page.all("img"):
        assert picture["alt"]
        data = base64.b64decode(picture["src"].partition("base64,")[2], validate=True)
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
        assert image.shape[:2] == (int(picture["height"]), int(picture["width"]))
        if not picture["alt"].startswith("Colour scale"):
            assert max(image.shape) <= 320
        sizes.append(image.shape[:2])
        if picture["alt"] == "Frame wide":
            assert np.abs(image[80, 240].astype(int) - (20, 30, 220)).max() < 12  # BGR kept
    assert sizes.count((160, 320)) == 2
    assert sizes.count((50, 40)) == 2
    drawing = page.all("svg")
    assert len(drawing) == 1
    assert drawing[0]["role"] == "img"
    assert "2 parts" in drawing[0]["aria-label"]


def test_hostile_names_are_shown_and_do_nothing(tmp_path: Path) -> None:
    hostile = entry(HOSTILE, HOSTILE, 30.0, reason=HOSTILE)
    header = ReportHeader(HOSTILE, (HOSTILE,), (HOSTILE,), (HOSTILE,), {HOSTILE: 1.0}, (HOSTILE,))
    text, page = page_of(tmp_path, (hostile, entry("a", "good", 20.0)), header)
    assert not page.all("script")
    assert "\x00" not in text
    assert "\u202e" not in text
    shown = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\\x00\\u202egnp.\\udc80"
    assert page.text_in("h3")[0].startswith(shown)  # parsed back: the name itself
    for tag in ("title", "dd", "code", "th"):
        assert any(shown in found for found in page.text_in(tag)), tag
    assert all(picture["src"].startswith("data:image/") for picture in page.all("img"))
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]


def test_the_worst_comes_first_and_mistakes_are_pointed_at(tmp_path: Path) -> None:
    _, page = page_of(tmp_path, ENTRIES)
    order = ["missing_screw/1.png", "missing_screw/0.png", "scratch/0.png", "good/2.png"]
    order += ["scratch/1.png", "good/1.png", "good/0.png"]
    assert page.text_in("h3") == order
    assert page.text_in("a") == ["missing_screw/1.png", "good/2.png", "scratch/1.png"]
    anchors = [attributes["id"] for attributes in page.all("article")]
    targets = [link["href"].removeprefix("#") for link in page.all("a")]
    assert [order[anchors.index(target)] for target in targets] == page.text_in("a")
    chips = page.text_in("span")
    assert chips.count("false alarm") == 1
    assert chips.count("missed") == 1
    _, clean = page_of(tmp_path, (entry("a", "good", 1.0), entry("b", "dent", 20.0)))
    assert not clean.all("a")


def test_a_card_tells_score_threshold_verdict_reason_and_nearest_good_part(tmp_path: Path) -> None:
    _, page = page_of(tmp_path, (entry("a.png", "dent", 30.0, reason="1 region over the pixel threshold"),))
    words = " ".join(text for _, text in page.texts)
    assert "Score 30 , threshold 10 · 3.00× At most 25.0\u202f% of good parts score as high" in words
    assert "1 region over the pixel threshold." in words
    assert "good <7>.png" in words
    assert "The same place in the good part good <7>.png" in [picture["alt"] for picture in page.all("img")]
    _, page = page_of(tmp_path, (ENTRIES[-1],))
    words = " ".join(text for _, text in page.texts)
    assert "No score, threshold 10" in words
    assert "The frame is black." in words and "score as high" not in words
    _, page = page_of(tmp_path, (entry("dark", "dent", 30.0, verdict="cannot_judge"),))
    assert "score as high" not in " ".join(text for _, text in page.texts)
    assert "nan" not in words.lower()


@pytest.mark.parametrize("factor", [1.0, 50.0])
def test_dots_stand_on_the_right_side_of_the_threshold_line(tmp_path: Path, factor: float) -> None:
    entries = tuple(
        entry(f"{number}", "good" if score < 10 else "dent", score if score < 10 else score * factor)
        for number, score in enumerate((5.0, 6.0, 9.9, 10.1, 14.0, 30.0))
    )
    text, page = page_of(tmp_path, entries)
    limit = next(float(line["x1"].rstrip("%")) for line in page.all("line") if line["class"] == "limit")
    dots = [(dot["class"], float(dot["cx"].rstrip("%"))) for dot in page.all("circle")]
    assert len(dots) == 6
    assert all(place < limit for kind, place in dots if kind == "dot good")
    assert all(place > limit for kind, place in dots if kind == "dot defect")
    assert all(0 <= place <= 100 for _, place in dots)
    places = [place for _, place in dots]
    assert places == sorted(places)
    assert ("logarithmic axis" in text) == (factor > 1)


def test_scores_of_nought_minus_and_infinity_do_not_break_the_page(tmp_path: Path) -> None:
    scores = (0.0, -1.0, 1e-12, 1e12, float("inf"))
    entries = tuple(entry(f"{score}", "dent", score) for score in scores)
    _, page = page_of(tmp_path, entries)
    assert len(page.all("article")) == 5
    places = [float(dot["cx"].rstrip("%")) for dot in page.all("circle")]
    assert all(0 <= place <= 100 for place in places)
    page_of(tmp_path, (entry("a", "good", 0.0, threshold=0.0),))


def test_a_long_report_keeps_the_mistakes(tmp_path: Path) -> None:
    tiny = np.zeros((8, 8, 3), dtype=np.uint8)
    found = [entry(f"d{number}", "dent", 20.0 + number, image=tiny) for number in range(MOST_CARDS + 40)]
    missed = entry("missed", "dent", 1.0, image=tiny)
    text, page = page_of(tmp_path, (*found, missed))
    names = page.text_in("h3")
    assert len(names) == MOST_CARDS
    assert names[0] == f"d{MOST_CARDS + 39}"
    assert names[-1] == "missed"
    assert f"{MOST_CARDS} of {MOST_CARDS + 41} parts" in text
    assert len(page.all("circle")) == MOST_CARDS + 41


def test_the_end_says_how_it_was_done_and_how_to_do_it_again(tmp_path: Path) -> None:
    text, page = page_of(tmp_path, ENTRIES)
    assert "22.5 ms per frame (view 1.2, network 20.0)" in page.text_in("dd")
    assert {"EfficientNet-Lite0", "60 good images", "Drawn, not photographed."} <= set(page.text_in("dd"))
    commands = page.text_in("code")
    assert [command.split()[:2] for command in commands] == [["spade-edge", "build"], ["spade-edge", "score"]]
    assert text.index("EfficientNet-Lite0") < text.index(commands[0])


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "folder" / "report.html"
    write_report(path, HEADER, ENTRIES)
    first = path.read_bytes()
    reading = path.open("rb")  # a browser that has only begun with it
    write_report(path, HEADER, ENTRIES[:2])
    with reading:
        assert reading.read() == first
    write_report(path, HEADER, ENTRIES)
    assert path.read_bytes() == first

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(DataError, match="No space left on device"):
            write_report(path, HEADER, ())
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    with pytest.raises(DataError, match="cannot write"):
        write_report(path / "below-a-file.html", HEADER, ())


def test_only_a_page_of_ours_is_replaced(tmp_path: Path) -> None:
    other = tmp_path / "other.html"
    other.write_text("<!doctype html><title>somebody's</title>")
    (tmp_path / "link.html").symlink_to(other)
    (tmp_path / "hard link.html").hardlink_to(other)
    for path in tmp_path.iterdir():
        with pytest.raises(UsageError, match=path.name):
            write_report(path, HEADER, ENTRIES)
    assert other.read_text() == "<!doctype html><title>somebody's</title>" and len(list(tmp_path.iterdir())) == 3


def test_images_shrink_to_the_longest_side_and_never_grow() -> None:
    assert shrink(np.zeros((1000, 500, 3), dtype=np.uint8)).shape == (320, 160, 3)
    assert shrink(np.zeros((3, 4000), dtype=np.uint8)).shape == (1, 320)
    small = np.zeros((20, 30), dtype=np.uint8)
    assert shrink(small) is small


def test_the_style_uses_only_colours_that_it_names(tmp_path: Path) -> None:
    text, _ = page_of(tmp_path, ENTRIES)
    style = text[text.index("<style>") : text.index("</style>")]
    used, named = set(re.findall(r"var\((--\w+)\)", style)), set(re.findall(r"(--\w+):", style))
    assert used == named
