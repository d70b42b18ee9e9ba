"""What a frame is like against naive loops; frames that cannot be judged, and why."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import Scorer
from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.fields import Fields
from spade_edge.runtime.preprocessing.condition import BLACK, DIM, EVERY, WHITE, Condition, Limits, odd_images
from spade_edge.runtime.preprocessing.quantities import FRAME, QUANTITIES, VIEWS

Frames = Callable[..., NDArray[np.uint8]]


def naive(views: NDArray[np.float32], painted: NDArray[np.bool_] | None = None) -> Condition:
    """Pixel by pixel, in float64."""
    brightness, contrast, focus, pixels = naive_light(views, painted)
    each = [
        naive_light(views[i : i + 1], None if painted is None else painted[i : i + 1])[:3]
        for i in range(len(views))
        if painted is None or painted[i].mean() <= 0.75
    ] or [(brightness, contrast, focus)]
    return Condition(
        brightness=brightness,
        white=sum(pixel >= WHITE for pixel in pixels) / len(pixels),
        black=sum(pixel <= BLACK for pixel in pixels) / len(pixels),
        contrast=contrast,
        focus=focus,
        **naive_colour(views, painted),
        darkest=min(light for light, _, _ in each),
        brightest=max(light for light, _, _ in each),
        plainest=min(deviation for _, deviation, _ in each),
        softest=min(sharp for _, _, sharp in each),
        harshest=max(sharp for _, _, sharp in each),
    )


def naive_light(
    views: NDArray[np.float32], painted: NDArray[np.bool_] | None
) -> tuple[float, float, float, list[float]]:
    """Brightness, contrast, focus and the grey levels."""
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
    return mean, math.sqrt(sum((pixel - mean) ** 2 for pixel in pixels) / len(pixels)), bends / steps, pixels


def naive_colour(views: NDArray[np.float32], painted: NDArray[np.bool_] | None) -> dict[str, float]:
    """Covariances by numpy, of every fourth pixel."""
    chosen = np.zeros(views.shape[:3], bool)
    chosen[:, ::EVERY, ::EVERY] = True
    if painted is not None:
        chosen &= ~painted
    blue, green, red = views[chosen].astype(np.float64).T
    blue_mean, green_mean, red_mean = (channel.mean() + DIM for channel in (blue, green, red))
    mean = (blue_mean + green_mean + red_mean) / 3
    warm = red * mean / red_mean - blue * mean / blue_mean
    covariance = np.cov(warm, (blue + green + red) / 3, bias=True)
    return {
        "chroma": float(np.sqrt(covariance[0, 0])),
        "warmth": float(covariance[0, 1] / (covariance[1, 1] + 1)),
        "red": float(red_mean / green_mean),
        "blue": float(blue_mean / green_mean),
    }


def close(have: Condition, want: Condition) -> None:
    for name in QUANTITIES:
        assert getattr(have, name) == pytest.approx(getattr(want, name), rel=1e-3, abs=1e-4), name


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
    kept = views[1, 32:]  # a mask of the whole rest is a smaller picture
    rest = np.ones_like(painted)
    rest[1, 32:] = False
    close(Condition.of(views, rest), Condition.of(kept[None]))


def test_nothing_to_look_at_is_no_fault() -> None:
    views = np.full((1, 4, 4, 3), 9, np.float32)
    assert Condition.of(views, np.ones((1, 4, 4), bool)) == Condition(*[0.0] * len(QUANTITIES))


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


def many(count: int, *, seed: int = 0, **ends: tuple[float, float]) -> list[Condition]:
    """Conditions of good images, each value evenly spread between its ends, or always usual."""
    rng = np.random.default_rng(seed)
    return [
        replace(
            USUAL,
            **{
                name: float(value)
                for name, value in zip(ends, rng.uniform(*zip(*ends.values(), strict=True)), strict=True)
            },
        )
        for _ in range(count)
    ]


USUAL = Condition(
    brightness=100, white=0, black=0, contrast=40, focus=0.6, chroma=12, warmth=0.1, red=1.2, blue=0.9,
    darkest=90, brightest=110, plainest=30, softest=0.5, harshest=0.7,
)  # fmt: skip


def test_limits_are_the_range_and_a_margin() -> None:
    conditions = many(20, brightness=(80, 100), contrast=(20, 30), focus=(0.4, 0.5), white=(0, 0.1), red=(1.1, 1.3))
    limits = Limits.learned(conditions)
    low, high = (end([condition.brightness for condition in conditions]) for end in (min, max))
    assert limits.brightness == pytest.approx((low - 2 * (high - low), high + 2 * (high - low)))  # doubled for 20
    contrasts = [condition.contrast for condition in conditions]
    factor = max((max(contrasts) / min(contrasts)) ** 2, 3)
    assert limits.contrast == pytest.approx((min(contrasts) / factor, max(contrasts) * factor), rel=1e-4)
    same = Limits.learned([USUAL] * 2)
    assert same.brightness == (100 - 12, 100 + 12) and same.white == pytest.approx((-0.05, 0.05))
    assert same.contrast == pytest.approx((40 / 3, 40 * 3), rel=1e-4)
    assert same.focus == pytest.approx((0.6 / 1.4, 0.6 * 1.4), rel=1e-4)
    assert same.red == pytest.approx((1.2 / 1.15, 1.2 * 1.15), rel=1e-4)
    assert same.chroma == pytest.approx((13 / 2.5 - 1, 13 * 4 - 1))  # a coloured defect adds much
    assert same.warmth == pytest.approx(
        tuple(0.06 * math.sinh(math.asinh(0.1 / 0.06) + step) for step in (-1.25, 1.25))
    )
    for name in QUANTITIES:
        lowest, highest = getattr(limits, name)
        assert all(lowest < getattr(condition, name) < highest for condition in conditions)


@pytest.mark.parametrize("count", [2, 3, 5, 8, 40, 400])
def test_the_fewer_images_the_wider_the_limits(count: int) -> None:
    conditions = [replace(USUAL, brightness=100 + 10 * (i % 2)) for i in range(count)]
    assert Limits.learned(conditions).brightness == pytest.approx(
        (max(100 - max(10 * (1 + 20 / count), 12), 10), min(110 + max(10 * (1 + 20 / count), 12), 240.5))
    )


@pytest.mark.parametrize("brightness", [1.0, 5.0, 20.0, 240.0, 254.0])
def test_the_limits_never_reach_a_frame_without_content(brightness: float) -> None:
    """Dark and bright products are judged; black and white are not."""
    spread = [
        replace(USUAL, brightness=brightness, black=black, white=black, harshest=1.5) for black in (0.2, 0.5, 0.9)
    ]
    limits = Limits.learned(spread)
    assert all(not limits.complaint(condition) and not limits.doubt(condition) for condition in spread)
    for nothing in ({"brightness": 0.0}, {"brightness": 255.0}, {"white": 1.0}, {"black": 1.0}, {"contrast": 0.0}):
        assert limits.complaint(replace(spread[0], **nothing)), nothing
    assert limits.doubt(replace(spread[0], harshest=math.sqrt(3)))


PLAIN = {
    "black": np.zeros((2, 32, 32, 3), np.float32),
    "white": np.full((2, 32, 32, 3), 255, np.float32),
    "one grey": np.full((2, 32, 32, 3), 128, np.float32),
    "one colour": np.full((2, 32, 32, 3), (20, 90, 200), np.float32),
    "dark, with a little noise": np.float32(np.random.default_rng(0).normal(6, 1, (2, 32, 32, 3))),
    "white noise": np.float32(np.random.default_rng(1).normal(128, 20, (2, 32, 32, 3))),
}


@pytest.mark.parametrize("name", PLAIN)
def test_good_images_are_within_their_own_limits_even_where_they_are_plain(name: str) -> None:
    condition = Condition.of(PLAIN[name])
    for count in (2, 5, 20):
        limits = Limits.learned([condition] * count)
        assert (limits.complaint(condition), limits.doubt(condition)) == ("", "")


# One odd image of ten, and one in twenty of two hundred: what happened, and how it is named.
ODD = {
    "dark": ({"brightness": 31.0}, "brightness", "darker than the other good images: brightness 31, the others have "),
    "black": ({"brightness": 0.0, "contrast": 0.0, "black": 1.0}, "brightness", "darker than the other good images"),
    "bright": ({"brightness": 230.0}, "brightness", "brighter than the other good images: brightness 230, the others"),
    "burnt out": (
        {"white": 0.6},
        "white",
        "more overexposed than the other good images: white 60%, the others have 0%",
    ),
    "flat": (
        {"contrast": 2.0},
        "contrast",
        "lower in contrast than the other good images: contrast 2, the others have",
    ),
    "blurred": ({"focus": 0.2}, "focus", "less sharp than the other good images: focus 0.2, the others have 0.5"),
    "grey": ({"chroma": 0.0, "red": 1.0, "blue": 1.0, "warmth": 0.0}, "chroma", "less colourful than the other good"),
    "swapped channels": ({"red": 0.9, "blue": 1.2, "warmth": -0.1}, "red", "less red than the other good images"),
    "one view black": (
        {"darkest": 0.0},
        "darkest",
        "darker in a part than the other good images: brightness of a view 0",
    ),
}


@pytest.mark.parametrize("count", [8, 10, 200])
@pytest.mark.parametrize("kind", ODD)
def test_a_few_odd_images_do_not_move_the_limits_and_are_named(kind: str, count: int) -> None:
    change, quantity, reason = ODD[kind]
    conditions = many(count, brightness=(90, 112), contrast=(35, 45), focus=(0.5, 0.6), red=(1.15, 1.25))
    odd = range(0, count, 20)
    with_them = [replace(condition, **change) if i in odd else condition for i, condition in enumerate(conditions)]
    limits = Limits.learned(with_them)
    others = [condition for i, condition in enumerate(with_them) if i not in odd]
    assert limits == Limits.learned(others)
    found = odd_images(with_them)
    assert [image.number for image in found] == list(odd)
    for image in found:
        assert image.quantity == quantity and image.value == change[quantity]
        assert image.reason.startswith(reason) and "\n" not in image.reason
        assert image.limits == getattr(limits, quantity)
        values = [getattr(condition, quantity) for condition in others]
        assert image.others == pytest.approx((min(values), max(values)))
    if count == 200:  # with few images the limits are wide
        assert limits.complaint(with_them[0]) or limits.doubt(with_them[0])


@pytest.mark.parametrize("count", [10, 20, 50, 200])
def test_two_lights_or_two_products_are_both_usual(count: int) -> None:
    """Three tenths of the images in another light, or in other colours."""
    conditions = many(count, brightness=(110, 120), contrast=(35, 45), red=(1.15, 1.25))
    for change in ({"brightness": 45.0}, {"red": 0.8, "blue": 1.4}, {"chroma": 0.0, "red": 1.0, "blue": 1.0}):
        mixed = [replace(c, **change) if i % 10 < 3 else c for i, c in enumerate(conditions)]
        assert odd_images(mixed) == ()
        limits = Limits.learned(mixed)
        assert all(not limits.complaint(condition) for condition in mixed)


def test_of_three_images_none_is_odd_and_of_five_only_one_that_is_very_far() -> None:
    def of(*values: float) -> list[int]:
        return [image.number for image in odd_images([replace(USUAL, brightness=value) for value in values])]

    assert of(100, 101, 10) == []
    assert of(100, 101, 102, 103, 80) == [] and of(100, 101, 102, 103, 60) == [4] and of(100, 120, 110, 105, 60) == []
    assert of(100, 101, 102, 103, 104, 80) == [5]
    assert of(*range(100, 140, 4), 40, 44) == []  # two of twelve are more than a tenth
    assert of(50, 50, 200, 200) == []


def test_a_good_image_is_named_only_once_and_ignored_as_a_whole() -> None:
    conditions = [
        *many(19, brightness=(90, 110), contrast=(35, 45)),
        replace(USUAL, brightness=10, contrast=12, black=1),
    ]
    (image,) = odd_images(conditions)
    assert (image.number, image.quantity) == (19, "brightness")
    assert Limits.learned(conditions).contrast == Limits.learned(conditions[:19]).contrast  # 12 alone is not odd


LIMITS = Limits(
    brightness=(80, 120), white=(-0.05, 0.07), black=(-0.05, 0.02), contrast=(20, 60), focus=(0.1, 0.7), chroma=(4, 70),
    warmth=(0.02, 0.3), red=(1.05, 1.4), blue=(0.8, 1.02), darkest=(70, 110), brightest=(90, 130), plainest=(15, 60),
    softest=(0.3, 0.8), harshest=(0.4, 1.2),
)  # fmt: skip
REMEDY = "look at light, lens and camera"
COLOUR = "is the channel order BGR, is it the right camera and product?"
OTHER = "has other colours than the good images"
COMPLAINTS = {
    "too dark": ({"brightness": 12.3}, f"is too dark: brightness 12.3, good images have 80 to 120; {REMEDY}"),
    "too bright": ({"brightness": 200}, f"is too bright: brightness 200, good images have 80 to 120; {REMEDY}"),
    "overexposed": ({"white": 0.5}, f"is overexposed: 50% of its pixels white, good images have at most 7%; {REMEDY}"),
    "underexposed": ({"black": 1}, f"is underexposed: 100% of its pixels black, good images have at most 2%; {REMEDY}"),
    "contrast": ({"contrast": 0}, f"is without contrast: contrast 0, good images have 20 to 60; {REMEDY}"),
    "blurred": ({"focus": 0.05}, f"is blurred: focus 0.05, good images have 0.1 to 0.7; {REMEDY}"),
    "grey": ({"chroma": 0}, f"{OTHER}: chroma 0, good images have 4 to 70; {COLOUR}"),
    "colourful": ({"chroma": 90}, f"{OTHER}: chroma 90, good images have 4 to 70; {COLOUR}"),
    "less red": ({"red": 0.9}, f"{OTHER}: red over green 0.9, good images have 1.05 to 1.4; {COLOUR}"),
    "redder": ({"red": 1.5}, f"{OTHER}: red over green 1.5, good images have 1.05 to 1.4; {COLOUR}"),
    "bluer": ({"blue": 1.3}, f"{OTHER}: blue over green 1.3, good images have 0.8 to 1.02; {COLOUR}"),
    "swapped": ({"warmth": -0.1}, f"{OTHER}: warmth -0.1, good images have 0.02 to 0.3; {COLOUR}"),
    "the light first": (
        {"brightness": 1, "contrast": 0, "red": 9},
        f"is too dark: brightness 1, good images have 80 to 120; {REMEDY}",
    ),
}
DOUBTS = {
    "dark": ({"darkest": 3}, f"is too dark in a part: brightness of a view 3, good images have 70 to 110; {REMEDY}"),
    "bright": (
        {"brightest": 255},
        f"is too bright in a part: brightness of a view 255, good images have 90 to 130; {REMEDY}",
    ),
    "plain": (
        {"plainest": 0},
        f"is without contrast in a part: contrast of a view 0, good images have 15 to 60; {REMEDY}",
    ),
    "blurred": ({"softest": 0.1}, f"is blurred in a part: focus of a view 0.1, good images have 0.3 to 0.8; {REMEDY}"),
    "noise": ({"harshest": 1.73}, f"looks like noise: focus of a view 1.73, good images have 0.4 to 1.2; {REMEDY}"),
}


@pytest.mark.parametrize("kind", COMPLAINTS)
def test_each_complaint_says_expected_found_and_what_to_look_at(kind: str) -> None:
    change, sentence = COMPLAINTS[kind]
    assert LIMITS.complaint(replace(USUAL, **change)) == f"the frame {sentence}"
    assert LIMITS.doubt(replace(USUAL, **change)) == ""


@pytest.mark.parametrize("kind", DOUBTS)
def test_what_is_a_doubt_only_if_a_frame_scores_as_good(kind: str) -> None:
    change, sentence = DOUBTS[kind]
    assert LIMITS.doubt(replace(USUAL, **change)) == f"the frame {sentence}"
    assert LIMITS.complaint(replace(USUAL, **change)) == ""


def test_at_the_limits_a_frame_is_still_judged_and_with_more_contrast_and_focus_too() -> None:
    assert LIMITS.complaint(USUAL) == LIMITS.doubt(USUAL) == ""
    for change in ({"contrast": 99.0}, {"focus": 9.0}, {"white": -1.0}, {"black": -1.0}, {"plainest": 90.0}):
        assert LIMITS.complaint(replace(USUAL, **change)) == LIMITS.doubt(replace(USUAL, **change)) == ""
    for name in QUANTITIES:
        for end in getattr(LIMITS, name):
            at_it = replace(USUAL, **{name: end})
            assert LIMITS.complaint(at_it) == LIMITS.doubt(at_it) == ""


def test_every_field_has_its_quantity_and_the_limits_survive_json() -> None:
    assert (
        list(FRAME | VIEWS)
        == [field.name for field in fields(Condition) if field.name != "colour"]
        == [field.name for field in fields(Limits)]
    )
    assert Limits.from_fields(Fields(LIMITS.to_json(), where="limits", error=BundleError), source="m") == LIMITS
    for name in asdict(LIMITS):
        reversed_ends = LIMITS.to_json() | {name: [2.0, 1.0]}
        with pytest.raises(BundleError, match=f"expected a lowest and a highest {name}, found"):
            Limits.from_fields(Fields(reversed_ends, where="limits", error=BundleError), source="m")


def test_colour_does_not_depend_on_the_light_and_warmth_not_on_the_white_balance(part: Frames) -> None:
    image = part(0).astype(np.float32)[np.newaxis]
    usual = Condition.of(image)
    lit = Condition.of(image * 0.7)
    assert (lit.red, lit.blue) == (pytest.approx(usual.red, abs=0.01), pytest.approx(usual.blue, abs=0.01))
    assert lit.warmth == pytest.approx(usual.warmth, rel=0.1)
    balanced = Condition.of(image * np.array([1.2, 1, 0.8], np.float32))
    assert balanced.red < usual.red * 0.85 and balanced.blue > usual.blue * 1.15
    assert balanced.warmth == pytest.approx(usual.warmth, rel=0.15)
    swapped = Condition.of(image[..., ::-1])
    assert (swapped.red, swapped.blue) == (pytest.approx(usual.blue), pytest.approx(usual.red))
    assert swapped.warmth == pytest.approx(-usual.warmth) and swapped.chroma == pytest.approx(usual.chroma)
    grey = Condition.of(np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1))
    assert grey.chroma == pytest.approx(0, abs=1e-3) and (grey.red, grey.blue) == pytest.approx((1, 1))


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
    frames = [part(seed) for seed in range(100, 120)] + [part(200, size=(300, 250))]
    frames += [part(seed, flaw=True) for seed in range(120, 126)]
    frames += [image for path in good_images.rglob("*.npy") if (image := np.load(path)).ndim == 3]
    frames += [np.clip(part(300) * light, 0, 255).astype(np.uint8) for light in (0.93, 1.07)]
    frames += [np.clip(part(301) * balance, 0, 255).astype(np.uint8) for balance in ([0.95, 1, 1.05], [1.05, 1, 0.95])]
    for built in (edge, paper):
        scorer, limits = Scorer.open(built.path), built.manifest.limits
        conditions = [Condition.of(scorer.preprocessor(frame)) for frame in frames]
        assert {limits.complaint(condition) or limits.doubt(condition) for condition in conditions} == {""}


@pytest.mark.parametrize("profile", ["edge", "paper"])
def test_frames_of_other_colours_cannot_be_judged(edge: Built, paper: Built, part: Frames, profile: str) -> None:
    """Seven of the eight good images are in colour; the grey one does not make grey frames good."""
    scorer = Scorer.open({"edge": edge, "paper": paper}[profile].path)
    image = part(40)
    for name, frame in (
        ("grey", image.mean(axis=2).astype(np.uint8)),
        ("grey in three channels", np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)),
        ("RGB for BGR", np.ascontiguousarray(image[:, :, ::-1])),
        ("white balance for other light", np.clip(image * [0.75, 1, 1.3], 0, 255).astype(np.uint8)),
    ):
        result = scorer(frame)
        assert result.verdict == "cannot_judge", name
        assert result.reason.startswith("the frame has other colours than the good images: "), (name, result.reason)
        assert result.reason.endswith("; is the channel order BGR, is it the right camera and product?")


def test_a_grey_bundle_notices_colour_and_a_single_grey_image_is_named(part: Frames) -> None:
    views = [part(seed).astype(np.float32)[np.newaxis] for seed in range(8)]
    greys = [np.repeat(view.mean(axis=-1, keepdims=True), 3, axis=-1) for view in views]
    grey = Limits.learned([Condition.of(view) for view in greys])
    assert not any(grey.complaint(Condition.of(view)) for view in greys)
    assert all("other colours" in grey.complaint(Condition.of(view)) for view in views)
    conditions = [Condition.of(greys[i] if i == 5 else views[i]) for i in range(8)]
    (odd,) = odd_images(conditions)
    assert (odd.number, odd.quantity) == (5, "chroma")
    assert odd.reason.startswith("less colourful than the other good images: chroma ")
    assert Limits.learned(conditions).complaint(conditions[5]).startswith("the frame has other colours")


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
    for name in QUANTITIES:
        assert getattr(edge.manifest.limits, name) == pytest.approx(getattr(expected, name), rel=1e-2, abs=1e-3)
