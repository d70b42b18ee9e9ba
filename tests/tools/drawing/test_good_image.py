"""The thumbnails of a good image's views, put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from spade_edge.galleries import Built
from spade_edge.galleries.images import read_image
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.tools.drawing.good_image import good_image


def test_one_view_is_its_thumbnail(edge: Built) -> None:
    bundle = Bundle.open(edge.path)
    for image in range(len(bundle.manifest.images)):
        assert (good_image(bundle, image, longest=1000) == bundle.thumbnails[image]).all()
    high, wide = bundle.thumbnails.shape[1:3]
    assert good_image(bundle, 0, longest=10).shape == (10 * high // wide, 10, 3)


@pytest.mark.parametrize("name", ["shared", "per-view", "tiles in regions", "regions, per-view"])
def test_views_lie_where_they_lie_on_the_frame(with_views: Callable[[str], Built], textures: Path, name: str) -> None:
    bundle = Bundle.open(with_views(name).path)
    canvas = bundle.manifest.canvas
    left, top, width, height = canvas.field
    seen = np.zeros((height, width), bool)
    for x, y, wide, high in canvas.boxes:
        seen[y - top : y - top + high, x - left : x - left + wide] = True
    for image, file in enumerate(bundle.manifest.names):
        picture = good_image(bundle, image, longest=1000)
        frame = read_image(textures / file)
        frame = np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame
        expected = frame[top : top + height, left : left + width]
        large = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
        inside = cv2.erode(seen.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        smooth = cv2.GaussianBlur(expected, (0, 0), 1.5).astype(float)
        off = np.abs(cv2.GaussianBlur(large, (0, 0), 1.5) - smooth)[inside].mean()
        shifted = np.abs(np.roll(cv2.GaussianBlur(large, (0, 0), 1.5), 4, axis=1) - smooth)[inside].mean()
        assert off < 6
        assert off < shifted / 2  # the texture has a period of 19 pixels
        if not seen.all():
            outside = cv2.erode((~seen).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
            assert (np.ptp(large[outside], axis=0) == 0).all()
