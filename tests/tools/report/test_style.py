"""Colours that everyone can read and tell apart."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from evaluations import (
    TYPICAL,
    evaluated,
    page_of,
)
from numpy.typing import NDArray

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.tools.report.style import EVERY


def test_the_style_uses_only_colours_that_it_names(tmp_path: Path, bundle: Bundle) -> None:
    text, _ = page_of(tmp_path, evaluated(TYPICAL), bundle)
    style = text[text.index("<style>") : text.index("</style>")]
    used, named = set(re.findall(r"var\((--\w+)\)", style)), set(re.findall(r"(--\w+):", style))
    assert used == named


def schemes() -> dict[str, dict[str, NDArray[np.float64]]]:
    """The style's colours as linear RGB, by scheme and name."""
    light, dark = re.findall(r":root\{((?:--\w+:#\w+;?\s*)+)\}", EVERY)

    def linear(value: str) -> NDArray[np.float64]:
        value = "".join(2 * letter for letter in value) if len(value) == 3 else value
        share = np.array([int(value[place : place + 2], 16) for place in (0, 2, 4)]) / 255
        return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)

    return {
        name: {colour: linear(value) for colour, value in re.findall(r"--(\w+):#(\w+)", rules)}
        for name, rules in (("light", light), ("dark", dark))
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: str) -> None:
    colours = schemes()[scheme]
    for ink in ("ink", "quiet", "good", "defect", "unknown"):
        for ground in ("page", "card"):
            light, dark = sorted(
                (float(colours[name] @ (0.2126, 0.7152, 0.0722)) for name in (ink, ground)), reverse=True
            )
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)  # WCAG 2, AA


# Machado, Oliveira & Fernandes 2009, severity 1: how linear RGB looks to the colour-blind.
EYES = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eyes", EYES)
def test_good_and_defect_differ_for_all_eyes(scheme: str, eyes: str) -> None:
    seen = [np.clip(np.array(EYES[eyes]) @ schemes()[scheme][name], 0, 1) ** (1 / 2.2) for name in ("good", "defect")]
    assert np.abs(seen[0] - seen[1]).max() > 0.25
