"""Fitting the coding: quantization steps from the range of good features, and the keys that cells are searched by.

A key has 64 numbers for the 7,168 features of a cell: the projection on the principal directions of the good cells.
Cells are described by quarters: the mean of the cell has full weight, the differences of its four quarters from that
mean about a third. With the mean alone, a cell of a fine texture matches at any phase, and few of its positions fit;
with quarters at full weight the phase dominates and cells at a smaller distance are missed. Keys only select
candidates: distances are computed from the codes, so no detail of a defect is lost here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.matching.coding import LARGEST, Coding
from spade_edge.runtime.matching.normalisation import ROOT, normalised
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.pyramid import Pyramid, by_cell

DIMENSIONS = 64
DETAIL = 0.35  # weight of the quarters' differences from their mean; measured in docs/architecture.md
MARGIN = 0.25  # of the range of good features, added above it or half at each end; values beyond are clipped
ROUNDS = 4  # of subspace iteration
SEED = 0


def fit_coding(
    pyramids: Sequence[Pyramid], card: ModelCard, *, normalisation: str = ROOT, dimensions: int = DIMENSIONS
) -> Coding:
    """Fit to the features of some good images.

    Args:
        pyramids: features of at least one view, as the network outputs them.
        card: of the model they come from.
        normalisation: of the features before they are coded.
        dimensions: D, of a key; fewer if there are fewer cells or features.
    """
    pyramids = [normalised(pyramid, normalisation) for pyramid in pyramids]
    lowest, steps = [], []
    for i in range(len(card.levels)):
        low = min(float(p.levels[i].min()) for p in pyramids)
        high = max(float(p.levels[i].max()) for p in pyramids)
        margin = MARGIN * (high - low)
        lowest.append(0.0 if low >= 0 else low - margin / 2)  # after a ReLU they are never negative
        steps.append((high + margin - lowest[-1] or 1.0) / LARGEST)  # 1 for a level that is constant on good images
    seen = np.concatenate([_quarters(p, card) for p in pyramids])  # (cells, G)
    directions = _principal(seen, min(dimensions, *seen.shape))
    # A random rotation gives every dimension of a key the same spread, so that one step suits all.
    rotation, _ = np.linalg.qr(np.random.default_rng(SEED).standard_normal((directions.shape[1],) * 2))
    directions = directions @ rotation
    keys = (seen - seen.mean(axis=0)) @ directions
    half = LARGEST // 2 + 1
    directions *= (half - 1) / max(float(np.abs(keys).max()) * (1 + MARGIN), 1e-12)
    weights = _of_record(directions, card, steps)
    offset = half - (seen.mean(axis=0) - _origin(card, lowest)) @ directions
    scale = np.maximum(np.abs(weights).max(axis=0), 1e-12) / LARGEST
    return Coding(
        normalisation=normalisation,
        lowest=np.array(lowest, np.float32),
        steps=np.array(steps, np.float32),
        key_weights=np.rint(weights / scale).astype(np.int8),
        key_scale=scale.astype(np.float32),
        key_offset=offset.astype(np.float32),
    )


def _principal(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The first principal directions of (n, G) vectors, (G, count), by subspace iteration (Halko et al. 2011)."""
    centred = vectors - vectors.mean(axis=0)
    basis = np.random.default_rng(SEED).standard_normal((vectors.shape[1], min(count + 16, *vectors.shape)))
    for _ in range(ROUNDS):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis.astype(np.float32)))
    small = centred @ basis.astype(np.float32)
    _, rotation = np.linalg.eigh(small.T @ small)  # ascending
    return np.asarray(basis @ rotation[:, ::-1][:, :count], np.float32)


def _shape(card: ModelCard) -> list[tuple[int, int, int, float]]:
    """For each level: span, quarters along a side, channels, weight of a quarter (root of its number of embeddings)."""
    shape = []
    for level in card.levels:
        span = card.span(level)
        quarters = 2 if span % 2 == 0 else 1
        shape.append((span, quarters, level.channels, card.side / quarters))
    return shape


def _quarters(pyramid: Pyramid, card: ModelCard) -> NDArray[np.float32]:
    """Weighted means over quarters of each cell, (cells, G) float32."""
    parts = []
    for features, (span, quarters, channels, weight) in zip(pyramid.levels, _shape(card), strict=True):
        by = by_cell(features, span) if span > 1 else features.reshape(-1, 1, channels)
        wide = span // quarters
        means = (
            by.reshape(-1, quarters, wide, quarters, wide, channels)
            .mean(axis=(2, 4))
            .reshape(-1, quarters**2, channels)
        )
        mean = means.mean(axis=1, keepdims=True)
        parts.append(((mean + (means - mean) * DETAIL) * weight).reshape(len(means), -1))
    return np.concatenate(parts, axis=1)


def _of_record(directions: NDArray[np.float32], card: ModelCard, steps: Sequence[float]) -> NDArray[np.float32]:
    """Directions over quarters, (G, D), as directions over the codes of a cell, (F, D): `_quarters`, transposed."""
    parts, start = [], 0
    for (span, quarters, channels, weight), step in zip(_shape(card), steps, strict=True):
        stop = start + quarters**2 * channels
        part = directions[start:stop].reshape(quarters**2, channels, -1)
        mean = part.mean(axis=0, keepdims=True)
        part = (mean + (part - mean) * DETAIL).reshape(quarters, quarters, channels, -1)
        wide = span // quarters
        part = part.repeat(wide, axis=0).repeat(wide, axis=1) * (weight * step / wide**2)
        parts.append(part.reshape(span**2 * channels, -1))
        start = stop
    return np.ascontiguousarray(np.concatenate(parts), np.float32)


def _origin(card: ModelCard, lowest: Sequence[float]) -> NDArray[np.float32]:
    """The result of `_quarters` for a cell whose codes are all 0, where every feature is the lowest of its level."""
    return np.concatenate(
        [
            np.full(quarters**2 * channels, low * weight, np.float32)
            for (_, quarters, channels, weight), low in zip(_shape(card), lowest, strict=True)
        ]
    )
