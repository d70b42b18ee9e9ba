"""Disturbances of frames on the line, and what they do to verdicts: moved and turned parts, other light, blur, noise.

Frames are disturbed as a camera would give them, before anything is resampled. A frame that is moved or turned uncovers
a border of which nothing is known: it is filled by repeating the pixels at the edge, which draws streaks, or by
reflecting the frame, which continues a texture but may show a part twice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.images import find_images, read_image
from spade_edge.runtime import Scorer
from spade_edge.runtime.result import DEFECT, GOOD, VERDICTS, FrameResult

SHIFTS = (0.02, 0.05, 0.1, 0.2)  # of the frame's width and height
DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (-1, -1), (1, -1))  # one after the other
TURNS = (2, 5, 10, 20)  # degrees, one way and the other in turn
FILLS = {"repeated": cv2.BORDER_REPLICATE, "reflected": cv2.BORDER_REFLECT_101}
LIGHTS = {"15 % lighter": 1.15, "15 % darker": 0.85}
BLUR = 0.005  # standard deviation, of the shorter side: a pixel of a view of 224x224
NOISE = 8.0  # standard deviation in grey levels
STRIP = 4  # a frame that is so many times longer than wide is not turned
UNDISTURBED = "undisturbed"

Image = NDArray[np.uint8]


def disturbances(image: Image, *, number: int) -> Iterator[tuple[str, Image]]:
    """A frame as it is, and disturbed in each way, with the name of the way.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        number: of the frame. It chooses the directions, and is the seed of the noise.
    """
    height, width = image.shape[:2]
    yield UNDISTURBED, image
    x, y = np.array(DIRECTIONS[number % len(DIRECTIONS)]) * (width, height)
    for fill, border in FILLS.items():
        for amount in SHIFTS:
            moved = np.array([[1, 0, round(amount * x)], [0, 1, round(amount * y)]], float)
            yield f"shifted by {100 * amount:.0f} %, border {fill}", _warped(image, moved, border)
        if max(height, width) <= STRIP * min(height, width):
            for degrees in TURNS:
                turn = degrees if number % 2 else -degrees
                turned = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, 1)
                yield f"turned by {degrees}°, border {fill}", _warped(image, turned, border)
    for name, factor in LIGHTS.items():
        yield name, _as_pixels(image * factor)
    yield "blurred", np.asarray(cv2.GaussianBlur(image, (0, 0), BLUR * min(height, width)), np.uint8)
    yield "noisy", _as_pixels(image + np.random.default_rng(number).normal(0, NOISE, image.shape))


@dataclass
class Verdicts:
    """What became of the frames that were disturbed in one way.

    Attributes:
        good: how many of the good frames got each verdict.
        reasons: why good frames were not judged; numbers in a reason are left out.
        defective: how many of the defective frames got each verdict.
        lost: defective frames that are good when disturbed, and were not before.
    """

    good: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    defective: Counter[str] = field(default_factory=Counter)
    lost: int = 0

    def add(self, result: FrameResult, *, defective: bool, before: str) -> None:
        """Count a frame.

        Args:
            result: of the disturbed frame.
            defective: whether it has a defect.
            before: the verdict of the frame as it was.
        """
        if defective:
            self.defective[result.verdict] += 1
            self.lost += before != GOOD and result.verdict == GOOD
            return
        self.good[result.verdict] += 1
        if result.verdict not in (GOOD, DEFECT):
            self.reasons[re.sub(r"\d[\d.,]*", "…", result.reason)] += 1

    def to_json(self) -> dict[str, Any]:
        return {
            "good": {verdict: self.good[verdict] for verdict in VERDICTS},
            "reasons": dict(self.reasons.most_common()),
            "defective": {verdict: self.defective[verdict] for verdict in VERDICTS},
            "lost": self.lost,
        }


def verdicts(scorer: Scorer, test: Path, *, most: int) -> dict[str, Verdicts]:
    """Disturb test images in each way, and count the verdicts by way.

    Args:
        scorer: of the bundle.
        test: folder with the good images in `good` and the defective ones in others.
        most: good images, and as many defective ones, that are taken, evenly from all.
    """
    paths = find_images(test)
    found: dict[str, Verdicts] = {}
    for defective in (False, True):
        for number, path in enumerate(_evenly([p for p in paths if (p.parent.name != "good") == defective], most)):
            before = ""
            for way, frame in disturbances(read_image(path), number=number):
                result = scorer(frame)
                before = before or result.verdict  # the first is undisturbed
                found.setdefault(way, Verdicts()).add(result, defective=defective, before=before)
    return found


def table(found: dict[tuple[str, str], dict[str, Verdicts]]) -> Iterator[str]:
    """Lines of Markdown.

    Args:
        found: by set and recipe.
    """
    yield "| set | recipe | frames | good: good / cannot judge / defect | defective: the same | lost | not judged as |"
    yield "|" + "---|" * 7
    for (name, recipe), ways in found.items():
        for way, each in ways.items():
            counts = [
                " / ".join(str(kind[v]) for v in ("good", "cannot_judge", "defect"))
                for kind in (each.good, each.defective)
            ]
            reasons = "; ".join(f"{count}: {reason}" for reason, count in each.reasons.most_common())
            yield f"| {name} | {recipe} | {way} | {counts[0]} | {counts[1]} | {each.lost} | {reasons} |"


def _evenly(paths: Sequence[Path], most: int) -> list[Path]:
    if len(paths) <= most:
        return list(paths)
    return [paths[i] for i in np.linspace(0, len(paths) - 1, most).round().astype(int)]


def _warped(image: Image, matrix: NDArray[np.float64], border: int) -> Image:
    height, width = image.shape[:2]
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=border), np.uint8)


def _as_pixels(image: NDArray[np.floating[Any]]) -> Image:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
