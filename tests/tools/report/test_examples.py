"""The images to review: mistakes first, outlined defects, and a bounded page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluations import (
    BAD,
    FOUND,
    GOOD,
    MISS,
    THRESHOLD,
    evaluated,
    examples_of,
    judged,
    page_of,
    picture,
    shown,
    words,
)
from numpy.typing import NDArray

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.tools.report.examples import cards_of, gallery


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
    rejected = judged("good/x.png", "good", 31.4, reason="one region is bright")
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
        "One region is bright.",
        "good/000.png",
        "No score, threshold 10",
        "The frame is black.",
        "No anomaly map.",
        "The image cannot be read.",
    ):
        assert expected in said, expected
    gauge = [line for line in page.all("line") if line["class"] == "worth over"]
    assert [float(line["x2"].rstrip("%")) for line in gauge] == [
        pytest.approx(50 + 50 * np.log(3.14) / np.log(4), abs=0.1)
    ]
    alternatives = [image["alt"] for image in page.all("img")]
    assert any("good/x.png: 1 region" in alternative for alternative in alternatives)
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
    assert any(image["alt"].startswith("Frame dent/b; the outline") for image in page.all("img"))
    for unreadable in (tmp_path / "missing.png", tmp_path):
        _, page = page_of(tmp_path, evaluated((GOOD, MISS), examples=(replace(example, masks=(unreadable,)),)), bundle)
        assert np.abs(picture(page, "Frame dent/b").astype(int) - example.frame).max() < 60


def test_several_masks_are_outlined_as_one(tmp_path: Path, bundle: Bundle) -> None:
    masks = []
    for name, left in (("a", 20), ("b", 150)):
        mask = np.zeros((200, 200), np.uint8)
        mask[50:70, left : left + 30] = 1
        np.save(tmp_path / f"{name}.npy", mask)
        masks.append(tmp_path / f"{name}.npy")
    example = replace(shown("missed", MISS), frame=np.full((200, 200, 3), 90, np.uint8), masks=tuple(masks))
    _, page = page_of(tmp_path, evaluated((GOOD, MISS), examples=(example,)), bundle)
    found = np.abs(picture(page, "Frame dent/b").astype(int) - 90).max(axis=2) > 60
    assert found[:, :60].any() and found[:, 140:].any() and not found[:, 65:135].any()


def test_the_smallest_defect_is_outlined_too(tmp_path: Path, bundle: Bundle) -> None:
    mask = np.zeros((4000, 3000, 3), np.uint8)
    mask[2005, 1506] = 1  # between what is left of the rows and columns
    np.save(tmp_path / "mask.npy", mask)
    example = replace(shown("missed", MISS, mask=tmp_path / "mask.npy"), frame=np.full((320, 240), 90, np.uint8))
    _, page = page_of(tmp_path, evaluated((GOOD, MISS), examples=(example,)), bundle)
    assert (picture(page, "Frame dent/b")[150:170, 110:130] > 180).any()


def test_the_page_stays_small_whatever_the_images_are(tmp_path: Path, bundle: Bundle) -> None:
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
    cards, left_out = cards_of(examples, threshold=THRESHOLD, largest=4 << 20)
    assert sum(len(card) for _, card in cards) <= 4 << 20
    assert left_out == 40 - len(cards) and 12 <= left_out < 26
    assert f"{left_out} more images" in gallery(cards, totals={}, left_out=left_out)
    assert sum(example.kind == "missed" for example, _ in cards) == 14  # misses are the last to go
