"""A part that lies in a place: a dark body with a bright mark and two legs, one longer, on a light ground."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def placed_part(
    seed: int,
    *,
    size: tuple[int, int] = (96, 96),
    right: float = 0.0,
    down: float = 0.0,
    angle: float = 0.0,
    flaw: bool = False,
    light: float = 1.0,
) -> NDArray[np.uint8]:
    """Render it.

    Args:
        seed: of the noise.
        size: (height, width) of the frame.
        right: shift in pixels.
        down: the same.
        angle: degrees, clockwise, about the centre of the frame.
        flaw: adds a green spot on the body: x from 48 % to 60 % of the frame, y from 40 % to 52 %.
        light: factor of all grey levels.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    height, width = size
    drawn = np.full((4 * height, 4 * width, 3), (150, 160, 170), np.uint8)  # 4 times as large, so that edges are smooth

    def box(left: float, top: float, end: float, bottom: float, colour: tuple[int, int, int]) -> None:
        corners = [(round(x * 4 * width), round(y * 4 * height)) for x, y in ((left, top), (end, bottom))]
        cv2.rectangle(drawn, *corners, colour, -1)

    box(0.30, 0.32, 0.70, 0.58, (50, 45, 40))
    box(0.34, 0.36, 0.44, 0.42, (190, 190, 200))
    box(0.36, 0.58, 0.41, 0.70, (120, 200, 210))
    box(0.60, 0.58, 0.64, 0.80, (120, 200, 210))
    if flaw:
        box(0.48, 0.40, 0.60, 0.52, (0, 255, 0))
    turned = cv2.getRotationMatrix2D((2 * width - 0.5, 2 * height - 0.5), -angle, 1)
    turned[:, 2] += 4 * right, 4 * down
    moved = cv2.warpAffine(drawn, turned, drawn.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    frame = cv2.resize(moved, (width, height), interpolation=cv2.INTER_AREA).astype(np.float64) * light
    frame += np.random.default_rng(seed).normal(0, 2, frame.shape)
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8)
