"""The report of an evaluation: the summary, the metrics, and what they do not say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluations import (
    BAD,
    DARK,
    FOUND,
    GOOD,
    LOST,
    MISS,
    TYPICAL,
    evaluated,
    page_of,
    picture,
    words,
)

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.geometry.layout import Layout
from spade_edge.tools.evaluation.metrics import Metric
from spade_edge.tools.evaluation.results import ImageResult
from spade_edge.tools.report import summary


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


def test_thresholds_to_choose_from_are_a_sentence_and_a_table(tmp_path: Path, bundle: Bundle) -> None:
    images = (GOOD, BAD, LOST, FOUND, MISS, DARK)  # scores 4, 14 and none; 30, 9 and none; the thresholds 8, 10, 14
    evaluation = evaluated(images)
    _, page = page_of(tmp_path, evaluation, bundle)
    said = words(page)
    assert (
        "A lower threshold finds more defects and rejects more good parts. At 8 instead of 10, at most 4.96 % of good "
        "parts are expected to be rejected; 2 instead of 2 good images here would be rejected and 0 instead of 1 of "
        "3 defects missed." in said
    )
    assert "False rejects Threshold Good rejected Defects missed Basis" in said
    for row in (
        "4.96 % 8 2 of 3 (66.7 %) 0 of 3 (0 %) certified",
        "0.83 % in force 10 2 of 3 (66.7 %) 1 of 3 (33.3 %) certified",
        "0.1 % 14 1 of 3 (33.3 %) 1 of 3 (33.3 %) extrapolated",
    ):
        assert row in said, said
    assert (
        "one good image, 0.npy. Without it the threshold would be about 9.5: good rejected 2 (now 2), defects missed"
        in said
    )
    assert page.all("img")[0]["alt"] == "The good image 0.npy"
    found = picture(page, "The good image 0.npy").astype(int)  # as JPEG, so that it is only nearest to its thumbnail
    nearest = np.argmin([np.abs(found - thumbnail).mean() for thumbnail in bundle.thumbnails])
    assert bundle.manifest.names[nearest] == "0.npy"
    bundle_path = "/srv/bundles/line-2/flange.spade"
    assert page.text_in("code") == [
        f"spade-edge threshold --bundle {bundle_path} --false-rejects 4.96% --reason TEXT",
        f"spade-edge gallery exclude --bundle {bundle_path} 0.npy --reason TEXT",
    ]


def test_thresholds_without_defects_without_another_and_with_few_parts(tmp_path: Path, bundle: Bundle) -> None:
    evaluation = evaluated((GOOD, BAD))
    evaluation = replace(evaluation, header=replace(evaluation.header, caution="8 different parts say little"))
    _, page = page_of(tmp_path, evaluation, bundle)
    said = words(page)
    assert "Without defective images it is not known how many defects each threshold lets pass." in said
    assert "Defects missed" not in said and "4.96 % 8 1 of 2 (50.0 %) certified" in said
    assert "8 different parts say little." in said
    alone = replace(evaluation, choices=evaluation.choices[1:2], deciding=None)
    _, page = page_of(tmp_path, alone, bundle)
    assert "These good parts offer no other threshold." in words(page) and page.text_in("code") == []


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
    assert "27.9 ms" in said
    assert "35.8 frames per second" in said
    assert [cell for cell in page.text_in("td") if cell.endswith(" ms")] == ["1.2 ms", "19.5 ms", "6.2 ms", "0.8 ms"]
    manifest = bundle.manifest
    created = manifest.created.replace("T", " ").replace("+00:00", " UTC")
    for expected in (
        "/srv/bundles/line-2/flange.spade",
        f"built {created} by {manifest.writer}",
        f"{len(manifest.names)} good images, {manifest.size / 1e6:,.0f} MB, profile edge",
        "SHA-256 of its manifest " + "3f" * 32,
        "three_convolutions, levels 1, 2, 3, 64 x 64 pixels, fp32",
        "score 10, pixels 12",
        "At most 1.00% of good frames rejected, certified by 120 different parts.",
        "Cells are matched at any place, as asked for.",
        "the whole frame, of any size",
        "/srv/datasets/flange-2026-11",
        "40 good images, 60 defective, 60 of them with a mask",
        "2026-11-24 13:00:00 UTC by spade-edge 0.1.0, hnsw search, CPUExecutionProvider",
    ):
        assert expected in page.text_in("dd"), expected
    layout = Layout(frame=(480, 640), boxes=((0, 0, 320, 480), (320, 0, 320, 480)), masked=True)
    boxed = replace(bundle, manifest=replace(manifest, layout=layout))
    _, page = page_of(tmp_path, evaluated(TYPICAL), boxed)
    assert "2 views of frames of 640 x 480 pixels, with a mask" in page.text_in("dd")
    empty = replace(evaluated(TYPICAL), timings={})
    assert "Time" not in page_of(tmp_path, empty, bundle)[1].text_in("h2")
