"""Distances of cells against a loop over embeddings that torch has enlarged."""

from __future__ import annotations

import numpy as np
import pytest
from cards import CARDS, card_of
from numpy.typing import NDArray

from spade_edge.runtime.matching.cells import CellComparison
from spade_edge.runtime.matching.coding import Coded, Coder, Coding, Windows
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.pyramid import Pyramid

torch = pytest.importorskip("torch")

IMAGES = 4


class Setup:
    """A gallery and views in codes, and their embeddings as torch makes them."""

    def __init__(self, card: ModelCard) -> None:
        count = len(card.levels)
        self.card = card
        self.cells = int(np.prod(card.grid(card.levels[-1])))
        self.side = card.levels[-1].stride // card.levels[0].stride
        features = sum((card.levels[-1].stride // level.stride) ** 2 * level.channels for level in card.levels)
        self.coding = Coding(
            normalisation="none",
            lowest=np.array([0, -1.5, -0.3][:count], np.float32),
            steps=np.array([0.013, 0.021, 0.017][:count], np.float32),
            key_weights=np.ones((features, 2), np.int8),
            key_scale=np.ones(2, np.float32),
            key_offset=np.zeros(2, np.float32),
        )
        self.coder = Coder(card, self.coding, threads=1)
        self.gallery = self.coder([self.pyramid(seed) for seed in range(IMAGES)])
        self.gallery_squares = self.coder.windows(self.gallery).squares
        self.comparison = CellComparison(card, self.coding)

    def pyramid(self, seed: int) -> Pyramid:
        rng = np.random.default_rng(seed)
        levels = tuple(
            rng.normal(0.4, 0.8, (*self.card.grid(x), x.channels)).astype(np.float32) for x in self.card.levels
        )
        return Pyramid(levels=levels, descriptor=levels[-1][0, 0])

    def embeddings(self, seed: int) -> NDArray[np.float64]:
        """(cells, side * side, C)."""
        pyramid = self.pyramid(seed)
        enlarged = [
            torch.nn.functional.interpolate(
                torch.from_numpy(np.clip(np.round((level - low) / step), 0, 127) * np.float64(step))
                .permute(2, 0, 1)[None]
                .double(),
                size=pyramid.grid,
                mode="bilinear",
                align_corners=False,
            )[0]
            for level, low, step in zip(pyramid.levels, self.coding.lowest, self.coding.steps, strict=True)
        ]
        whole = torch.cat(enlarged).permute(1, 2, 0).numpy()
        rows, columns = self.card.grid(self.card.levels[-1])
        side = self.side
        return np.array(
            [
                [whole[r * side + y, c * side + x] for y in range(side) for x in range(side)]
                for r in range(rows)
                for c in range(columns)
            ]
        )

    def compare(self, seen: Windows, candidates: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.comparison(seen, levels=self.gallery.levels, squares=self.gallery_squares, candidates=candidates)


@pytest.fixture(scope="module", params=list(CARDS.values()), ids=list(CARDS))
def setup(request: pytest.FixtureRequest) -> Setup:
    return Setup(request.param)


def naive_table(setup: Setup, seed: int, candidates: NDArray[np.int64]) -> NDArray[np.float64]:
    """Squared distances, (cells, T * side², side²): gallery position by view position; inf for no candidate."""
    gallery = np.concatenate([setup.embeddings(image) for image in range(IMAGES)])
    view = setup.embeddings(seed)
    places = setup.side**2
    table = np.full((setup.cells, candidates.shape[1] * places, places), np.inf)
    for cell in range(setup.cells):
        for t, candidate in enumerate(candidates[cell].tolist()):
            if candidate < 0:
                continue
            for there in range(places):
                for here in range(places):
                    difference = gallery[candidate, there] - view[cell, here]
                    table[cell, t * places + there, here] = difference @ difference
    return table


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("view", [0, 1])
def test_distances_are_those_of_embeddings(setup: Setup, count: int, view: int) -> None:
    here = slice(view * setup.cells, (view + 1) * setup.cells)
    seen = setup.coder.windows(setup.coder([setup.pyramid(10), setup.pyramid(11)]), here)
    # Every cell, those at the border too, is compared with cells anywhere.
    candidates = np.random.default_rng(count).integers(0, IMAGES * setup.cells, (setup.cells, count))
    nearest, table = setup.compare(seen, candidates)
    expected = naive_table(setup, 10 + view, candidates)
    assert nearest.dtype == table.dtype == np.float32
    np.testing.assert_allclose(table + seen.squares[:, np.newaxis], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(nearest, expected.min(axis=1), rtol=1e-4, atol=1e-3)


def test_every_cell_meets_every_cell_of_the_gallery(setup: Setup) -> None:
    seen = setup.coder.windows(setup.coder([setup.pyramid(12)]))
    candidates = np.tile(np.arange(IMAGES * setup.cells), (setup.cells, 1))
    nearest, _ = setup.compare(seen, candidates)
    gallery = np.concatenate([setup.embeddings(image) for image in range(IMAGES)])
    gallery = gallery.reshape(-1, gallery.shape[2])
    expected = [[((gallery - here) ** 2).sum(axis=1).min() for here in cell] for cell in setup.embeddings(12)]
    np.testing.assert_allclose(nearest, expected, rtol=1e-4, atol=1e-3)


def test_a_missing_candidate_is_infinitely_far(setup: Setup) -> None:
    seen = setup.coder.windows(setup.coder([setup.pyramid(13)]))
    candidates = np.random.default_rng(3).integers(0, IMAGES * setup.cells, (setup.cells, 3))
    full, _ = setup.compare(seen, candidates[:, :2])
    candidates[:, 2] = -1
    nearest, table = setup.compare(seen, candidates)
    places = setup.side**2
    assert np.isposinf(table[:, 2 * places :]).all()
    assert np.isfinite(table[:, : 2 * places]).all()
    np.testing.assert_allclose(nearest, full, rtol=1e-6)
    candidates[-1] = -1  # a cell for which nothing was found
    nearest, table = setup.compare(seen, candidates)
    assert np.isposinf(nearest[-1]).all() and np.isposinf(table[-1]).all()
    np.testing.assert_allclose(nearest[:-1], full[:-1], rtol=1e-6)


def test_a_view_of_the_gallery_is_at_distance_zero_from_itself(setup: Setup) -> None:
    for image in range(IMAGES):
        seen = setup.coder.windows(setup.coder([setup.pyramid(image)]))
        itself = image * setup.cells + np.arange(setup.cells)[:, np.newaxis]
        nearest, table = setup.compare(seen, itself)
        assert nearest.min() >= 0 and nearest.max() <= 1e-3
        itself_at = np.arange(setup.side**2)
        assert np.abs(table[:, itself_at, itself_at] + seen.squares).max() <= 1e-3  # each position finds itself


def test_views_of_a_batch_are_compared_as_each_alone(setup: Setup) -> None:
    pyramids = [setup.pyramid(20 + i) for i in range(3)]
    together = setup.coder(pyramids)
    candidates = np.random.default_rng(4).integers(0, IMAGES * setup.cells, (setup.cells, 2))
    for view, pyramid in enumerate(pyramids):
        alone = setup.coder.windows(setup.coder([pyramid]))
        here = setup.coder.windows(together, slice(view * setup.cells, (view + 1) * setup.cells))
        for found, expected in zip(setup.compare(here, candidates), setup.compare(alone, candidates), strict=True):
            assert np.array_equal(found, expected)


def test_codes_are_compared_at_the_ends_of_their_range() -> None:
    # 0 against 127 everywhere, with many channels: no sum of bytes is ever cut off.
    card = card_of((32, 32), (8, 256), (16, 512))
    places = int(np.prod(card.grid(card.levels[-1])))
    ends = [
        Coded(
            levels=tuple(np.full((1, int(np.prod(card.grid(x))), x.channels), value, np.uint8) for x in card.levels),
            keys=np.zeros((places, 1), np.uint8),
        )
        for value in (0, 127)
    ]
    coding = Coding(
        normalisation="none",
        lowest=np.zeros(2, np.float32),
        steps=np.array([0.5, 0.25], np.float32),
        key_weights=np.zeros((4 * 256 + 512, 1), np.int8),
        key_scale=np.ones(1, np.float32),
        key_offset=np.zeros(1, np.float32),
    )
    coder, comparison = Coder(card, coding, threads=1), CellComparison(card, coding)
    far = 127**2 * (256 * 0.25 + 512 * 0.0625)
    for seen, known, expected in ((0, 1, far), (1, 0, far), (1, 1, 0), (0, 0, 0)):
        nearest, _ = comparison(
            coder.windows(ends[seen]),
            levels=ends[known].levels,
            squares=coder.windows(ends[known]).squares,
            candidates=np.zeros((places, 1), np.int64),
        )
        np.testing.assert_allclose(nearest, expected, rtol=1e-6, atol=far * 1e-6)
