"""The table of verdicts: counts, rates and their intervals."""

from __future__ import annotations

from pathlib import Path

from evaluations import (
    DARK,
    FOUND,
    GOOD,
    MISS,
    TYPICAL,
    evaluated,
    line_up,
    page_of,
)
from scipy.stats import beta

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.tools.evaluation.results import count_verdicts


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


def test_hundreds_of_types_are_there_the_worst_in_sight(tmp_path: Path, bundle: Bundle) -> None:
    images = line_up(20, [f"type_{number:03d}" for number in range(450)], 3, seed=1)
    text, page = page_of(tmp_path, evaluated(images), bundle)
    assert len(text) < 1e6
    assert "<details><summary>388 more types" in text
    assert "50 more types" in text
    names = [name for name in page.text_in("th") if name.startswith("type ")]
    assert len(names) == len(set(names)) == 400
    wrong = {row.truth: row.wrong.count for row in count_verdicts(images)}
    missed = [wrong[name.replace(" ", "_")] for name in names]
    assert missed == sorted(missed, reverse=True)
    assert missed[0] == max(wrong.values())
