"""Disturbed frames against what each disturbance means, pixel by pixel, and the count of verdicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from quality.disturbed import DIRECTIONS, SHIFTS, TURNS, UNDISTURBED, Verdicts, disturbances, table, verdicts

from spade_edge.runtime.result import FrameResult

H, W = 100, 160
RESULT = FrameResult(1.0, 2.0, 2.0, 0.5, "good", "", np.zeros((2, 2), np.float32), (0, 0, 1, 1), None, (), (), {}, "")


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    smooth = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (H, W, 3)).astype(np.float32), (0, 0), 2)
    return np.clip(120 + 4 * (smooth - smooth.mean()), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("number", range(len(DIRECTIONS)))
def test_a_shift_moves_every_pixel_and_fills_the_border(image: NDArray[np.uint8], number: int) -> None:
    found = dict(disturbances(image, number=number))
    assert found[UNDISTURBED] is image
    for amount in SHIFTS:
        dx, dy = (round(amount * d * side) for d, side in zip(DIRECTIONS[number], (W, H), strict=True))
        assert max(abs(dx) / W, abs(dy) / H) == pytest.approx(amount, abs=0.005)
        y, x = np.arange(H) - dy, np.arange(W) - dx
        repeated = image[np.clip(y, 0, H - 1)][:, np.clip(x, 0, W - 1)]
        reflected = np.pad(image, ((H - 1, H - 1), (W - 1, W - 1), (0, 0)), "reflect")[y + H - 1][:, x + W - 1]
        for name, expected in (("repeated", repeated), ("reflected", reflected)):
            np.testing.assert_array_equal(found[f"shifted by {100 * amount:.0f} %, border {name}"], expected)


@pytest.mark.parametrize("number", [0, 1])
def test_a_turn_is_about_the_middle_one_way_or_the_other(number: int) -> None:
    image = np.zeros((H, W), np.uint8)
    image[58:63, 98:103] = 255  # (100, 60)
    found = dict(disturbances(image, number=number))
    for degrees in TURNS:
        turned = found[f"turned by {degrees}°, border repeated"].astype(float)
        x, y = (np.average(place, weights=turned) for place in np.meshgrid(np.arange(W), np.arange(H)))
        turn = np.radians(degrees if number else -degrees)  # counter-clockwise, as seen
        place = complex(100 - 79.5, 49.5 - 60) * np.exp(1j * turn)  # from the middle, upwards
        assert (x, y) == pytest.approx((79.5 + place.real, 49.5 - place.imag), abs=0.05)


def test_light_blur_and_noise_keep_the_place(image: NDArray[np.uint8]) -> None:
    found = dict(disturbances(image, number=3))
    np.testing.assert_allclose(found["15 % lighter"], np.minimum(image * 1.15, 255), atol=0.5 + 1e-6)
    np.testing.assert_allclose(found["15 % darker"], image * 0.85, atol=0.5 + 1e-6)
    line = np.zeros((H, W), np.uint8)
    line[:, 80] = 200
    blurred = dict(disturbances(np.repeat(np.repeat(line, 4, 0), 4, 1), number=0))["blurred"][200].astype(float)
    x = np.arange(4 * W)
    mean = np.average(x, weights=blurred)
    assert mean == pytest.approx(321.5, abs=0.1)
    assert np.average((x - mean) ** 2, weights=blurred) == pytest.approx((0.005 * 4 * H) ** 2 + 15 / 12, rel=0.15)
    noise = found["noisy"].astype(float) - image
    inside = (image > 40) & (image < 215)
    assert (noise[inside].mean(), noise[inside].std()) == (pytest.approx(0, abs=0.2), pytest.approx(8, rel=0.05))
    again = dict(disturbances(image, number=3))
    assert all(np.array_equal(frame, again[way]) for way, frame in found.items())


def test_strips_are_not_turned() -> None:
    ways = [way for way, _ in disturbances(np.zeros((20, 81), np.uint8), number=0)]
    assert not any("turned" in way for way in ways) and any("shifted" in way for way in ways)


def test_verdicts_are_counted_by_way_and_what_is_lost_was_found_before(tmp_path: Path) -> None:
    for folder, grey in (("good", 100), ("scratch", 200)):
        (tmp_path / folder).mkdir()
        for number in range(5):
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), np.full((20, 20, 3), grey, np.uint8))

    def scorer(frame: NDArray[np.uint8]) -> FrameResult:
        """Everything over 150 is a defect, everything under 90 too dark."""
        mean = frame.mean()
        if mean < 90:
            return replace(RESULT, verdict="cannot_judge", reason=f"too dark: {mean:.1f}, good images have 95 to 105")
        return replace(RESULT, verdict="defect" if mean > 180 else "good", reason="over")

    found = verdicts(scorer, tmp_path, most=3)  # type: ignore[arg-type]
    assert found["15 % darker"].to_json() == {
        "good": {"good": 0, "defect": 0, "cannot_judge": 3},
        "reasons": {"too dark: … good images have … to …": 3},
        "defective": {"good": 3, "defect": 0, "cannot_judge": 0},
        "lost": 3,
    }
    assert found[UNDISTURBED].good == {"good": 3} and found[UNDISTURBED].defective == {"defect": 3}
    assert found["blurred"].lost == 0
    lines = list(table({("a set", "default"): found}))
    assert len(lines) == 2 + len(found)
    assert "| a set | default | 15 % darker | 0 / 3 / 0 | 3 / 0 / 0 | 3 | 3: too dark" in "\n".join(lines)


def test_what_was_missed_before_is_not_lost() -> None:
    counted = Verdicts()
    counted.add(RESULT, defective=True, before="good")
    assert (counted.lost, counted.defective["good"]) == (0, 1)
    counted.add(RESULT, defective=True, before="cannot_judge")
    assert counted.lost == 1
