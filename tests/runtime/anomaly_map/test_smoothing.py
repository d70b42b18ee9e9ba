"""Enlarging and smoothing against torch and SciPy, regions against SciPy's labelling."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from spade_edge.runtime.anomaly_map.regions import blobs
from spade_edge.runtime.anomaly_map.stitching import Stitching, gaussian_weights
from spade_edge.runtime.geometry.layout import WHOLE, Canvas
from spade_edge.runtime.geometry.view import View

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("sigma", [0, 1.5, 4])
def test_the_map_is_torchs_bilinear_then_scipys_gaussian(sigma: float) -> None:
    distances = np.random.default_rng(0).gamma(2, 10, (32, 64)).astype(np.float32)
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(distances)[None, None], size=(128, 256), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    expected = scipy.ndimage.gaussian_filter(enlarged.astype(np.float64), sigma) if sigma else enlarged
    canvas = Canvas(WHOLE, View((128, 256), (128, 256)))
    heatmap = Stitching(canvas, (32, 64), sigma=sigma)([distances])
    assert heatmap.dtype == np.float32
    np.testing.assert_allclose(heatmap, expected, rtol=1e-5)


def test_a_kernel_longer_than_the_axis_still_mirrors_as_scipy_does() -> None:
    signal = np.random.default_rng(1).normal(size=7)
    spread, weights = gaussian_weights(7, 5)
    assert spread == slice(0, 7)
    np.testing.assert_allclose(weights @ signal, scipy.ndimage.gaussian_filter1d(signal, 5), rtol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_regions_are_scipys_8_connected_parts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heatmap = scipy.ndimage.gaussian_filter(rng.normal(size=(60, 45)), seed / 2).astype(np.float32)
    threshold = float(np.quantile(heatmap, 0.6))
    labels, count = scipy.ndimage.label(heatmap > threshold, structure=np.ones((3, 3)))
    expected = []
    for label, (rows, columns) in enumerate(scipy.ndimage.find_objects(labels), start=1):
        peak = float(heatmap[labels == label].max())
        box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        expected.append((-peak, box))
    found = blobs(heatmap, threshold)
    assert len(found) == count > 3
    assert [(-blob.score, blob.box) for blob in found] == sorted(expected)
    assert all(heatmap[blob.peak] == np.float32(blob.score) for blob in found)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (4, 4)])
def test_regions_at_the_edges(shape: tuple[int, int]) -> None:
    full = np.ones(shape, np.float32)
    (blob,) = blobs(full, 0.5)
    assert blob.box == (0, 0, shape[1], shape[0])
    assert blobs(full, 1.0) == ()  # a value at the threshold is still good
