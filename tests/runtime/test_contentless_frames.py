"""No frame without content is ever good: black, one colour, noise, a covered lens, a broken transmission."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built, build
from spade_edge.runtime import Scorer
from spade_edge.runtime.preprocessing.condition import Condition

Frame = NDArray[np.uint8]
Grey = NDArray[np.float64]


def contentless(good: Frame, rng: np.random.Generator) -> Iterator[tuple[str, Frame]]:
    """Frames of the size of a good one; where it says "like it", with its colour, mean and contrast."""
    rows, columns = good.shape[:2]
    y, x = np.mgrid[:rows, :columns] / np.array([rows, columns]).reshape(2, 1, 1)
    colour = good.reshape(-1, 3).mean(axis=0)
    mean, contrast = float(good.mean()), float(good.mean(axis=2).std())
    neutral = np.ones(3)

    def noise(*channels: int) -> Grey:
        return rng.normal(size=(rows, columns, *channels))

    def unit(values: Grey) -> Grey:
        values = values - values.mean()
        return values / values.std()

    def coarse(sigma: float) -> Grey:
        return unit(cv2.GaussianBlur(noise(), (0, 0), sigma))

    def frame(grey: Grey | float, tint: Grey = neutral) -> Frame:
        values = np.broadcast_to(grey, (rows, columns))[..., np.newaxis] * tint
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)

    def like_it(pattern: Grey) -> Iterator[Frame]:
        """With its mean colour: the contrast in its colour, or in grey."""
        yield frame(mean + contrast * pattern, colour / mean)
        yield np.clip(np.rint((contrast * pattern)[..., np.newaxis] + colour), 0, 255).astype(np.uint8)

    for level in (0, 1, 3, 10, 30, 64, 100, 128, 150, 200, 240, 252, 255, mean):
        yield f"one grey, {level:.0f}", frame(level)
        yield f"one tint, {level:.0f}", frame(level, colour / mean)
    for _ in range(20):
        yield "one colour", frame(1.0, rng.uniform(0, 255, 3))

    for amplitude in (1, 3, 10, contrast / 2, contrast, 60, 120):
        for around in (0, 20, mean, 128, 230, 255):
            yield f"static of {amplitude:.0f} around {around:.0f}", frame(around + amplitude * noise())
            tinted = frame(around + amplitude * noise(), colour / mean)
            yield f"tinted static of {amplitude:.0f} around {around:.0f}", tinted
        yield f"coloured static of {amplitude:.0f}", np.clip(colour + amplitude * noise(3), 0, 255).astype(np.uint8)
        uniform = rng.uniform(mean - amplitude, mean + amplitude, (rows, columns))
        yield f"uniform noise of {amplitude:.0f}", frame(uniform)
    yield "noise of all colours", rng.integers(0, 256, (rows, columns, 3), np.uint8)
    for sigma in (
        0.35,
        0.4,
        0.45,
        0.5,
        0.55,
        0.6,
        0.7,
        0.8,
        0.9,
        1,
        1.1,
        1.2,
        1.35,
        1.5,
        1.75,
        2,
        2.5,
        3,
        4,
        6,
        8,
        12,
        16,
    ):
        for pattern in like_it(coarse(sigma)):
            yield f"coarse noise of {sigma} like it", pattern
        for pattern in like_it(unit(coarse(sigma) + rng.uniform(0.02, 0.5) * noise())):
            yield f"coarse noise of {sigma} and static like it", pattern
        yield (
            f"coarse coloured noise of {sigma}",
            np.clip(colour + 2 * sigma * contrast * cv2.GaussianBlur(noise(3), (0, 0), sigma), 0, 255).astype(np.uint8),
        )
    for density in (0.002, 0.01, 0.05, 0.2, 0.5):
        for background in (0.0, mean, 255.0):
            for tint in (neutral, colour / mean):
                where = rng.random((rows, columns))
                spotted = np.where(where < density / 2, 0, np.where(where > 1 - density / 2, 255, background))
                yield f"salt and pepper of {density} on {background:.0f}", frame(spotted, tint)

    for number in range(14):
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)
        far = np.hypot(x - rng.uniform(0.3, 0.7), y - rng.uniform(0.3, 0.7))
        leak = np.exp(-(ramp - ramp.min()) * rng.uniform(2, 12))
        static = (0, 0.5, 1, 3)[number % 4] * noise()
        yield "covered lens", frame(rng.uniform(0, 40) + 20 * ramp + static)
        yield "covered lens, brighter in the middle", frame(rng.uniform(5, 60) * (1 - far) + static)
        yield "light leak", frame(5 + 250 * leak + static)
        yield "warm light leak", frame(5 + 250 * leak + static, np.array([0.5, 0.8, 1.0]))
        for name, shape in (("light leak", leak), ("gradient", ramp), ("vignette", -far)):
            for pattern in like_it(unit(shape) + static / contrast):
                yield f"{name} like it", pattern

    for period in (1, 2, 3, 4, 8, 16):
        for amplitude in (contrast / 2, contrast, 100):
            across = np.repeat(rng.normal(size=rows // period + 1), period)[:rows, np.newaxis]
            down = np.repeat(rng.normal(size=columns // period + 1), period)[np.newaxis, :columns]
            for tint in (neutral, colour / mean):
                yield f"rows of {period} by {amplitude:.0f}", frame(mean + amplitude * across, tint)
                yield f"columns of {period} by {amplitude:.0f}", frame(mean + amplitude * down, tint)
        blocks = rng.normal(size=(rows // period + 1, columns // period + 1))
        blocks = blocks.repeat(period, axis=0).repeat(period, axis=1)[:rows, :columns]
        for pattern in like_it(unit(blocks)):
            yield f"blocks of {period} like it", pattern


BUNDLES = ("edge", "paper", "shared", "per-view", "regions, vectors", "tiles in regions", "masked")


@pytest.mark.parametrize("name", BUNDLES)
def test_no_frame_without_content_is_good(
    name: str,
    edge: Built,
    paper: Built,
    with_views: Callable[[str], Built],
    part: Callable[..., Frame],
    texture: Callable[..., Frame],
) -> None:
    whole = {"edge": edge, "paper": paper}
    good = (part if name in whole else texture)(1000)
    scorer = Scorer.open((whole[name] if name in whole else with_views(name)).path)
    assert scorer(good).verdict == "good"
    frames = list(contentless(good, np.random.default_rng(0)))
    assert len(frames) >= 500
    limits, preprocessor = scorer.bundle.manifest.limits, scorer.preprocessor
    # The network runs for the frames that the limits let pass, and for some of the others.
    passing = [
        number % 50 == 0 or not limits.complaint(Condition.of(preprocessor(frame), preprocessor.painted))
        for number, (_, frame) in enumerate(frames)
    ]
    chosen = [kind_and_frame for kind_and_frame, passes in zip(frames, passing, strict=True) if passes]
    results = scorer.batch([frame for _, frame in chosen])
    assert [kind for (kind, _), result in zip(chosen, results, strict=True) if result.verdict == "good"] == []


@pytest.mark.parametrize("name", ["shared", "per-view", "tiles in regions"])
@pytest.mark.parametrize("value", [0, 255, 120])
def test_a_frame_of_which_one_view_is_without_content_is_not_good(
    with_views: Callable[[str], Built], texture: Callable[..., Frame], name: str, value: int
) -> None:
    scorer = Scorer.open(with_views(name).path)
    frame = texture(1001)
    assert scorer(frame).verdict == "good"
    x, y, width, height = scorer.canvas.boxes[0]
    frame[y : y + height, x : x + width] = value
    assert scorer(frame).verdict != "good"
    limits = scorer.bundle.manifest.limits
    assert limits.doubt(Condition.of(scorer.preprocessor(frame)))  # even if its score were that of a good frame


def test_dark_bright_and_almost_uniform_products_are_judged(model: Path, tmp_path: Path) -> None:
    """Frames like the good images are good; black, white and one grey are not."""
    for name, level, spread in (("dark", 12.0, 4.0), ("bright", 243.0, 4.0), ("almost uniform", 128.0, 1.5)):
        folder = tmp_path / name
        folder.mkdir()

        def product(seed: int, level: float = level, spread: float = spread) -> Frame:
            rng = np.random.default_rng(seed)
            woven = cv2.GaussianBlur(rng.normal(size=(64, 64)), (0, 0), 1.2)
            grey = level + spread * woven / woven.std() + rng.normal(0, 0.3, woven.shape)
            return np.clip(np.rint(grey), 0, 255).astype(np.uint8)

        for seed in range(12):
            np.save(folder / f"{seed}.npy", product(seed))
        scorer = Scorer.open(build(folder, model=model, output=tmp_path / f"{name}.spade").path)
        verdicts = [result.verdict for result in scorer.batch([product(seed) for seed in range(100, 120)])]
        assert verdicts.count("cannot_judge") == 0, name
        nothing = [np.full((64, 64), value, np.uint8) for value in (0, 1, 254, 255, round(level))]
        assert [result.verdict for result in scorer.batch(nothing)].count("good") == 0, name
