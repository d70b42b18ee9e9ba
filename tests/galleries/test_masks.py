"""Masks as programs store them: read rightly, against the labels that were written, or refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import palettes
import pytest
from numpy.typing import NDArray

from spade_edge.galleries.images.mask import looks_inverted, read_mask, read_masks
from spade_edge.runtime import DataError

LABELS = np.zeros((23, 31), np.uint8)  # sides that no row of bits fills
LABELS[2:5, 3:9], LABELS[9, 1], LABELS[12:20, 14:30] = 1, 2, 3
MARKED = LABELS > 0
NAMES = [name for name in palettes.WRITERS if palettes.can_read(name)]
COLOURS = np.array([[10, 200, 30], [128, 0, 0], [0, 128, 0], [0, 0, 128]], np.uint8)


def write(path: Path, pixels: NDArray[np.generic] | bytes, *options: int) -> Path:
    if isinstance(pixels, bytes):
        path.write_bytes(pixels)
    elif path.suffix == ".npy":
        np.save(path, pixels)
    else:
        path.write_bytes(cv2.imencode(path.suffix.lower(), pixels, options)[1].tobytes())
    return path


def refused(path: Path, says: str) -> None:
    with pytest.raises(DataError, match=says) as problem:
        read_mask(path)
    assert str(problem.value).startswith(str(path)) and "\n" not in str(problem.value)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_small_labels_of_any_depth(tmp_path: Path, suffix: str) -> None:
    for kind, times in ((np.uint8, 1), (np.uint8, 80), (np.uint16, 1), (np.uint16, 85), (np.uint16, 21845)):
        path = write(tmp_path / f"a{suffix}", LABELS.astype(kind) * kind(times))
        assert np.array_equal(read_mask(path), MARKED), (kind, times)
        colour = np.zeros((*LABELS.shape, 3), kind)
        colour[..., 2] = LABELS.astype(kind) * kind(times)
        assert np.array_equal(read_mask(write(path, colour)), MARKED)


@pytest.mark.parametrize("kind", [bool, np.int8, np.int64, np.uint32, np.float32, np.float64, ">i4", ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_all_types(tmp_path: Path, kind: str, order: str) -> None:
    labels = np.array(LABELS, dtype=kind, order=order)  # type: ignore[call-overload]
    assert np.array_equal(read_mask(write(tmp_path / "a.npy", labels)), MARKED)
    np.save(tmp_path / "b.npy", labels[:, :, None])
    (tmp_path / "b.npy").rename(tmp_path / "b.NPY")
    assert np.array_equal(read_mask(tmp_path / "b.NPY"), MARKED)


def test_floats_in_tiff(tmp_path: Path) -> None:
    assert np.array_equal(read_mask(write(tmp_path / "a.tif", LABELS.astype(np.float32))), MARKED)
    refused(write(tmp_path / "b.tif", LABELS.astype(np.float32) / 4), "expected a mask of whole numbers")


def test_arrays_that_are_no_mask(tmp_path: Path) -> None:
    holed = LABELS.astype(np.float32)
    holed[0, 0] = np.nan
    for array, says in (
        (LABELS / 4, "found fractions"),
        (holed, "found fractions"),
        (LABELS.astype(np.int16) - 1, "expected a mask of numbers from 0, found -1"),
        (LABELS.astype(complex), "expected a mask of numbers"),
        (LABELS.astype("U1"), "expected"),
        (np.stack([LABELS] * 5), "5x23x31"),
        (LABELS[0], "found 31 uint8"),
        (LABELS[:0], "expected"),
    ):
        refused(write(tmp_path / "a.npy", array), says)


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_a_palette_are_the_labels(tmp_path: Path, name: str) -> None:
    """Whatever the colours are: that of the background is not black, and a label without a colour counts."""
    for colours in (
        COLOURS,
        COLOURS[::-1],
        COLOURS * 0,
        np.array([[0, 0, 0], [0, 0, 0], [9, 9, 9], [1, 0, 0]], np.uint8),
    ):
        path = write(tmp_path / name, palettes.WRITERS[name](LABELS, colours))
        assert np.array_equal(read_mask(path), MARKED), colours.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_a_palette_that_may_mean_either(tmp_path: Path, name: str) -> None:
    """A white entry 0 beside a black one: a white background, or a picture whose colours were sorted."""
    either = np.array([[255, 255, 255], [0, 0, 0], [0, 0, 0], [0, 0, 0]], np.uint8)
    refused(
        write(tmp_path / name, palettes.WRITERS[name](LABELS, either)), "entry 0 is #ffffff while another one is black"
    )
    # Where entry 0 is not in use, black is the background.
    sorted_colours = np.array([[255, 255, 255], [0, 0, 0], [200, 0, 0], [9, 9, 9]], np.uint8)
    numbers = np.maximum(LABELS, 1)
    path = write(tmp_path / name, palettes.WRITERS[name](numbers, sorted_colours))
    assert np.array_equal(read_mask(path), LABELS > 1)


def test_transparent_entries_of_palettes(tmp_path: Path) -> None:
    black = COLOURS * 0
    drawn = np.where(MARKED, 0, 1).astype(np.uint8)  # a black brush is entry 0, what is transparent entry 1
    for numbers, colours, clear in ((LABELS, black, 0), (LABELS, COLOURS, 0), (drawn, black, 1), (drawn, COLOURS, 1)):
        opacity = bytes(0 if entry == clear else 255 for entry in range(4))
        path = write(tmp_path / "a.png", palettes.png(numbers, colours, opacity=opacity))
        assert np.array_equal(read_mask(path), MARKED)
        if "a.gif" in NAMES:
            path = write(tmp_path / "a.gif", palettes.gif(numbers, colours, clear=clear))
            assert np.array_equal(read_mask(path), MARKED)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_what_is_transparent_is_not_marked(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    shade = rng.integers(1, 256, (*LABELS.shape, 3), dtype=np.uint8)
    opacity = MARKED * np.uint8(255)
    soft = np.where(MARKED, rng.integers(1, 256, LABELS.shape), 0).astype(np.uint8)
    white_on_black = np.repeat(opacity[:, :, None], 3, axis=2)
    for colours, opaque in (
        (shade, opacity),  # whatever colours lie under what is transparent
        (shade * 0, opacity),  # a black brush
        (shade * 0 + 255, opacity),  # a white one
        (shade, soft),
        (white_on_black, opacity * 0 + 255),
        (white_on_black, np.where(MARKED | (np.arange(31) > 5), 255, 0).astype(np.uint8)),  # a turned picture's corners
    ):
        path = write(tmp_path / f"a{suffix}", np.dstack([colours, opaque]))
        assert np.array_equal(read_mask(path), MARKED)
    refused(write(tmp_path / f"b{suffix}", np.dstack([shade, opacity * 0])), "found every pixel transparent")


def test_the_fourth_byte_of_a_bitmap(tmp_path: Path) -> None:
    """It is opacity if anything is in it, and padding otherwise."""
    for down in (1, -1):
        for colour, fourth in ((0, 255), (255, 0), (255, 255)):
            pixels = np.zeros((*LABELS.shape, 4), np.uint8)
            pixels[MARKED, :3], pixels[MARKED, 3] = colour, fourth
            raw = (
                b"BM"
                + struct.pack("<IHHI", 54 + pixels.size, 0, 0, 54)
                + struct.pack("<IiiHHIIiiII", 40, 31, 23 * down, 1, 32, 0, pixels.size, 2835, 2835, 0, 0)
                + pixels[::-down].tobytes()
            )
            assert np.array_equal(read_mask(write(tmp_path / "a.bmp", raw)), MARKED)


@pytest.mark.parametrize("largest", [1, 3, 255, 256, 65535])
def test_portable_maps_keep_their_numbers(tmp_path: Path, largest: int) -> None:
    labels = np.minimum(LABELS.astype(int), largest).astype(">u2" if largest > 255 else "u1")
    header = b"P5\n# drawn by hand\n31 23 %d\n" % largest
    assert np.array_equal(read_mask(write(tmp_path / "a.pgm", header + labels.tobytes())), MARKED)
    colour = np.dstack([labels * 0, labels, labels * 0]).astype(labels.dtype)
    assert np.array_equal(read_mask(write(tmp_path / "a.ppm", b"P6 31 23 %d\n" % largest + colour.tobytes())), MARKED)


def test_one_bit_for_a_pixel(tmp_path: Path) -> None:
    white = MARKED * np.uint8(255)
    assert np.array_equal(read_mask(write(tmp_path / "a.png", white, cv2.IMWRITE_PNG_BILEVEL, 1)), MARKED)
    black_and_white = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    for write_palette, name in ((palettes.png, "b.png"), (palettes.bmp, "b.bmp"), (palettes.tiff, "b.tif")):
        raw = write_palette(MARKED.astype(np.uint8), black_and_white, depth=1)  # type: ignore[operator]
        assert np.array_equal(read_mask(write(tmp_path / name, raw)), MARKED)


def shapes() -> NDArray[np.bool_]:
    """A large disc, a scratch, and an edge at the border."""
    image = np.zeros((120, 160), np.uint8)
    cv2.circle(image, (60, 50), 25, 1, -1)
    cv2.line(image, (100, 20), (150, 100), 1, 4)
    image[110:, :30] = 1
    return image.astype(bool)


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_a_jpeg_is_cut_in_the_middle(tmp_path: Path, quality: int) -> None:
    """No more than the edge of a shape may move, by a pixel; any number over 0 would mark whole blocks."""
    mask = shapes()
    grey = mask * np.uint8(255)
    red = np.zeros((*mask.shape, 3), np.uint8)
    red[mask, 2] = 255
    for pixels in (grey, red):
        path = write(tmp_path / "a.jpg", pixels, cv2.IMWRITE_JPEG_QUALITY, quality)
        found = read_mask(path)
        around = np.ones((3, 3), np.uint8)
        assert not (found & (cv2.dilate(mask.astype(np.uint8), around) == 0)).any()
        assert not (~found & (cv2.erode(mask.astype(np.uint8), around) > 0)).any()
        assert (cv2.imread(str(path)).max(axis=2) > 0).sum() > 1.05 * mask.sum()
    path = write(tmp_path / "a.jpg", grey, cv2.IMWRITE_JPEG_QUALITY, quality)
    assert (read_mask(path) != mask).sum() < 0.03 * mask.sum()


def test_labels_in_a_lossy_file_are_refused(tmp_path: Path) -> None:
    mask = shapes()
    for value in (1, 38, 100, 140):
        refused(write(tmp_path / "a.jpg", mask * np.uint8(value)), "expected black and white")
    two = mask * np.uint8(255)
    two[110:, :30] = 90
    refused(write(tmp_path / "a.jpg", two), "areas of middle grey; .*PNG")
    assert not read_mask(write(tmp_path / "a.jpg", mask * np.uint8(0))).any()


@pytest.mark.parametrize("lossless", [True, False])
def test_webp(tmp_path: Path, lossless: bool) -> None:
    mask = shapes()
    path = write(tmp_path / "a.webp", mask * np.uint8(255), cv2.IMWRITE_WEBP_QUALITY, 101 if lossless else 60)
    assert (read_mask(path) != mask).sum() <= (0 if lossless else 0.03 * mask.sum())
    path = write(tmp_path / "a.webp", mask * np.uint8(2), cv2.IMWRITE_WEBP_QUALITY, 101 if lossless else 60)
    if lossless:
        assert np.array_equal(read_mask(path), mask)
    else:
        refused(path, "expected black and white")


def test_a_mask_that_is_almost_empty_is_whole(tmp_path: Path) -> None:
    """Rows of zeros, which in a frame are damage, are what masks consist of."""
    mask = np.zeros((200, 300), np.uint8)
    mask[0, 0] = 1
    for suffix in (".bmp", ".tif", ".npy", ".png", ".pgm"):
        assert np.argwhere(read_mask(write(tmp_path / f"a{suffix}", mask))).tolist() == [[0, 0]]
    for suffix in (".bmp", ".tif", ".npy", ".png", ".pgm"):
        assert not read_mask(write(tmp_path / f"a{suffix}", mask * 0)).any()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.npy", "a.pgm", "a.tif"])
def test_a_damaged_mask_is_refused(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 2, (60, 80)).astype(np.uint8) * 255
    whole = write(tmp_path / name, noise).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    refused(tmp_path / name, "expected")
    if name in palettes.WRITERS:
        whole = palettes.WRITERS[name](noise // 255, COLOURS)
        (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
        refused(tmp_path / name, "expected")


def test_the_masks_of_one_image_are_one(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{label}.png", (label == LABELS) * np.uint8(label)) for label in (1, 2, 3)]
    assert np.array_equal(read_masks(paths), MARKED)
    assert np.array_equal(read_masks(paths[:2]), (LABELS == 1) | (LABELS == 2))
    write(paths[2], LABELS.T)
    with pytest.raises(DataError, match=r"3\.png: expected 31x23 pixels like 1\.png"):
        read_masks(paths)


def test_inverted_masks_are_suspected() -> None:
    mask = np.zeros((10, 12), bool)
    mask[3:6, 2:7] = True
    assert looks_inverted(~mask) and not looks_inverted(mask)
    corner = mask.copy()
    corner[:, :8] = True  # more than half, but not in all corners
    assert not looks_inverted(corner) and looks_inverted(mask | True)
    assert not looks_inverted(np.pad(np.zeros((8, 10), bool), 1, constant_values=True))  # a frame around nothing


def test_a_grey_value_that_stands_for_transparent(tmp_path: Path) -> None:
    """A black brush on white, where white is declared to be transparent."""
    whole = bytes(cv2.imencode(".png", np.where(MARKED, 0, 255).astype(np.uint8))[1].tobytes())
    chunk = b"tRNS" + struct.pack(">H", 255)
    raw = whole[:33] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[33:]
    assert np.array_equal(read_mask(write(tmp_path / "a.png", raw)), MARKED)


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    layers = [(label == LABELS).astype(np.uint8) for label in (1, 2, 3)]
    cv2.imwritemulti(str(tmp_path / "a.tif"), layers)
    refused(tmp_path / "a.tif", "expected a mask of one picture, found 3")
    for number, layer in enumerate(layers, start=1):
        assert np.array_equal(read_mask(tmp_path / f"a.tif#{number}"), layer > 0)
    refused(tmp_path / "a.tif#4", "from 1 to 3, found 4")


def test_a_mask_is_turned_as_it_says(tmp_path: Path) -> None:
    """As its image is, if a program that copies EXIF data drew it."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    mask = shapes()
    raw = cv2.imencode(".jpg", mask * np.uint8(255))[1].tobytes()
    path = write(tmp_path / "a.jpg", raw[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + raw[2:])
    found, expected = read_mask(path), np.rot90(mask, -1)
    assert found.shape == expected.shape and (found != expected).sum() < 0.03 * mask.sum()
