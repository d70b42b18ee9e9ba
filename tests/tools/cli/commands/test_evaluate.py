"""Evaluating a bundle: figures against independent ones, whatever the dataset lacks, and going on after an end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command_line import run
from numpy.typing import NDArray
from scipy import ndimage
from scipy.integrate import trapezoid
from sklearn import metrics as oracle

from spade_edge.galleries import Built
from spade_edge.runtime import DataError, FrameResult, Scorer, UsageError
from spade_edge.tools.evaluation import checkpoint
from spade_edge.tools.evaluation.checkpoint import IDENTITY, PIXELS, RESULTS
from spade_edge.tools.evaluation.dataset import open_dataset
from spade_edge.tools.evaluation.evaluator import EXAMPLES, choose, evaluate
from spade_edge.tools.evaluation.results import KINDS, Evaluation, ImageResult, count_verdicts

Frames = Callable[..., NDArray[np.uint8]]
Capture = pytest.CaptureFixture[str]

MASK = (slice(30, 48), slice(20, 35))  # around the flaw of `part`; its edges lie on those of the map's pixels


@pytest.fixture(scope="module")
def scorer(edge: Built) -> Scorer:
    return Scorer.open(edge.path)


@pytest.fixture
def dataset(tmp_path: Path, part: Frames) -> Path:
    """Five good parts and five with one of two defects, all with masks, in MVTec AD's layout."""
    root = tmp_path / "parts"
    for folder in ("test/good", "test/spot", "test/weak spot", "ground_truth/spot", "ground_truth/weak spot"):
        (root / folder).mkdir(parents=True)
    for seed in range(5):
        cv2.imwrite(str(root / "test/good" / f"{seed}.png"), part(50 + seed))
    for seed in range(5):
        kind = "spot" if seed < 3 else "weak spot"
        frame, flawed = part(60 + seed), part(60 + seed, flaw=True)
        if kind == "weak spot":
            flawed = (0.9 * frame + 0.1 * flawed).astype(np.uint8)
        mask = np.zeros(frame.shape[:2], np.uint8)
        mask[MASK] = 255
        cv2.imwrite(str(root / "test" / kind / f"{seed}.png"), flawed)
        cv2.imwrite(str(root / "ground_truth" / kind / f"{seed}_mask.png"), mask)
    return root


