"""Draws docs/parts.jpg from what `make demo` leaves: `.venv/bin/python docs/picture.py demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from spade_edge.runtime import Scorer
from spade_edge.tools.drawing.overlay import overlay

PARTS = ("good/002.png", "crack/002.png", "stain/003.png", "missing_screw/001.png")


def main(demo: Path) -> None:
    scorer = Scorer.open(demo / "part.spade")
    manifest = scorer.bundle.manifest
    columns = []
    for name in PARTS:
        frame = cv2.imread(str(demo / "parts" / "test" / name))
        result = scorer(frame)
        judged = overlay(frame, result, pixel_threshold=manifest.threshold.pixel)
        columns.append(np.vstack([frame, np.full((6, frame.shape[1], 3), 255, np.uint8), judged]))
    gap = np.full((columns[0].shape[0], 6, 3), 255, np.uint8)
    picture = np.hstack([part for column in columns for part in (column, gap)][:-1])
    quality = [cv2.IMWRITE_JPEG_QUALITY, 82]
    Path(__file__).with_name("parts.jpg").write_bytes(cv2.imencode(".jpg", picture, quality)[1].tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
