"""The good part beside a region is cut from where the match lies, whatever the views."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.result import Match
from spade_edge.tools.drawing.explanation import explanation
from spade_edge.tools.drawing.nearest import nearest_patch


@pytest.mark.parametrize("name", ["shared", "per-view", "regions, per-view", "tiles in regions", "masked"])
def test_a_patch_is_cut_from_the_view_of_the_good_image_that_was_matched(
    with_views: Callable[[str], Built], name: str
) -> None:
    bundle = Bundle.open(with_views(name).path)
    count, boxes = len(bundle.manifest.names), bundle.manifest.layout.boxes
    rng = np.random.default_rng(0)
    for view, (x, y, wide, high) in enumerate(boxes):
        for image in (0, count - 1):
            across, down = rng.uniform(0, 1, 2).tolist()
            match = Match(
                bundle.manifest.names[image],
                (x + across * wide) / 72,
                (y + down * high) / 56,
                1.0,
                view=view,
                item=view * count + image,
            )
            patch = nearest_patch(bundle, match)
            assert patch.shape == (5, 5, 3)
            top, left = (min(max(int(share * 16 + 1e-9) - 2, 0), 11) for share in (down, across))
            assert np.array_equal(patch, bundle.thumbnails[view * count + image][top : top + 5, left : left + 5])


@pytest.mark.parametrize("profile", ["edge", "paper"])
def test_a_patch_of_a_bundle_with_one_view(edge: Built, paper: Built, profile: str) -> None:
    bundle = Bundle.open({"edge": edge, "paper": paper}[profile].path)
    patch = nearest_patch(bundle, Match("5.npy", 0.5, 0.25, 1.0, item=4))
    assert np.array_equal(patch, bundle.thumbnails[4][3:13, 11:21])


@pytest.mark.parametrize("name", ["shared", "regions, per-view", "masked"])
def test_a_verdict_on_a_frame_with_views_is_explained(
    with_views: Callable[[str], Built], texture: Callable[..., NDArray[np.uint8]], name: str
) -> None:
    scorer = Scorer.open(with_views(name).path)
    for frame in (texture(131, flaw=(26, 38)), texture(132), texture(133)[:, :, 0]):
        picture = explanation(scorer.bundle, frame, scorer(frame))
        assert picture.ndim == 3 and picture.dtype == np.uint8
    # A flaw that stands in a good place of another view is shown from there: the patch looks like what was matched.
    frame = texture(134)
    result = scorer(frame)
    for match in result.nearest:
        patch = nearest_patch(scorer.bundle, match)
        assert cv2.mean(patch)[0] > 0
