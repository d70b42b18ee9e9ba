"""Area and mean of regions against SciPy's measurements; those under the least area are not reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from altered import altered
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import FrameResult, Region, Scorer
from spade_edge.runtime.anomaly_map.regions import Blob, blobs
from spade_edge.runtime.geometry.layout import WHOLE, Canvas, Layout
from spade_edge.runtime.geometry.view import View

Frames = Callable[..., NDArray[np.uint8]]
EIGHT = np.ones((3, 3))


@pytest.mark.parametrize("shape", [(60, 45), (1, 40), (33, 1), (7, 90)])
@pytest.mark.parametrize("seed", range(5))
def test_area_and_mean_are_scipys(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    heatmap = scipy.ndimage.gaussian_filter(rng.normal(5, 3, shape), seed / 2).astype(np.float32)
    threshold = float(np.quantile(heatmap, 0.5))
    labels, count = scipy.ndimage.label(heatmap > threshold, structure=EIGHT)
    found = blobs(heatmap, threshold)
    assert len(found) == count > 0
    for blob in found:
        label = labels[blob.peak]
        assert blob.area == int((labels == label).sum()) and isinstance(blob.area, int)
        assert blob.mean == pytest.approx(scipy.ndimage.mean(heatmap.astype(np.float64), labels, label), rel=1e-9)
        assert blob.score == scipy.ndimage.maximum(heatmap, labels, label)
        assert threshold < blob.mean <= blob.score
        assert 1 <= blob.area <= blob.box[2] * blob.box[3]
    assert sum(blob.area for blob in found) == int((heatmap > threshold).sum())


def test_a_ring_has_the_area_of_a_ring() -> None:
    y, x = np.mgrid[:41, :41]
    away = np.hypot(y - 20, x - 20)
    ring = ((away > 10) & (away < 15)).astype(np.float32)
    ring[20, 20] = 7
    inside, around = blobs(ring, 0.5)
    assert inside == Blob(box=(20, 20, 1, 1), peak=(20, 20), score=7.0, mean=7.0, area=1)
    assert (around.area, around.mean, around.score) == (int(((away > 10) & (away < 15)).sum()), 1.0, 1.0)


def test_a_mean_of_many_pixels_is_exact_enough() -> None:
    heatmap = np.full((1500, 1500), 0.1, np.float32)
    (blob,) = blobs(heatmap, 0.0)
    assert blob.area == 1500**2 and blob.mean == pytest.approx(float(np.float32(0.1)), rel=1e-9)


CANVASES = {
    "whole": (Canvas(WHOLE, View((64, 64), (64, 64))), (480, 640)),
    "whole, grown": (Canvas(WHOLE, View((64, 96), (64, 96))), (20, 31)),
    "cropped": (Canvas(WHOLE, View((80, 100), (64, 64))), (400, 300)),
    "a region": (Canvas(Layout((300, 400), ((50, 20, 128, 100),)), View((64, 64), (64, 64))), (300, 400)),
    "tiles": (Canvas(Layout((100, 180), ((0, 0, 100, 100), (80, 0, 100, 100))), View((64, 64), (64, 64))), (100, 180)),
}


@pytest.mark.parametrize("name", CANVASES)
def test_all_pixels_of_a_map_make_what_it_covers(name: str) -> None:
    canvas, frame = CANVASES[name]
    _, _, width, height = canvas.extent(frame)
    assert canvas.pixel_area(frame) * canvas.size[0] * canvas.size[1] == pytest.approx(width * height)
    # Counted on the frame: pixels of the frame whose middle lies in what the map covers.
    x, y, width, height = canvas.extent(frame)
    rows, columns = np.arange(frame[0]) + 0.5, np.arange(frame[1]) + 0.5
    covered = int(((rows > y) & (rows < y + height)).sum() * ((columns > x) & (columns < x + width)).sum())
    assert canvas.pixel_area(frame) * np.prod(canvas.size) == pytest.approx(covered, rel=0.05)


def expected_regions(scorer: Scorer, result: FrameResult, frame: NDArray[np.uint8]) -> list[tuple[float, float, float]]:
    """(area in the frame's pixels, mean, highest) of the map's parts over the pixel threshold, by SciPy."""
    labels, count = scipy.ndimage.label(result.heatmap > scorer.bundle.manifest.threshold.pixel, structure=EIGHT)
    _, _, width, height = result.extent
    each = width * height / result.heatmap.size
    index = range(1, count + 1)
    return sorted(
        zip(
            (float((labels == label).sum()) * each for label in index),
            (float(value) for value in scipy.ndimage.mean(result.heatmap.astype(np.float64), labels, index)),
            (float(value) for value in scipy.ndimage.maximum(result.heatmap, labels, index)),
            strict=True,
        )
    )


def found_regions(result: FrameResult) -> list[tuple[float, float, float]]:
    return sorted((region.area, region.mean, region.score) for region in result.regions)


def several(heatmap: NDArray[np.float32]) -> float:
    """A threshold with more than one part over it, of different areas."""
    for value in np.quantile(heatmap, np.linspace(0.3, 0.99, 70)).tolist():
        labels, count = scipy.ndimage.label(heatmap > value, structure=EIGHT)
        areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        if count > 1 and np.sort(areas)[0] * 1.01 < np.sort(areas)[1]:
            return float(value)
    raise AssertionError("expected a map with two hills")


@pytest.mark.parametrize("size", [(64, 64), (480, 400), (33, 40)])
def test_small_regions_are_dropped_whatever_the_frames_size(
    edge: Built, part: Frames, tmp_path: Path, size: tuple[int, int]
) -> None:
    frame = np.array(part(21, size=size))
    frame[size[0] // 2 : size[0] // 2 + size[0] // 4, size[1] // 5 : size[1] // 2] = (0, 255, 0)
    frame[: size[0] // 12 + 1, -size[1] // 12 :] = (255, 0, 255)
    low = several(Scorer.open(edge.path)(frame).heatmap)
    every = Scorer.open(altered(edge.path, tmp_path / "every.spade", "threshold", pixel=low))
    result = every(frame)
    expected = expected_regions(every, result, frame)
    assert len(expected) >= 2
    assert found_regions(result) == [pytest.approx(region, rel=1e-4) for region in expected]
    assert len(result.nearest) == len(result.regions)
    assert all(0 < r.area <= size[0] * size[1] and r.mean <= r.score for r in result.regions)
    least = expected[-1][0]  # the largest stays: one of exactly this area is reported
    for number, (area, left) in enumerate(
        ((expected[0][0] * 1.001, len(expected) - 1), (least, 1), (0.0, len(expected)))
    ):
        path = altered(edge.path, tmp_path / f"{number}.spade", "threshold", pixel=low, area=area)
        some = Scorer.open(path)(frame)
        assert len(some.regions) == len(some.nearest) == left
        assert [r for r in result.regions if r.area >= area] == list(some.regions)
        assert (some.score, some.verdict) == (result.score, result.verdict)  # the verdict is the score's
        assert np.array_equal(some.heatmap, result.heatmap)


@pytest.mark.parametrize("name", ["shared", "regions, per-view", "masked"])
def test_areas_of_tiles_and_regions(
    with_views: Callable[[str], Built], texture: Frames, name: str, tmp_path: Path
) -> None:
    path = with_views(name).path
    frame = texture(100, flaw=(34, 16))
    low = 0.5 * with_views(name).manifest.threshold.pixel
    scorer = Scorer.open(altered(path, tmp_path / "every.spade", "threshold", pixel=low))
    result = scorer(frame)
    expected = expected_regions(scorer, result, frame)
    assert found_regions(result) == [pytest.approx(region, rel=1e-4) for region in expected]
    largest = max(region.area for region in result.regions)
    some = Scorer.open(altered(path, tmp_path / "some.spade", "threshold", pixel=low, area=largest * 0.999))(frame)
    assert [region.area for region in some.regions] == [largest]


def test_a_defect_has_a_region_even_where_none_is_over_the_pixel_threshold(
    edge: Built, part: Frames, tmp_path: Path
) -> None:
    scorer = Scorer.open(altered(edge.path, tmp_path / "b.spade", "threshold", pixel=1e9))
    for seed in (21, 22, 23):
        result = scorer(part(seed, flaw=True))
        assert result.verdict == "defect"
        (region,) = result.regions
        assert region.x <= 27 <= region.x + region.width and region.y <= 39 <= region.y + region.height
        assert scorer(part(seed)).regions == ()
        # As of any other region: highest and mean value of the anomaly map inside.
        over = result.heatmap - scorer.bundle.baseline
        labels, _ = scipy.ndimage.label(over > over.max() / 2, structure=EIGHT)
        inside = labels == labels[np.unravel_index(over.argmax(), over.shape)]
        assert region.score == pytest.approx(float(result.heatmap[inside].max()))
        assert region.mean == pytest.approx(float(result.heatmap[inside].mean()), rel=1e-5)


def test_the_least_area_holds_for_a_defect_without_a_pixel_over_its_threshold_too(
    edge: Built, part: Frames, tmp_path: Path
) -> None:
    """Whatever is reported is at least so large: what is below may be shown nowhere."""
    for name, changes in (("a", {"pixel": 1e9, "area": 1e6}), ("b", {"area": 1e6})):
        result = Scorer.open(altered(edge.path, tmp_path / name, "threshold", **changes))(part(21, flaw=True))
        assert result.verdict == "defect" and "over the threshold" in result.reason
        assert result.regions == result.nearest == ()


def test_a_region_says_all_of_it_in_json() -> None:
    assert [field.name for field in fields(Region)] == ["x", "y", "width", "height", "score", "mean", "area"]
    region = Region(1, 2, 3, 4, 5.0, 4.5, 9.25)
    assert replace(region, area=0.5) != region
