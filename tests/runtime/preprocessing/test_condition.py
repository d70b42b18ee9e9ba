"""What a frame is like against naive loops; frames that cannot be judged, and why."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import Scorer
from spade_edge.runtime.preprocessing.condition import BLACK, LEAST, WHITE, WIDER, Condition, Limits

Frames = Callable[..., NDArray[np.uint8]]


def naive(views: NDArray[np.float32], painted: NDArray[np.bool_] | None = None) -> Condition:
    """Pixel by pixel, in float64."""
    pixels: list[float] = []
    first: dict[str, list[float]] = {"down": [], "across": []}
    second: dict[str, list[float]] = {"down": [], "across": []}
    for number, view in enumerate(views.astype(np.float64)):
        grey = {
            (y, x): float(view[y, x].sum() / 3)
            for y in range(view.shape[0])
            for x in range(view.shape[1])
            if painted is None or not painted[number, y, x]
        }
        pixels += grey.values()
        for (y, x), value in grey.items():
            for way, one, two in (("down", (y + 1, x), (y + 2, x)), ("across", (y, x + 1), (y, x + 2))):
                if one in grey:
                    first[way].append(abs(grey[one] - value))
                if one in grey and two in grey:
                    second[way].append(abs(value - 2 * grey[one] + grey[two]))
    mean = sum(pixels) / len(pixels)
    bends, steps = (sum(sum(part) / len(part) for part in way.values() if part) for way in (second, first))
    return Condition(
        brightness=mean,
        contrast=math.sqrt(sum((pixel - mean) ** 2 for pixel in pixels) / len(pixels)),
        focus=bends / steps,
        white=sum(pixel >= WHITE for pixel in pixels) / len(pixels),
        black=sum(pixel <= BLACK for pixel in pixels) / len(pixels),
    )


def close(have: Condition, want: Condition) -> None:
    for name in LEAST:
        assert getattr(have, name) == pytest.approx(getattr(want, name), rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("shape", [(1, 12, 17, 3), (3, 8, 8, 3), (2, 1, 30, 3), (1, 30, 1, 3)])
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_what_naive_loops_say(shape: tuple[int, int, int, int], masked: bool) -> None:
    rng = np.random.default_rng(sum(shape))
    views = np.clip(rng.normal(120, 120, shape), 0, 255).astype(np.float32)  # many pixels black or white
    painted = rng.random(shape[:3]) < 0.4 if masked else None
    close(Condition.of(views, painted), naive(views, painted))


def test_against_opencv(part: Frames) -> None:
    image = part(3)
    found = Condition.of(image[None].astype(np.float32))
    grey = image.astype(np.float64).mean(axis=2)
    ((mean,),), ((deviation,),) = cv2.meanStdDev(grey)
    assert (found.brightness, found.contrast) == (pytest.approx(mean, rel=1e-5), pytest.approx(deviation, rel=1e-5))

    def differences(*kernel: float) -> float:
        rows, columns = (np.abs(cv2.filter2D(grey, -1, np.array(k))) for k in ([[x] for x in kernel], [list(kernel)]))
        start, end = len(kernel) // 2, -((len(kernel) - 1) // 2) or None
        return float(rows[start:end].mean() + columns[:, start:end].mean())

    assert found.focus == pytest.approx(differences(1, -2, 1) / differences(-1, 1), rel=1e-4)


def test_what_a_mask_paints_does_not_count(texture: Frames) -> None:
    rng = np.random.default_rng(0)
    views = np.stack([texture(seed) for seed in range(3)]).astype(np.float32)
    painted = rng.random(views.shape[:3]) < 0.3
    painted[1, 10:30, 10:50] = True
    before = Condition.of(views, painted)
    for values in (0.0, 255.0, 1e6, rng.uniform(-1e4, 1e4, views.shape)):
        other = np.where(painted[..., None], np.asarray(values, np.float32), views)
        assert Condition.of(other, painted) == before
    assert Condition.of(views, np.zeros_like(painted)) == Condition.of(views)
    kept = views[1, 30:]  # a mask of the whole rest is a smaller picture
    rest = np.ones_like(painted)
    rest[1, 30:] = False
    close(Condition.of(views, rest), Condition.of(kept[None]))


def test_nothing_to_look_at_is_no_fault() -> None:
    views = np.full((1, 4, 4, 3), 9, np.float32)
    assert Condition.of(views, np.ones((1, 4, 4), bool)) == Condition(0, 0, 0, 0, 0)


@pytest.mark.parametrize("value", [0.0, 3.0, 3.5, 90.0, 127.3, 251.5, 252.0, 255.0])
def test_constant_frames(value: float) -> None:
    found = Condition.of(np.full((2, 64, 48, 3), value, np.float32))
    assert found.brightness == pytest.approx(value)
    assert found.contrast == pytest.approx(0, abs=1e-3) and found.focus == 0
    assert (found.white, found.black) == (float(value >= WHITE), float(value <= BLACK))


def test_the_input_is_left_alone(texture: Frames) -> None:
    views = texture(0)[None].astype(np.float32)
    before = views.copy()
    Condition.of(views)
    assert np.array_equal(views, before)


def test_blur_is_less_focus_and_light_is_not(part: Frames) -> None:
    image = part(0).astype(np.float32)
    sharp = Condition.of(image[None])
    values = [Condition.of(cv2.GaussianBlur(image, (0, 0), sigma)[None]).focus for sigma in (0.5, 1, 2, 4)]
    assert [sharp.focus, *values] == sorted([sharp.focus, *values], reverse=True)
    assert Condition.of(image[None] * 0.4).focus == pytest.approx(sharp.focus, rel=1e-3)


def test_limits_are_the_range_and_a_margin() -> None:
    rng = np.random.default_rng(0)
    ends = ((60, 140), (5, 90), (0.01, 0.9), (0, 0.3), (0, 0.01))
    conditions = [Condition(*(rng.uniform(low, high) for low, high in ends)) for _ in range(9)]
    limits = Limits.learned(conditions)
    for name in ("brightness", "white", "black"):
        values = [getattr(condition, name) for condition in conditions]
        margin = max(WIDER * (max(values) - min(values)), LEAST[name])
        assert getattr(limits, name) == pytest.approx((min(values) - margin, max(values) + margin))
    assert limits.black[1] == pytest.approx(max(c.black for c in conditions) + LEAST["black"])  # the least
    for name in ("contrast", "focus"):
        values = [getattr(condition, name) for condition in conditions]
        factor = max((max(values) / min(values)) ** WIDER, math.exp(LEAST[name]))
        assert getattr(limits, name) == pytest.approx((min(values) / factor, max(values) * factor))
    same = Limits.learned([Condition(100, 40, 0.2, 0, 0)] * 2)
    assert same.brightness == (100 - LEAST["brightness"], 100 + LEAST["brightness"])
    assert same.contrast == pytest.approx((40 / math.exp(LEAST["contrast"]), 40 * math.exp(LEAST["contrast"])))
    assert all(not limits.complaint(condition) for condition in conditions)


@pytest.mark.parametrize(
    "condition",
    [Condition(0, 0, 0, 0, 1), Condition(128, 0, 0, 0, 0), Condition(128, 50, 0, 0, 0), Condition(255, 0, 0, 1, 0)],
)
def test_good_images_are_within_their_own_limits_even_where_they_are_plain(condition: Condition) -> None:
    assert Limits.learned([condition, condition]).complaint(condition) == ""


LIMITS = Limits(brightness=(80, 120), contrast=(20, 60), focus=(0.1, 0.3), white=(-0.05, 0.07), black=(-0.05, 0.02))
USUAL = Condition(brightness=100, contrast=40, focus=0.2, white=0, black=0)
REMEDY = "look at light, lens and camera"
COMPLAINTS = {
    "too dark": (replace(USUAL, brightness=12.3), "too dark: brightness 12.3, good images have 80 to 120"),
    "too bright": (replace(USUAL, brightness=200), "too bright: brightness 200, good images have 80 to 120"),
    "overexposed": (replace(USUAL, white=0.5), "overexposed: 50% of its pixels white, good images have at most 7%"),
    "underexposed": (replace(USUAL, black=1), "underexposed: 100% of its pixels black, good images have at most 2%"),
    "contrast": (replace(USUAL, contrast=0), "without contrast: contrast 0, good images have 20 to 60"),
    "blurred": (replace(USUAL, focus=0.05), "blurred: focus 0.05, good images have 0.1 to 0.3"),
    "the light first": (Condition(1, 0, 0, 0, 1), "too dark: brightness 1, good images have 80 to 120"),
}  # fmt: skip


@pytest.mark.parametrize("kind", COMPLAINTS)
def test_each_complaint_says_expected_found_and_what_to_look_at(kind: str) -> None:
    condition, sentence = COMPLAINTS[kind]
    assert LIMITS.complaint(condition) == f"the frame is {sentence}; {REMEDY}"


def test_at_the_limits_a_frame_is_still_judged_and_with_more_contrast_and_focus_too() -> None:
    assert LIMITS.complaint(USUAL) == ""
    for change in ({"contrast": 99.0}, {"focus": 9.0}, {"white": -1.0}, {"black": -1.0}):
        assert LIMITS.complaint(replace(USUAL, **change)) == ""
    for name in LEAST:
        for end in getattr(LIMITS, name):
            assert LIMITS.complaint(replace(USUAL, **{name: end})) == ""


def spoilt(image: NDArray[np.uint8]) -> dict[str, tuple[NDArray[np.uint8], str]]:
    """What happens to a camera, and what is to be said of it."""
    level = image.astype(np.float64)
    rows = image.shape[0]

    def frame(values: NDArray[np.float64]) -> NDArray[np.uint8]:
        return np.clip(values, 0, 255).astype(np.uint8)

    # A part of it is burnt out and the rest darker, so that the mean stays; and the other way round.
    mean = float(level.mean())
    burnt = level * (mean - 0.2 * 255) / (0.8 * mean)
    burnt[: rows // 5] = 255
    drowned = level * 1.25
    drowned[: rows // 5] = 0
    return {
        "darkened": (frame(level * 0.4), "too dark"),
        "brightened": (frame(level * 1.3 + 40), "too bright"),
        "clipped": (frame(level * 4), "too bright"),
        "burnt out in part": (frame(burnt), "overexposed"),
        "in part in the shade": (frame(drowned), "underexposed"),
        "lens cap": (np.zeros_like(image), "too dark"),
        "flat grey": (np.full_like(image, round(mean)), "without contrast"),
        "fog": (frame((level - mean) * 0.2 + mean), "without contrast"),
    }


@pytest.mark.parametrize("profile", ["edge", "paper"])
def test_frames_that_cannot_be_judged(edge: Built, paper: Built, part: Frames, profile: str) -> None:
    scorer = Scorer.open({"edge": edge, "paper": paper}[profile].path)
    for name, (frame, what) in spoilt(part(40)).items():
        result = scorer(frame)
        assert result.verdict == "cannot_judge", name
        assert f"the frame is {what}: " in result.reason, (name, result.reason)
        assert result.reason.endswith(REMEDY) and "\n" not in result.reason
        assert np.isfinite(result.score)


@pytest.mark.parametrize("sigma", [2, 4])
@pytest.mark.parametrize("name", ["part", "shared", "masked"])
def test_a_blurred_frame_cannot_be_judged(
    edge: Built, with_views: Callable[[str], Built], part: Frames, texture: Frames, name: str, sigma: int
) -> None:
    built, make = (edge, part) if name == "part" else (with_views(name), texture)
    scorer = Scorer.open(built.path)
    for seed in range(40, 44):
        assert scorer(make(seed)).verdict != "cannot_judge"
        result = scorer(cv2.GaussianBlur(make(seed), (0, 0), sigma))
        assert result.verdict == "cannot_judge" and "blurred: focus " in result.reason


def test_good_frames_are_judged(edge: Built, paper: Built, part: Frames, good_images: Path) -> None:
    frames = [part(seed) for seed in range(100, 120)] + [part(200, size=(300, 250)), part(201)[:, :, 0]]
    frames += [part(seed, flaw=True) for seed in range(120, 126)]
    frames += [np.load(path) for path in good_images.rglob("*.npy")]
    frames += [np.clip(part(300) * light, 0, 255).astype(np.uint8) for light in (0.93, 1.07)]
    for built in (edge, paper):
        reasons = {r.reason for r in Scorer.open(built.path).batch(frames) if r.verdict == "cannot_judge"}
        assert reasons == set()


@pytest.mark.parametrize("name", ["shared", "per-view", "masked", "masked regions, per-view", "regions, per-view"])
def test_frames_in_several_views(
    with_views: Callable[[str], Built], texture: Frames, looked_at: NDArray[np.bool_], name: str
) -> None:
    scorer = Scorer.open(with_views(name).path)
    good = texture(50)
    assert scorer(good).verdict != "cannot_judge"
    for what, frame in (
        ("too dark", good * 0.4),
        ("too dark", good * 0.0),
        ("too bright", good * 0.9 + 80),
        ("without contrast", good * 0.0 + np.median(good)),
    ):
        result = scorer(np.clip(frame, 0, 255).astype(np.uint8))
        assert result.verdict == "cannot_judge" and what in result.reason, (name, result.reason)
    if name.startswith("masked"):
        before = scorer(good)
        for value in (0, 255):  # a clamp of another colour, a lamp that shines
            frame = np.where(looked_at[..., None], good, value).astype(np.uint8)
            result = scorer(frame)
            assert (result.verdict, result.reason, result.score) == (before.verdict, before.reason, before.score)


def test_one_frame_of_a_batch_spoils_no_other(edge: Built, part: Frames) -> None:
    scorer = Scorer.open(edge.path)
    frames = [part(60), np.zeros((50, 50, 3), np.uint8), part(61, flaw=True), np.full((64, 64), 255, np.uint8)]
    single = [scorer(frame) for frame in frames]
    assert [result.verdict for result in single][1::2] == ["cannot_judge"] * 2
    for results in (scorer.batch(frames), list(scorer.stream(frames))):
        assert [(r.verdict, r.reason) for r in results if "cannot" in r.verdict] == [
            (r.verdict, r.reason) for r in single if "cannot" in r.verdict
        ]
        assert [r.verdict for r in results] == [r.verdict for r in single]


def test_the_limits_of_a_bundle_are_those_of_its_images(edge: Built, good_images: Path) -> None:
    scorer = Scorer.open(edge.path)
    conditions = [naive(scorer.preprocessor(np.load(good_images / name))) for name in edge.manifest.names]
    expected = Limits.learned(conditions)
    for name in LEAST:
        assert getattr(edge.manifest.limits, name) == pytest.approx(getattr(expected, name), rel=1e-3)
