"""Results of two machines for the same frames, stage by stage, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = Mapping[str, NDArray[Any]]  # FRAME/STAGE/PART to an array, as score.py writes them

MAP_LIMIT = 1e-3  # of a map's largest value: a feature may round to the next code, if it is off in the last digit
SAME_LIMIT = 1e-5  # of the largest distance: what float32 leaves over when sums go another way
COUNT, SHARE = "differ", "share"

# Stage, what a person calls it, how it is compared, and the most that is allowed (None: it is only told).
STAGES: tuple[tuple[str, str, str, float | None], ...] = (
    ("view", "view", SHARE, None),
    ("network", "features", SHARE, None),
    ("products", "8-bit products", COUNT, 0),
    ("codes", "codes of the same features", COUNT, 0),
    ("keys", "keys of the same features", COUNT, 0),
    ("windows", "windows of the same features", COUNT, 0),
    ("cells", "cells found by the same keys", COUNT, 0),
    ("squares", "squared lengths of the same codes", SHARE, None),
    ("distances", "distances of the same codes", SHARE, None),
    ("exactly", "exact distances of the same features", SHARE, SAME_LIMIT),
    ("moved", "codes and keys of the own features", COUNT, None),
    ("exact/map", "map, exact search", SHARE, MAP_LIMIT),
    ("exact/score", "score, exact search", SHARE, None),
    ("exact/verdict", "verdict, exact search", COUNT, 0),
    ("hnsw/map", "map", SHARE, None),
    ("hnsw/score", "score", SHARE, None),
    ("hnsw/verdict", "verdict", COUNT, 0),
)


@dataclass(frozen=True)
class Row:
    """One stage.

    Attributes:
        stage: what was compared.
        measure: "differ", how many numbers are not the same; "share", the largest difference of two numbers as a
            fraction of the largest in their array.
        found: that.
        numbers: how many were compared.
        limit: the most that is allowed; None where any difference is.
    """

    stage: str
    measure: str
    found: float
    numbers: int
    limit: float | None

    @property
    def passed(self) -> bool:
        return self.limit is None or self.found <= self.limit  # NaN is over any limit

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}


def compare(here: Numbers, there: Numbers) -> list[Row]:
    """Compare a machine that is trusted with another.

    Args:
        here: what the trusted one wrote.
        there: what the other one wrote.

    Raises:
        ValueError: the two did not write the same arrays, or one of another shape or dtype.
    """
    if set(here) != set(there):
        raise ValueError(f"expected the same arrays of both machines, found {sorted(set(here) ^ set(there))} in one")
    rows = []
    for stage, label, measure, limit in STAGES:
        names = [name for name in here if f"{name.split('/', 1)[1]}/".startswith(f"{stage}/")]
        pairs = [(name, here[name], there[name]) for name in names]
        if stage == "products":  # the trusted machine's are counted by numpy
            counted = [name.replace("/products/", "/counted/") for name in names]
            pairs += [(name, here[twin], there[name]) for name, twin in zip(names, counted, strict=True)]
        if not pairs:
            continue  # a bundle without codes has none
        measured = [(count_differing if measure == COUNT else largest_share)(*pair) for pair in pairs]
        found = sum(measured) if measure == COUNT else float(np.max(measured))
        rows.append(Row(label, measure, float(found), sum(array.size for _, array, _ in pairs), limit))
    return rows


def count_differing(name: str, here: NDArray[Any], there: NDArray[Any]) -> float:
    """How many elements are not the same."""
    _check(name, here, there)
    return float(np.count_nonzero(here != there))


def largest_share(name: str, here: NDArray[Any], there: NDArray[Any]) -> float:
    """The largest difference as a fraction of the largest value here; 0 where both are 0."""
    _check(name, here, there)
    difference, largest = np.abs(there - here).max(), np.abs(here).max()
    return float(difference / largest) if largest else float(difference)


def _check(name: str, here: NDArray[Any], there: NDArray[Any]) -> None:
    # Texts have the length of the longest in their dtype.
    alike = here.dtype == there.dtype or here.dtype.kind == there.dtype.kind == "U"
    if here.shape != there.shape or not alike:
        raise ValueError(f"{name}: expected {here.shape} {here.dtype}, found {there.shape} {there.dtype}")
