"""The plot of `spade-edge scaling`: one SVG file, readable by itself, in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Any

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 30, 50
COLOURS = {"network": "#8a8f98", "frame to result": "#c2410c"}
OPENING = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
    'aria-label="Milliseconds per frame over the number of good images">'
)
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #333 } .axis { stroke: #bbb } .grid { stroke: #e5e5e5 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .axis { stroke: #777 } .grid { stroke: #444 } }
"""


def plot(rows: Sequence[dict[str, Any]]) -> str:
    """Draw the time of a frame and of the network alone over the number of images, which doubles step by step."""
    images = [row["images"] for row in rows]
    lines = {
        "network": [row["network_ms"] for row in rows],
        "frame to result": [row["frame_ms"] for row in rows],
    }
    highest = _rounded(max(max(line) for line in lines.values()))
    first, last = log2(images[0]), log2(images[-1])

    def x(count: int) -> float:
        share = (log2(count) - first) / (last - first) if last > first else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(milliseconds: float) -> float:
        return HEIGHT - BOTTOM - milliseconds / highest * (HEIGHT - TOP - BOTTOM)

    parts = [
        OPENING,
        f"<style>{STYLE}</style>",
    ]
    for step in range(5):
        value = highest * step / 4
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for count in images:
        parts.append(f'<text x="{x(count):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{count:,}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>')
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 12}" text-anchor="end">ms</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">good images in the gallery</text>')
    for label, line in lines.items():
        points = " ".join(f"{x(count):.1f},{y(value):.1f}" for count, value in zip(images, line, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[label]}" stroke-width="2.5"/>')
        parts.extend(
            f'<circle cx="{x(count):.1f}" cy="{y(value):.1f}" r="3.5" fill="{COLOURS[label]}"/>'
            for count, value in zip(images, line, strict=True)
        )
        below = 14 if label == "network" else -4
        parts.append(f'<text x="{x(images[-1]) + 10:.1f}" y="{y(line[-1]) + below:.1f}">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _rounded(value: float) -> float:
    """The next larger round number, so that a quarter of it is round too."""
    step = 10 ** len(str(int(value))) / 25
    return float(step * (int(value / step) + 1))
