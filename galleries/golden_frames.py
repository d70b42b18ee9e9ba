"""Golden frames: made from a good image, scored by the machine that builds the bundle, and stored in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.remembering import Remembering
from spade_edge.galleries.staging import Staging
from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.manifest import Judged
from spade_edge.runtime.bundle.observation import SAMPLES
from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.protocol import Network

COUNT = 2
NOISE = 3  # standard deviation in grey levels: more than a camera's, so that no embedding equals one in the gallery
DAMAGE = 6  # the side of the damaged square is a sixth of the view's shorter side


def golden_frames(image: NDArray[np.uint8], canvas: Canvas) -> NDArray[np.uint8]:
    """A good frame with noise, and the same frame with a square whose grey levels are shifted by 128.

    Args:
        image: (H, W, 3) uint8 BGR or (H, W) grey, a good image. Where frames may have any size, it is subsampled to
            about twice the size of the view, so that the bundle need not hold a frame of 20 megapixels.
        canvas: the layout of the views.

    Returns:
        (2, h, w, 3) or (2, h, w) uint8.
    """
    step = _step(image.shape[:2], canvas)
    kept = image[::step, ::step]
    noise = np.random.default_rng(0).normal(0, NOISE, kept.shape)
    if kept.ndim == 3 and not np.ptp(kept, axis=2).any():  # grey in three channels stays grey
        noise = noise[:, :, :1]
    noisy = np.clip(np.rint(kept + noise), 0, 255).astype(np.uint8)
    damaged = noisy.copy()
    # In the middle of the view whose features are stored.
    x, y, width, height = canvas.boxes[len(canvas.boxes) // 2]
    down, across = (have / want for have, want in zip(kept.shape[:2], canvas.reference, strict=True))
    top, left, high, wide = int(y * down), int(x * across), int(height * down), int(width * across)
    side = max(1, min(high, wide) // DAMAGE)
    first, second = top + (high - side) // 2, left + (wide - side) // 2
    square = damaged[first : first + side, second : second + side]
    square += 128  # wraps around, so every grey level changes
    return np.stack([noisy, damaged])


def add_golden(stage: Staging, scorer: Scorer, image: NDArray[np.uint8]) -> tuple[Judged, ...]:
    """Score golden frames with the finished bundle and add them to it.

    Args:
        stage: the bundle.
        scorer: of the bundle, opened as on a device.
        image: a good image.
    """
    return score_golden(stage, scorer, golden_frames(image, scorer.canvas))


def score_golden(stage: Staging, scorer: Scorer, frames: NDArray[np.uint8]) -> tuple[Judged, ...]:
    """Score golden frames, (G, H, W, 3) or (G, H, W) uint8, and add them with their results to a bundle."""
    network = Remembering(scorer.session)
    known = Scorer(scorer.bundle, network, scorer.matcher)
    seen, judged = [], []
    for frame in frames:
        seen.append(known.observe(frame))
        score = seen[-1].score
        under, over = (_verdict(known, network, frame, threshold=limit) for limit in (score + 1, score - 1))
        judged.append(Judged(score, under, over))
    stage.add_array("golden_frames", frames)
    for number, level in enumerate(scorer.session.card.levels):
        stage.add_array(f"golden_{level.output}", np.stack([one.features[number] for one in seen]))
    stage.add_array("golden_distances", np.stack([one.distances for one in seen]))
    stage.add_array("golden_heatmaps", np.stack([one.heatmap for one in seen]))
    return tuple(judged)


def _verdict(scorer: Scorer, network: Network, frame: NDArray[np.uint8], *, threshold: float) -> str:
    """The verdict of a frame at another threshold: whether it can be judged depends on the side that it is on."""
    bundle, manifest = scorer.bundle, scorer.bundle.manifest
    manifest = replace(manifest, threshold=replace(manifest.threshold, score=threshold))
    other = Scorer(replace(bundle, manifest=manifest), network, scorer.matcher)
    return other(frame).verdict


def golden_bytes(card: ModelCard, canvas: Canvas, shape: tuple[int, ...]) -> int:
    """Size in bytes of golden frames made from an image of shape (H, W) or (H, W, 3)."""
    step = _step(shape[:2], canvas)
    frame = -(-shape[0] // step) * -(-shape[1] // step) * int(np.prod(shape[2:]))
    features = SAMPLES**2 * sum(level.channels for level in card.levels)
    return COUNT * (frame + 4 * (features + card.positions(card.levels[0]) + int(np.prod(canvas.size))))


def _step(size: tuple[int, ...], canvas: Canvas) -> int:
    if canvas.layout.frame is not None:  # boxes are fixed in pixels
        return 1
    return max(1, min(have // (2 * want) for have, want in zip(size, canvas.view.resize, strict=True)))
