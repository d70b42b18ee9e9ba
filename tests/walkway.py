"""A rendered video: a fixed camera looks down on a walkway, and people walk along it.

As in ShanghaiTech Campus, frames come in clips, and frames of a clip resemble each other far more than those of others:
a clip is one "part". What varies is what varies under such a camera: who walks where, how fast and how near, daylight,
shadows, and the sensor's noise. A cyclist or a cart is what does not belong there.

    .venv/bin/python tests/walkway.py FOLDER --clips 104 --frames 50

writes FOLDER/clip-000/000.jpg and so on. The same numbers give the same frames.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = (480, 856)  # height, width, those of ShanghaiTech
HORIZON = 130  # row at which the walkway ends
RATE = 24  # frames a second
SEED = 20


@dataclass(frozen=True)
class Walker:
    """Somebody on the walkway.

    Attributes:
        lane: from 0, its far side, to 1, its near side.
        start: column at the first frame, in pixels.
        speed: pixels a frame on the near side; negative to the left.
        stride: phase of the gait.
        coat, legs: BGR.
    """

    lane: float
    start: float
    speed: float
    stride: float
    coat: tuple[float, float, float]
    legs: tuple[float, float, float]


def frame(clip: int, number: int, *, cyclist: bool = False) -> NDArray[np.uint8]:
    """A frame, (480, 856, 3) uint8 BGR; with `cyclist`, one crosses it, which no good frame has."""
    rng = np.random.default_rng((SEED, clip))
    light, shadow = rng.uniform(0.85, 1.1), rng.uniform(0.25, 0.5)
    people = _walkers(rng)
    picture = _background() * light
    drift = 1 + 0.01 * np.sin(number / 40 + clip)  # a cloud
    for one in sorted(people, key=lambda walker: walker.lane):
        _draw(picture, one, number, shadow)
    if cyclist:
        _draw_cyclist(picture, number)
    noise = np.random.default_rng((SEED, clip, number)).integers(-5, 6, SIZE, np.int8)
    return np.clip(picture * drift + noise[:, :, np.newaxis], 0, 255).astype(np.uint8)


def write(folder: Path, *, clips: int, frames: int) -> None:
    """Write clips of some frames, a folder for each clip."""
    for clip in range(clips):
        place = folder / f"clip-{clip:03}"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(frames):
            cv2.imwrite(str(place / f"{number:03}.jpg"), frame(clip, number), [cv2.IMWRITE_JPEG_QUALITY, 92])


@lru_cache(maxsize=1)
def _background() -> NDArray[np.float32]:
    """Lawn, slabs in perspective, and a wall behind."""
    rng = np.random.default_rng(SEED)
    height, width = SIZE
    y, x = np.mgrid[:height, :width].astype(np.float32)
    texture = cv2.GaussianBlur(rng.normal(0, 1, SIZE).astype(np.float32), (0, 0), 1.2) * 14
    picture = np.empty((*SIZE, 3), np.float32)
    picture[:] = (70, 110, 85)  # lawn
    depth = np.maximum(y - HORIZON, 1)
    across, along = (x - width / 2) * 160 / depth, 16000 / depth
    slab = (np.floor(across / 40) + np.floor(along / 14)) % 2
    joint = (np.abs(across / 40 - np.rint(across / 40)) < 0.04) | (np.abs(along / 14 - np.rint(along / 14)) < 0.05)
    paved = (y > HORIZON) & (np.abs(across) < 330)
    picture[paved] = (150 + 10 * slab - 40 * joint)[paved][:, np.newaxis]
    picture[y <= HORIZON] = (95, 105, 120)
    bricks = (np.floor(y / 9) % 2 * 11 + x) % 22 < 1.5
    picture[(y <= HORIZON) & ((y % 9 < 1.2) | bricks)] -= 25
    picture[HORIZON : HORIZON + 4] = 60
    return picture + texture[:, :, np.newaxis]


def _walkers(rng: np.random.Generator) -> list[Walker]:
    return [
        Walker(
            lane=float(rng.uniform(0.12, 1)),
            start=float(rng.uniform(-200, SIZE[1] + 200)),
            speed=float(rng.choice((-1, 1)) * rng.uniform(2.2, 3.6)),
            stride=float(rng.uniform(0, 6.3)),
            coat=tuple(rng.uniform(25, 200, 3)),
            legs=tuple(rng.uniform(20, 90, 3)),
        )
        for _ in range(int(rng.integers(2, 7)))
    ]


def _draw(picture: NDArray[np.float32], one: Walker, number: int, shadow: float) -> None:
    """Head, coat and two legs that swing, on a shadow."""
    scale = 0.25 + 0.75 * one.lane
    column = (one.start + one.speed * scale * number + 300) % (SIZE[1] + 600) - 300
    foot, tall = HORIZON + 20 + 300 * one.lane, 130 * scale
    swing = np.sin(one.stride + number * 2 * np.pi * 1.8 / RATE) * 0.16 * tall
    _shade(picture, (column + 0.4 * tall, foot), (0.5 * tall, 0.06 * tall), shadow)
    hip = (column, foot - 0.48 * tall)
    for side in (swing, -swing):
        _line(picture, hip, (column + side, foot - abs(side) * 0.2), one.legs, 0.1 * tall)
    _ellipse(picture, (column, foot - 0.66 * tall), (0.13 * tall, 0.22 * tall), one.coat)
    _line(picture, (column, foot - 0.8 * tall), (column - swing, foot - 0.5 * tall), one.coat, 0.07 * tall)
    _ellipse(picture, (column, foot - 0.93 * tall), (0.07 * tall, 0.085 * tall), (110, 135, 175))


def _draw_cyclist(picture: NDArray[np.float32], number: int) -> None:
    column, foot, wheel = 80 + 12.0 * number % 700, HORIZON + 220.0, 32.0
    for middle in (column - 40, column + 40):
        cv2.circle(picture, _point((middle, foot - wheel)), int(wheel), (25, 25, 25), 4, cv2.LINE_AA)
    _line(picture, (column - 40, foot - wheel), (column + 40, foot - wheel), (40, 40, 190), 5)
    _line(picture, (column - 10, foot - wheel), (column + 15, foot - 105), (60, 60, 60), 14)
    _ellipse(picture, (column + 18, foot - 112), (17, 27), (160, 70, 40))
    _ellipse(picture, (column + 28, foot - 148), (10, 12), (110, 135, 175))


def _ellipse(
    picture: NDArray[np.float32], middle: tuple[float, float], half: tuple[float, float], colour: tuple[float, ...]
) -> None:
    cv2.ellipse(picture, _point(middle), _point(half), 0, 0, 360, colour, -1, cv2.LINE_AA)


def _line(
    picture: NDArray[np.float32],
    start: tuple[float, float],
    end: tuple[float, float],
    colour: tuple[float, ...],
    width: float,
) -> None:
    cv2.line(picture, _point(start), _point(end), colour, max(1, round(width)), cv2.LINE_AA)


def _shade(picture: NDArray[np.float32], middle: tuple[float, float], half: tuple[float, float], by: float) -> None:
    """Darken an ellipse."""
    mask = np.zeros(SIZE, np.uint8)
    cv2.ellipse(mask, _point(middle), _point(half), 0, 0, 360, 255, -1, cv2.LINE_AA)
    rows = slice(max(0, int(middle[1] - half[1]) - 2), int(middle[1] + half[1]) + 3)
    picture[rows] *= (1 - by * mask[rows].astype(np.float32) / 255)[:, :, np.newaxis]


def _point(place: tuple[float, float]) -> tuple[int, int]:
    return round(place[0]), round(place[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=104)
    parser.add_argument("--frames", type=int, default=50)
    chosen = parser.parse_args()
    write(chosen.folder, clips=chosen.clips, frames=chosen.frames)


if __name__ == "__main__":
    main()
