"""Good images of one kind: what is named and stops a build, and what differs by nature and does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, build
from spade_edge.galleries.bits import Bits
from spade_edge.galleries.requirements import check_content
from spade_edge.galleries.sameness import Shape, check_alike
from spade_edge.galleries.sample_views import sample_views
from spade_edge.runtime import DataError, Scorer, UsageError
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.preprocessing.colour import BANDS, Colour
from spade_edge.runtime.preprocessing.condition import Condition

Frames = Callable[..., NDArray[np.uint8]]
FOLDER = Path("good")
IN_COLOUR = Colour(saturation=30.0, redness=(0.1,) * BANDS)
GREY = Colour(saturation=0.0, redness=(0.0,) * BANDS)
TRACE = Colour(saturation=0.3, redness=(0.0,) * BANDS)
USUAL = Shape("", (480, 640), 8, IN_COLOUR)


def many(*others: Shape, count: int = 12) -> list[Shape]:
    """Usual shapes and some others in the middle, each with a name of its own."""
    shapes = [USUAL] * (count - len(others))
    shapes[3:3] = others
    return [replace(shape, name=f"{i:02d}.png") for i, shape in enumerate(shapes)]


MIXTURES = {
    "one grey": (many(replace(USUAL, colour=GREY)), "1 of 12 is grey, the others in colour: 03.png"),
    "half of them grey": (
        many(*[replace(USUAL, colour=GREY)] * 6),
        "6 of 12 are grey, the others in colour: 03.png, 04.png, 05.png, 06.png, 07.png and 1 more",
    ),
    "most grey": (
        many(*[replace(USUAL, colour=GREY)] * 10),
        "2 of 12 are in colour, the others grey: ",
    ),
    "one deep": (many(replace(USUAL, depth=16)), "1 of 12 is stored in 16 bits per channel, the others in 8: 03.png"),
    "most deep": (many(*[replace(USUAL, depth=16)] * 11), "1 of 12 is stored in 8 bits per channel, the others in 16"),
    "one on its side": (
        many(replace(USUAL, size=(640, 480))),
        "1 of 12 is of 480x640 pixels, most of 640x480: 03.png",
    ),
    "one half as large": (many(replace(USUAL, size=(240, 320))), "1 of 12 is of 320x240 pixels, most of 640x480"),
    "one cropped": (many(replace(USUAL, size=(460, 640))), "1 of 12 is of 640x460 pixels, most of 640x480"),
    "two faults": (
        many(replace(USUAL, size=(240, 320)), replace(USUAL, colour=GREY)),
        "1 of 12 is grey, the others in colour: 04.png; 1 of 12 is of 320x240 pixels",
    ),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_images_of_another_kind_are_named(name: str) -> None:
    shapes, says = MIXTURES[name]
    with pytest.raises(DataError) as caught:
        check_alike(FOLDER, shapes, even_so=False)
    text = str(caught.value)
    assert text.startswith("good: expected good images of one kind") and says in text and "--even-so" in text
    told = check_alike(FOLDER, shapes, even_so=True)
    assert all(line.startswith("going on even so: ") for line in told) and says.split("; ")[0] in told[0]


@pytest.mark.parametrize(
    "shapes",
    [
        many(),
        many(replace(USUAL, colour=TRACE)),  # a codec's trace of colour is neither
        [replace(shape, colour=(GREY, TRACE)[i % 2]) for i, shape in enumerate(many())],
    ],
)
def test_images_of_one_kind_need_no_word(shapes: list[Shape]) -> None:
    assert check_alike(FOLDER, shapes, even_so=False) == ()


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ([(100 + 7 * i, 300 - 13 * i) for i in range(12)], "12 sizes"),  # cut out by hand
        ([(480 + i % 3, 640 + i % 2) for i in range(12)], "6 sizes"),  # crops that differ by a few pixels
        ([(480, 640)] * 10 + [(484, 640), (480, 636)], "3 sizes"),
        ([(480, 640)] * 6 + [(640, 480)] * 6, "2 sizes"),  # no majority: two views of a part, say
    ],
)
def test_sizes_that_differ_by_nature_are_told_and_go_on(sizes: list[tuple[int, int]], says: str) -> None:
    (line,) = check_alike(FOLDER, [replace(USUAL, size=size) for size in sizes], even_so=False)
    assert says in line


def picture(name: str, image: NDArray[np.generic], folder: Path) -> None:
    assert cv2.imwrite(str(folder / name), image)


@pytest.fixture
def parts(tmp_path: Path, part: Frames) -> Callable[..., Path]:
    """Writes a folder of eight parts; `change` makes the picture of number i."""

    def write(change: Callable[[int, NDArray[np.uint8]], NDArray[np.generic]]) -> Path:
        folder = tmp_path / "good"
        folder.mkdir()
        for seed in range(8):
            picture(f"{seed}.png", change(seed, part(seed)), folder)
        return folder

    return write


def deep(image: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    """As a camera of so many bits gives it, with noise in the bits below."""
    noise = np.random.default_rng(0).integers(0, 1 << (bits - 8), image.shape, np.uint16)
    return (image.astype(np.uint16) << (bits - 8)) + noise


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_the_bits_of_a_camera_are_found_and_its_frames_score_as_with_8(
    model: Path, parts: Callable[..., Path], tmp_path: Path, part: Frames, bits: int
) -> None:
    def bright(i: int, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        image[0, 0] = 255  # a highlight
        return image

    folder = parts(lambda i, image: deep(bright(i, image), bits))
    built = build(folder, model=model, output=tmp_path / "deep.spade")
    assert (built.manifest.format.depth, built.manifest.format.bits) == (16, bits)
    assert sum(f"{bits} bits in 16" in line for line in built.remarks) == 1
    for seed in range(8):
        picture(f"{seed}.png", bright(seed, part(seed)), folder)
    usual = build(folder, model=model, output=tmp_path / "usual.spade")
    assert (usual.manifest.format.depth, usual.manifest.format.bits) == (8, None)
    assert usual.manifest.threshold.score == built.manifest.threshold.score
    frame = part(40, flaw=True)
    assert Scorer.open(usual.path)(frame).score == Scorer.open(built.path)(frame).score


def test_images_that_need_different_bits_are_refused_until_they_are_given(
    model: Path, parts: Callable[..., Path], tmp_path: Path
) -> None:
    folder = parts(lambda i, image: deep(np.minimum(image, 60), 12) if i == 3 else deep(image, 12))
    output = tmp_path / "b.spade"
    with pytest.raises(DataError) as caught:
        build(folder, model=model, output=output)
    text = str(caught.value)
    assert "1 with numbers below 1,024 (10 bits, such as 3.png)" in text and "at least 12" in text
    assert "7 with numbers below 4,096 (12 bits, such as 0.png)" in text
    built = build(folder, model=model, output=output, options=BuildOptions(bits=12))
    assert built.manifest.format.bits == 12 and not any("bits" in line for line in built.remarks)
    with pytest.raises(DataError, match=r"0\.png: expected numbers of 10 bits, up to 1,023, found .*--bits 12"):
        build(folder, model=model, output=output, options=BuildOptions(bits=10))
    for bits in (7, 17):
        with pytest.raises(UsageError):
            BuildOptions(bits=bits)


def test_the_first_image_may_be_the_darkest(tmp_path: Path) -> None:
    for name, largest in (("a", 200), ("b", 900), ("c", 4000)):
        picture(f"{name}.png", np.full((4, 4), largest, np.uint16), tmp_path)
    camera = Bits(None)
    for name in "abc":
        camera.read(tmp_path / f"{name}.png")
    with pytest.raises(DataError, match="at least 12"):
        camera.check(tmp_path)


def test_a_file_that_knows_its_range_needs_no_guess(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 1000\n" + np.array([500, 1000], ">u2").tobytes())
    camera = Bits(None)
    assert camera.read(tmp_path / "a.pgm").frame.tolist() == [[127, 255]]
    assert camera.used is None and camera.check(tmp_path) == ""


def test_left_aligned_numbers_use_all_bits(tmp_path: Path) -> None:
    stored = np.array([[0, 16, 255 << 8, 65535 - 15]], np.uint16)  # 12 bits, times 16
    picture("a.png", stored, tmp_path)
    camera = Bits(None)
    assert camera.read(tmp_path / "a.png").frame.tolist() == [[0, 0, 255, 255]] and camera.used == 16


def condition(image: NDArray[np.generic]) -> Condition:
    return Condition.of(np.repeat(image.astype(np.float32)[None, :, :, None], 3, axis=3))


def test_good_images_that_show_nothing_are_refused_and_dark_ones_pass(part: Frames) -> None:
    rng = np.random.default_rng(0)
    seen = [condition(part(seed).mean(axis=2)) for seed in range(6)]
    cap = [condition(np.clip(rng.normal(4, 1.5, (64, 64)), 0, 255).round()) for _ in range(6)]
    burnt = [condition(np.clip(rng.normal(253, 1.5, (64, 64)), 0, 255).round()) for _ in range(6)]
    dark = [condition((part(seed).mean(axis=2) * 0.12).round()) for seed in range(6)]
    bright = [condition(235 + (part(seed).mean(axis=2) * 0.12).round()) for seed in range(6)]
    paper = [condition(np.clip(rng.normal(200, 1.5, (64, 64)), 0, 255)) for _ in range(6)]
    for usable in (seen, dark, bright, paper, seen + cap[:2]):
        check_content(FOLDER, usable)
    for shows, what in ((cap, "6 of 6 nearly black"), (burnt, "6 of 6 nearly white"), (seen + cap, "6 of 12 nearly")):
        with pytest.raises(DataError, match=what):
            check_content(FOLDER, shows)


def test_a_build_names_the_one_that_is_grey_and_goes_on_if_it_is_meant_or_excluded(
    model: Path, parts: Callable[..., Path], tmp_path: Path, part: Frames
) -> None:
    folder = parts(lambda i, image: image[:, :, :1].repeat(3, axis=2) if i == 5 else image)
    output = tmp_path / "b.spade"
    with pytest.raises(DataError, match=r"1 of 8 is grey, the others in colour: 5\.png"):
        build(folder, model=model, output=output)
    assert not output.exists()
    meant = build(folder, model=model, output=output, options=BuildOptions(even_so=True))
    assert meant.manifest.format.colour == "both" and meant.remarks[0].startswith("going on even so: 1 of 8 is grey")
    without = build(folder, model=model, output=output, options=BuildOptions(exclude=("5.png",)))
    assert without.manifest.format.colour == "colour" and not any("grey" in line for line in without.remarks)
    assert [image.size for image in without.manifest.images] == [(96, 80)] * 8


def test_turned_images_are_counted(model: Path, parts: Callable[..., Path], tmp_path: Path, part: Frames) -> None:
    folder = parts(lambda i, image: image)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    for seed in (1, 2):
        jpeg = cv2.imencode(".jpg", np.rot90(part(seed)), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
        marked = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
        (folder / f"{seed}.png").unlink()
        (folder / f"{seed}.jpg").write_bytes(marked)
    built = build(folder, model=model, output=tmp_path / "b.spade")
    assert "2 of 8 good images were turned as their Exif data say" in built.remarks
    assert {image.size for image in built.manifest.images} == {(96, 80)}


def test_a_sample_for_8_bit_networks_is_read_with_the_bits_of_the_camera(
    parts: Callable[..., Path], tmp_path: Path, part: Frames
) -> None:
    deep_folder = parts(lambda i, image: deep(np.maximum(image, 4 * i), 12))
    found = sample_views(deep_folder, View((64, 64), (64, 64)))
    for seed in range(8):
        picture(f"{seed}.png", np.maximum(part(seed), 4 * seed), deep_folder)
    assert np.array_equal(found, sample_views(deep_folder, View((64, 64), (64, 64))))