def independent(scorer: Scorer, root: Path) -> dict[str, Any]:
    """Scores and pixels of a dataset, all of them kept; AUPRO by scipy's labels and sorted values."""
    scores, values, truths, regions = {}, [], [], []
    for path in sorted((root / "test").rglob("*.png")):
        result = scorer(cv2.imread(str(path)))
        scores[path.relative_to(root / "test").as_posix()] = result.score
        mask = np.zeros(cv2.imread(str(path)).shape[:2], bool)
        if path.parent.name != "good":
            mask = cv2.imread(str(root / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"), 0) > 0
        height, width = result.heatmap.shape
        x, y, wide, high = result.extent
        rows = (y + (np.arange(height) + 0.5) * high / height).astype(int)  # the mask's nearest pixel
        columns = (x + (np.arange(width) + 0.5) * wide / width).astype(int)
        mask = mask[rows][:, columns]
        seen = np.ones_like(mask) if result.looked_at is None else result.looked_at
        labels, number = ndimage.label(mask, np.ones((3, 3)))
        regions += [result.heatmap[(labels == label) & seen] for label in range(1, number + 1)]
        values.append(result.heatmap[seen])
        truths.append(mask[seen])
    value, truth = np.concatenate(values), np.concatenate(truths)
    thresholds = np.append(np.inf, np.unique(value)[::-1])
    good = np.sort(value[~truth])
    rate = 1 - np.searchsorted(good, thresholds, side="left") / len(good)
    overlap = np.mean([1 - np.searchsorted(np.sort(r), thresholds, side="left") / len(r) for r in regions], axis=0)
    at = np.append(rate[rate < 0.3], 0.3)
    area = trapezoid(np.append(overlap[rate < 0.3], np.interp(0.3, rate, overlap)), at)
    return {"scores": scores, "pixel_auroc": oracle.roc_auc_score(truth, value), "aupro": area / 0.3}


def test_figures_are_the_independent_ones(scorer: Scorer, dataset: Path) -> None:
    evaluation = evaluate(scorer, open_dataset(dataset))
    want = independent(scorer, dataset)
    assert {image.name: image.score for image in evaluation.images} == want["scores"]
    positive = [not name.startswith("good") for name in want["scores"]]
    scores = list(want["scores"].values())
    assert evaluation.image_auroc.value == pytest.approx(oracle.roc_auc_score(positive, scores), abs=1e-6)
    precision = oracle.average_precision_score(positive, scores)
    assert evaluation.average_precision.value == pytest.approx(precision, abs=1e-6)
    assert evaluation.pixel_auroc.value == pytest.approx(want["pixel_auroc"], abs=1e-4)
    assert evaluation.aupro.value == pytest.approx(want["aupro"], abs=1e-4)
    threshold = scorer.bundle.manifest.threshold.score
    judged = [(image.truth, image.verdict == "good") for image in evaluation.images]
    assert judged == [(image.truth, bool((image.score or 0) <= threshold)) for image in evaluation.images]
    assert evaluation.false_rejects.count == judged.count(("good", False)) and evaluation.false_rejects.of == 5
    assert evaluation.missed.count == sum(passed for truth, passed in judged if truth != "good")
    assert [(row.truth, row.images) for row in evaluation.types] == [("good", 5), ("spot", 3), ("weak spot", 2)]
    assert evaluation.timings["total"] > 0 and evaluation.notes == () and evaluation.examples == ()
    assert evaluation.header.masks == 5


@pytest.mark.parametrize("name", ["masked", "regions, per-view"])
def test_a_bundle_of_tiles_that_looks_at_a_part(
    with_views: Callable[[str], Built], texture: Frames, tmp_path: Path, name: str
) -> None:
    scorer = Scorer.open(with_views(name).path)
    for folder in ("test/good", "test/green", "ground_truth/green"):
        (tmp_path / folder).mkdir(parents=True)
    # Frames of 56 x 72; the places are seen, seen, hidden by the mask's disc, and in a corner that no region covers.
    for i, at in enumerate([(30, 12), (40, 40), (41, 26), (60, 2)]):
        mask = np.zeros((56, 72), np.uint8)
        mask[at[1] : at[1] + 8, at[0] : at[0] + 8] = 255
        cv2.imwrite(str(tmp_path / "test/green" / f"{i}.png"), texture(20 + i, flaw=at))
        cv2.imwrite(str(tmp_path / "ground_truth/green" / f"{i}_mask.png"), mask)
        cv2.imwrite(str(tmp_path / "test/good" / f"{i}.png"), texture(30 + i))
    evaluation = evaluate(scorer, open_dataset(tmp_path))
    seen = scorer.stitching.kept
    assert seen is not None
    hidden = 0
    for i in range(4):
        result = scorer(cv2.imread(str(tmp_path / "test/green" / f"{i}.png")))
        mask = cv2.imread(str(tmp_path / "ground_truth/green" / f"{i}_mask.png"), 0) > 0
        x, y, wide, high = (int(side) for side in result.extent)
        if result.heatmap.shape == (high, wide):  # as fine as the frame
            hidden += not (mask[y : y + high, x : x + wide] & seen).any()
    assert hidden == 1 and evaluation.notes == (
        "1 of 4 defective regions lie outside of the views or under the bundle's mask; "
        "they are left out of the pixel metrics",
    )
    # A region that is not seen has no values for the independent figures either.
    gone = "2" if name == "masked" else "3"
    (tmp_path / "ground_truth/green" / f"{gone}_mask.png").unlink()
    (tmp_path / "test/green" / f"{gone}.png").rename(tmp_path / "test/good" / "unseen.png")
    want = independent(scorer, tmp_path)
    assert evaluation.pixel_auroc.value == pytest.approx(want["pixel_auroc"], abs=1e-4)
    assert evaluation.aupro.value == pytest.approx(want["aupro"], abs=1e-4)


def test_what_cannot_be_judged_is_a_reject_and_no_miss(scorer: Scorer, dataset: Path) -> None:
    before = evaluate(scorer, open_dataset(dataset))
    for name in ("good/text.png", "weak spot/text.png"):
        (dataset / "test" / name).write_text("no image")
    mask = dataset / "ground_truth/weak spot"
    shutil.copy(mask / "3_mask.png", mask / "text_mask.png")
    evaluation = evaluate(scorer, open_dataset(dataset), examples=True)
    good, _, weak = evaluation.types
    assert (good.images, good.cannot_judge) == (6, 1) and (weak.images, weak.cannot_judge) == (3, 1)
    assert evaluation.false_rejects.count == before.false_rejects.count + 1 and evaluation.false_rejects.of == 6
    assert evaluation.missed.count == before.missed.count and evaluation.missed.of == 6
    assert (evaluation.image_auroc, evaluation.aupro) == (before.image_auroc, before.aupro)
    assert "2 of 12 images cannot be judged" in evaluation.notes[0] and "good/text.png" in evaluation.notes[0]
    (image,) = (image for image in evaluation.images if image.name == "good/text.png")
    assert image.score is None and image.wrong and "expected an image" in image.reason and image.milliseconds == {}
    (example,) = (example for example in evaluation.examples if example.image.name == "good/text.png")
    assert example.kind == "false_reject" and example.frame is None and example.overlay is None


def test_a_verdict_of_the_scorer_that_it_cannot_judge(
    scorer: Scorer, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a frame that is too dark: it has a score and a map, which say nothing."""
    score = Scorer.__call__

    def doubt(self: Scorer, frame: NDArray[np.uint8]) -> FrameResult:
        result = score(self, frame)
        return replace(result, verdict="cannot_judge", reason="too dark")

    monkeypatch.setattr(Scorer, "__call__", doubt)
    evaluation = evaluate(scorer, open_dataset(dataset))
    assert evaluation.false_rejects.fraction == 1.0 and evaluation.missed.fraction == 0.0
    for metric in (evaluation.image_auroc, evaluation.f1_max, evaluation.pixel_auroc, evaluation.aupro):
        assert metric.value is None and metric.reason == "no image was scored"
    assert evaluation.roc == evaluation.pro == () and evaluation.timings["total"] > 0
    json.dumps(evaluation.to_json(), allow_nan=False)


def test_without_defects_there_are_false_rejects_only(capsys: Capture, edge: Built, dataset: Path) -> None:
    for name in ("spot", "weak spot"):
        shutil.rmtree(dataset / "test" / name)
    shutil.rmtree(dataset / "ground_truth")
    code, out, err = run(capsys, "evaluate", "--bundle", edge.path, "--dataset", dataset)
    assert code == 0 and "no pixel metrics: the dataset has no defective images; going on with false rejects" in err
    assert re.search(r"^image AUROC +- +no defective image was scored$", out, re.MULTILINE)
    assert re.search(r"^AUPRO +- +the dataset has no defective images$", out, re.MULTILINE)
    assert re.search(r"^good, false rejects +5 +\d +\d+\.\d% +\d+\.\d% to \d+\.\d%$", out, re.MULTILINE)
    assert "missed" not in out and "it is not known how many defects each threshold lets pass" in out
    assert re.search(r"^ +11.12% +\S+ +\d of 5, \d+\.\d% +certified, in force$", out, re.MULTILINE)
    code, out, _ = run(capsys, "evaluate", "--bundle", edge.path, "--dataset", dataset, "--json")
    value = json.loads(out)
    assert value["missed"] == {"count": 0, "of": 0, "share": None, "low": None, "high": None}
    assert value["image_auroc"] == {"value": None, "reason": "no defective image was scored"}
    assert value["f1_threshold"] is None and value["roc"] == value["pro"] == []
    assert [choice["missed"] for choice in value["choices"]] == [value["missed"]]


def test_a_single_image(scorer: Scorer, tmp_path: Path, part: Frames) -> None:
    (tmp_path / "good").mkdir()
    np.save(tmp_path / "good" / "1.npy", part(50))
    evaluation = evaluate(scorer, open_dataset(tmp_path))
    assert len(evaluation.images) == 1 and evaluation.false_rejects.of == 1
    assert evaluation.false_rejects.low is not None and evaluation.false_rejects.high is not None


def test_missing_masks_leave_the_image_metrics(capsys: Capture, edge: Built, dataset: Path) -> None:
    (dataset / "ground_truth/spot/1_mask.png").unlink()
    code, out, err = run(capsys, "evaluate", "--bundle", edge.path, "--dataset", dataset)
    says = "1 of 5 defective images have no mask: spot/1.png"
    assert code == 0 and f"no pixel metrics: {says}; going on with image metrics and counts" in err
    assert re.search(r"^image AUROC +[01]\.\d{4}$", out, re.MULTILINE)
    assert re.search(rf"^pixel AUROC +- +{says}$", out, re.MULTILINE)


def test_the_command(capsys: Capture, edge: Built, dataset: Path, scorer: Scorer, tmp_path: Path) -> None:
    shutil.copy(dataset / "ground_truth/spot/0_mask.png", dataset / "ground_truth/spot/lost_mask.png")
    line = ["evaluate", "--bundle", edge.path, "--dataset", dataset, "--threads", 1]
    code, out, err = run(capsys, *line)
    assert code == 0 and "masks read: 5 of 5\n" in err and "images scored: 10 of 10\n" in err
    assert f"{dataset}: images 10, good 5, defective 5, types of defects 2, masks 5\n" in out
    assert "layout: good images in test/good, defects in test/spot, test/weak spot, masks in ground_truth\n" in out
    for label in ("image AUROC", "average precision", "F1-max", "pixel AUROC", "AUPRO"):
        assert re.search(rf"^{label} +[01]\.\d{{4}}", out, re.MULTILINE), out
    for row in ("good, false rejects", "spot, missed", "weak spot, missed", "all defects, missed"):
        assert re.search(rf"^{row} +\d+ +\d+ +\d+\.\d% +\d+\.\d% to \d+\.\d%$", out, re.MULTILINE), out
    assert "note: masks without an image: lost_mask.png" in out
    assert re.search(r"^ +11.12% +\S+ +\d of 5, \d+\.\d% +\d of 5, \d+\.\d% +certified, in force$", out, re.MULTILINE)
    threshold = scorer.bundle.manifest.threshold
    (highest,) = (image for image in scorer.bundle.manifest.images if image.score == threshold.score)
    assert f"this threshold is the score of {highest.name}; without that image it would be about " in out
    assert f"gallery exclude --bundle {edge.path} {highest.name} --reason TEXT" in out
    assert f"\ncaution: {threshold.caution()}\n" in out and threshold.caution().startswith(
        "8 different parts say little"
    )
    code, out, _ = run(capsys, *line, "--json", "--search", "exact")
    value = json.loads(out)
    assert code == 0 and out.count("\n") == 1 and value["header"]["search"] == "exact"
    assert set(value) == set(Evaluation.__dataclass_fields__)
    first = value["images"][0]
    assert set(first) == {"name", "truth", "score", "verdict", "reason", "milliseconds", "wrong"}
    assert (first["name"], first["truth"]) == ("good/0.png", "good")
    (choice,) = value["choices"]
    assert set(choice) == {"threshold", "rate", "interval", "basis", "false_rejects", "missed", "in_force"}
    assert (choice["threshold"], choice["rate"], choice["in_force"]) == (threshold.score, 1 / 9, True)
    assert (choice["false_rejects"], choice["missed"]) == (value["false_rejects"], value["missed"])
    assert value["deciding"]["name"] == highest.name and value["deciding"]["threshold"] < threshold.score
    assert value["header"]["caution"] == threshold.caution()
    assert value["roc"][0] == [0, 0] and value["roc"][-1] == [1, 1] and value["pro"][-1][0] == pytest.approx(0.3)
    code, out, err = run(capsys, *line, "--report", tmp_path / "page")
    assert code == 0 and "open it in a browser" in err
    page = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    assert "spot/0.png" in page and "8 different parts say little about the rate" in page


def test_a_manual_threshold_is_shown_beside_what_the_good_parts_certify(
    capsys: Capture, edge: Built, dataset: Path, tmp_path: Path
) -> None:
    """The verdicts at the other threshold are those that the bundle gives with it."""
    bundle = tmp_path / "part of mine.spade"
    shutil.copytree(edge.path, bundle)
    line = ["evaluate", "--bundle", bundle, "--dataset", dataset]
    _, out, _ = run(capsys, *line, "--json")
    certified = json.loads(out)
    score = certified["header"]["threshold"]
    assert run(capsys, "threshold", "--bundle", bundle, "--score", 100 * score, "--reason", "test")[0] == 0
    _, out, _ = run(capsys, *line)
    assert re.search(r"^ +11.12% .* certified$", out, re.MULTILINE), out
    assert re.search(r"^ +11.12% .* manual, in force$", out, re.MULTILINE), out
    assert f"set another: spade-edge threshold --bundle '{bundle}' --false-rejects 11.12% --reason TEXT\n" in out
    assert "this threshold is the score of" not in out
    _, out, _ = run(capsys, *line, "--json")
    value = json.loads(out)
    assert value["deciding"] is None and [choice["in_force"] for choice in value["choices"]] == [False, True]
    for other, here in (("false_rejects", "false_rejects"), ("missed", "missed")):
        assert value["choices"][0][other] == certified[here] and value["choices"][1][other] == value[here]
    assert value["missed"]["count"] > certified["missed"]["count"]


def test_examples_are_few_and_the_worst(scorer: Scorer, dataset: Path) -> None:
    evaluation = evaluate(scorer, open_dataset(dataset), examples=True)
    assert [example.kind for example in evaluation.examples] == sorted(
        (example.kind for example in evaluation.examples), key=KINDS.index
    )
    assert len(evaluation.examples) == 10  # all of them: there are not more
    for example in evaluation.examples:
        assert example.frame is not None and example.overlay is not None
        assert example.frame.shape == example.overlay.shape and max(example.frame.shape) <= 320
        assert (example.nearest_patch is None) == (example.regions == ()) and example.path.is_file()
        assert (example.masks == ()) == (example.image.truth == "good")

    def image(name: str, truth: str, score: float | None, verdict: str) -> ImageResult:
        return ImageResult(name, truth, score, verdict, "", {})

    images = [image(f"g{i}", "good", float(i), "good" if i < 10 else "defect") for i in range(40)]
    images += [image(f"d{i}", "dent", float(i), "good" if i < 20 else "defect") for i in range(40)]
    images += [image("dark", "good", None, "cannot_judge"), image("dark dent", "dent", None, "cannot_judge")]
    chosen = {kind: [image.name for image in choose(images, kind)] for kind in KINDS}
    assert chosen == {
        "missed": [f"d{i}" for i in range(14)],
        "false_reject": ["dark", *(f"g{i}" for i in range(39, 26, -1))],
        "found": [f"d{i}" for i in range(20, 26)],
        "passed": [f"g{i}" for i in range(9, 3, -1)],
    }
    assert set(EXAMPLES) == set(KINDS) and sum(EXAMPLES.values()) == 40
    assert [(row.truth, row.good, row.defect, row.cannot_judge, row.wrong.count) for row in count_verdicts(images)] == [
        ("good", 10, 30, 1, 31),
        ("dent", 20, 20, 1, 20),
    ]


# Going on


class Counted:
    """Counts what is scored, and fails at the `fail`th frame."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fail: int | None = None) -> None:
        self.frames, self.fail = 0, fail
        score = Scorer.__call__

        def counted(scorer: Scorer, frame: NDArray[np.uint8]) -> FrameResult:
            if self.frames == self.fail:
                raise RuntimeError("power cut")
            self.frames += 1
            return score(scorer, frame)

        monkeypatch.setattr(Scorer, "__call__", counted)


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """What must not depend on when it was scored."""
    value = json.loads(json.dumps(evaluation.to_json()))
    del value["timings"], value["header"]["time"]
    for image in value["images"]:
        del image["milliseconds"]
    return dict(value)


@pytest.mark.parametrize("at", [0, 1, 6, 9])
def test_going_on_after_a_failure_gives_the_same(
    scorer: Scorer, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    want = figures(evaluate(scorer, open_dataset(dataset)))
    kept = tmp_path / "kept"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        Counted(patch, fail=at)
        evaluate(scorer, open_dataset(dataset), resume=kept)
    assert len((kept / RESULTS).read_bytes().splitlines()) == at
    told: list[tuple[str, int, int]] = []
    with monkeypatch.context() as patch:
        counted = Counted(patch)
        evaluation = evaluate(scorer, open_dataset(dataset), resume=kept, progress=lambda *said: told.append(said))
    assert counted.frames == 10 - at and figures(evaluation) == want
    assert told == [("images scored", number, 10) for number in range(at + 1, 11)]  # masks are not read twice
    with monkeypatch.context() as patch:
        counted = Counted(patch)
        assert figures(evaluate(scorer, open_dataset(dataset), resume=kept)) == want
    assert counted.frames == 0


def test_a_failure_between_the_pixels_and_the_result_counts_nothing_twice(
    scorer: Scorer, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = figures(evaluate(scorer, open_dataset(dataset)))
    add = checkpoint.Checkpoint.add

    def failing(self: checkpoint.Checkpoint, result: ImageResult) -> None:
        if len(self.results) == 6:
            raise MemoryError
        add(self, result)

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(checkpoint.Checkpoint, "add", failing)
        evaluate(scorer, open_dataset(dataset), resume=tmp_path / "kept")
    assert figures(evaluate(scorer, open_dataset(dataset), resume=tmp_path / "kept")) == want


def test_going_on_after_the_process_was_killed(
    scorer: Scorer, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder as it lay there in the middle: lines that the pixels do not reach to, the last one cut off."""
    want = figures(evaluate(scorer, open_dataset(dataset)))
    now = iter(np.arange(0, 1000, 3.0))  # three seconds a look at the clock: pixels are kept every fourth image
    monkeypatch.setattr(checkpoint, "monotonic", lambda: float(next(now)))
    copies = []

    def copy(what: str, done: int, of: int) -> None:
        if what == "images scored":
            shutil.copytree(tmp_path / "kept", tmp_path / f"killed {done}")
            copies.append(tmp_path / f"killed {done}")

    evaluate(scorer, open_dataset(dataset), resume=tmp_path / "kept", progress=copy)
    reached = []
    for folder in copies:
        with (folder / RESULTS).open("ab") as file:
            file.write(b'{"name": "good/')
        with np.load(folder / PIXELS) as arrays:
            reached.append(int(arrays["results"]))
        assert figures(evaluate(scorer, open_dataset(dataset), resume=folder)) == want
    assert len(set(reached)) > 2 and reached != list(range(1, 11))


def test_what_does_not_fit_is_refused(
    scorer: Scorer, paper: Built, dataset: Path, tmp_path: Path, part: Frames
) -> None:
    kept = tmp_path / "kept"
    evaluate(scorer, open_dataset(dataset), resume=kept)
    remedy = "choose another folder for --resume, or delete this one to start again"

    def refused(says: str, kind: type[Exception] = UsageError, by: Scorer = scorer, folder: Path = kept) -> None:
        with pytest.raises(kind, match=re.escape(says)) as problem:
            evaluate(by, open_dataset(dataset), resume=folder)
        assert str(problem.value).startswith(str(folder)) and "\n" not in str(problem.value)

    refused("expected results of the same bundle, ", by=Scorer.open(paper.path))
    refused("expected results of the same search, exact, found those of hnsw", by=_exact(scorer))
    image = dataset / "test" / "spot" / "1.png"
    stat = image.stat()
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    refused("expected the dataset of the former run, found that spot/1.png or its mask was changed; " + remedy)
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    mask = dataset / "ground_truth" / "weak spot" / "3_mask.png"
    raw = mask.read_bytes()
    mask.write_bytes(raw + b"\0")
    refused("weak spot/3.png or its mask was changed")
    mask.write_bytes(raw)
    os.utime(mask, ns=(1, 1))
    refused("weak spot/3.png or its mask was changed")
    shutil.rmtree(kept)
    evaluate(scorer, open_dataset(dataset), resume=kept)
    cv2.imwrite(str(dataset / "test/good/new.png"), part(99))
    refused("found that good/new.png is new")
    (dataset / "test/good/new.png").unlink()
    image = dataset / "test/good/0.png"
    image.rename(tmp_path / "0.png")
    refused("found that good/0.png is gone")
    (tmp_path / "0.png").rename(image)
    evaluate(scorer, open_dataset(dataset), resume=kept)

    for name, content in ((PIXELS, b"no archive"), (IDENTITY, b"{"), (IDENTITY, b"{}"), (RESULTS, b"{}\n" * 10)):
        folder = tmp_path / f"damaged {name} {len(content)}"
        shutil.copytree(kept, folder)
        (folder / name).write_bytes(content)
        refused("expected the results of an earlier run, found damaged files", DataError, folder=folder)
    shutil.copytree(kept, tmp_path / "short")
    (tmp_path / "short" / RESULTS).write_bytes(b"")
    refused("0 results of 10", DataError, folder=tmp_path / "short")
    (tmp_path / "file").touch()
    refused("found a file", folder=tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").touch()
    refused("expected an empty or an earlier run's folder, found other files", folder=tmp_path / "other")


def _exact(scorer: Scorer) -> Scorer:
    return Scorer.open(scorer.bundle.path, search="exact")


def test_a_bad_mask_is_found_before_anything_is_kept(scorer: Scorer, dataset: Path, tmp_path: Path) -> None:
    mask = dataset / "ground_truth" / "spot" / "0_mask.png"
    raw = mask.read_bytes()
    cv2.imwrite(str(mask), np.zeros((96, 80), np.uint8))
    with pytest.raises(DataError, match="found none: all pixels are 0"):
        evaluate(scorer, open_dataset(dataset), resume=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    mask.write_bytes(raw)  # now it fits, and is not taken for a change
    evaluate(scorer, open_dataset(dataset), resume=tmp_path / "kept")


def test_one_mask_that_looks_inverted_is_named_also_in_a_resumed_run(
    scorer: Scorer, dataset: Path, tmp_path: Path
) -> None:
    mask = dataset / "ground_truth" / "spot" / "1_mask.png"
    cv2.imwrite(str(mask), 255 - cv2.imread(str(mask)))
    says = "masks that mark most of their image, with all four corners; "
    for _ in range(2):
        evaluation = evaluate(scorer, open_dataset(dataset), resume=tmp_path / "kept")
        (note,) = evaluation.notes
        assert note.startswith(says) and note.endswith(": spot/1.png")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_ends_after_the_image_in_work(
    capsys: Capture, edge: Built, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    line = ["evaluate", "--bundle", edge.path, "--dataset", dataset, "--resume", tmp_path / "kept", "--json"]
    score = Scorer.__call__
    with monkeypatch.context() as patch:

        def interrupted(scorer: Scorer, frame: NDArray[np.uint8]) -> FrameResult:
            result = score(scorer, frame)
            if frame.shape and len((tmp_path / "kept" / RESULTS).read_bytes().splitlines()) == 3:
                signal.raise_signal(number)
            return result

        patch.setattr(Scorer, "__call__", interrupted)
        ended, out, err = run(capsys, *line)
    assert ended == code and out == "" and "run the same command again to resume" in err and "Traceback" not in err
    assert len((tmp_path / "kept" / RESULTS).read_bytes().splitlines()) == 4
    counted = Counted(monkeypatch)
    ended, out, _ = run(capsys, *line)
    assert ended == 0 and counted.frames == 6 and len(json.loads(out)["images"]) == 10


def test_mistakes_get_one_line_and_their_exit_code(capsys: Capture, edge: Built, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "file").touch()
    line = ["evaluate", "--bundle", edge.path, "--dataset"]
    for code, arguments, says in (
        (2, ["evaluate", "--dataset", dataset], "--bundle"),
        (2, ["evaluate", "--bundle", edge.path], "--dataset"),
        (2, [*line, ""], "expected a path"),
        (2, [*line, dataset, "--threads", 0], "--threads"),
        (2, [*line, dataset, "--search", "hnsw"], "--search"),
        (2, [*line, dataset, "--report", tmp_path / "file"], "expected a folder for --report, found a file"),
        (2, [*line, dataset, "--resume", tmp_path / "file"], "expected a folder for --resume, found a file"),
        (2, [*line, dataset, "--report", dataset / "test" / "x"], "outside the dataset"),
        (2, [*line, dataset, "--resume", dataset], "outside the dataset"),
        (3, [*line, tmp_path / "absent"], "found nothing"),
        (3, [*line, tmp_path / "nothing"], "expected test/good or good in it"),
        (3, ["evaluate", "--bundle", tmp_path / "nothing", "--dataset", dataset], "expected a bundle"),
        (4, [*line, dataset, "--provider", "cuda"], "CUDAExecutionProvider"),
    ):
        ended, out, err = run(capsys, *arguments)
        assert ended == code and out == "" and "Traceback" not in err, (arguments, ended, err)
        assert err.count("\n") == 1 and says in err, (arguments, err)


@pytest.mark.parametrize("option", ["--report", "--resume"])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_scored(
    option: str, capsys: Capture, edge: Built, dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "page"
    code, out, err = run(capsys, "evaluate", f"--bundle={edge.path}", f"--dataset={dataset}", option, folder)
    assert (code, out) == (3, "") and "scored" not in err
    assert f"{folder}: expected a folder that can be written" in err
