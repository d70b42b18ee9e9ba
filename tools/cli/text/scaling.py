"""What `spade-edge scaling` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

COLUMNS = (
    "images",
    "ratio",
    "frame ms",
    "network",
    "matching",
    "MB an image",
    "memory MB",
    "open s",
    "build s",
    "build",
)


def line(values: Sequence[str]) -> str:
    """One line of the table."""
    return " ".join(f"{value:>11}" for value in values)


def values(row: dict[str, Any]) -> list[str]:
    """The figures of one size, in the order of `COLUMNS`."""
    memory = row["memory"]
    return [
        str(row["images"]),
        f"{row['ratio']:.3f}",
        f"{row['frame_ms']:.1f}",
        f"{row['network_ms']:.1f}",
        f"{row['stages_ms']['matching']:.1f}",
        f"{row['megabytes_an_image']:.2f}",
        "" if memory is None else f"{memory['resident_megabytes']:.0f}",
        f"{row['open_seconds']:.2f}",
        f"{sum(row['build_seconds'].values()) - row['build_seconds']['network']:.1f}",
        f"{row['build_over_network']:.2f}",
    ]
