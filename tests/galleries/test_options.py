"""`BuildOptions`: frozen, keyword-only, checked once."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from spade_edge.galleries import BuildOptions
from spade_edge.runtime import UsageError
from spade_edge.runtime.matching.config import PROFILES, Matching


def test_options_cannot_be_changed_or_given_by_position() -> None:
    options = BuildOptions(rate=0.01)
    with pytest.raises(FrozenInstanceError):
        options.rate = 0.5  # type: ignore[misc]
    with pytest.raises(TypeError):
        BuildOptions("paper")  # type: ignore[misc]


def test_parameters_are_those_of_the_profile_unless_given() -> None:
    assert BuildOptions().parameters == PROFILES["edge"]
    assert BuildOptions(profile="paper").parameters == PROFILES["paper"]
    assert BuildOptions(profile="paper", matching=Matching(kappa=3)).parameters == Matching(kappa=3)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"profile": "fast"}, "fast"),
        ({"rate": 0.0}, "0"),
        ({"rate": 1.0}, "1"),
        ({"rate": math.nan}, "nan"),
        ({"area": -1.0}, "-1"),
        ({"area": math.inf}, "inf"),
        ({"area": math.nan}, "nan"),
        ({"threads": 0}, "0"),
    ],
)
def test_options_out_of_range_are_refused(given: dict[str, Any], found: str) -> None:
    with pytest.raises(UsageError, match=f"found {found}$"):
        BuildOptions(**given)
