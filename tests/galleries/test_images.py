"""Reading good images of every kind, and refusing what is none."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from spade_edge.galleries.images import read_image
from spade_edge.runtime import DataError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (30, 20, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (30, 20), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".PNG", ".ppm", ".npy"])
def test_lossless_colour_comes_back_as_bgr(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ünïcode {suffix[1:]}{suffix}"
    if suffix == ".npy":
        np.save(path, COLOUR)
    else:
        path.write_bytes(cv2.imencode(suffix.lower(), COLOUR)[1].tobytes())
    assert np.array_equal(read_image(path), COLOUR)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pgm", ".npy"])
def test_grey_stays_grey(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"grey{suffix}"
    if suffix == ".npy":
        np.save(path, GREY[:, :, None])
    else:
        path.write_bytes(cv2.imencode(suffix, GREY)[1].tobytes())
    assert np.array_equal(read_image(path), GREY)


def test_jpeg(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    (tmp_path / "a.jpg").write_bytes(cv2.imencode(".jpg", flat)[1].tobytes())
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - flat).max() <= 3


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 65535, 1000]], np.uint16)
    (tmp_path / "deep.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    assert read_image(tmp_path / "deep.png").tolist() == [[0, 1, 255, 3]]
    colour = np.stack([deep] * 3, axis=-1)
    (tmp_path / "deep.tif").write_bytes(cv2.imencode(".tif", colour)[1].tobytes())
    assert read_image(tmp_path / "deep.tif").shape == (1, 4, 3)


def test_other_kinds_of_pnm_go_to_opencv(tmp_path: Path) -> None:
    (tmp_path / "ascii.pgm").write_bytes(b"P2 2 1 255\n12 13\n")
    (tmp_path / "deep.pgm").write_bytes(b"P5 1 1 65535\n\xff\xff")
    assert read_image(tmp_path / "ascii.pgm").tolist() == [[12, 13]]
    assert read_image(tmp_path / "deep.pgm").tolist() == [[255]]


def test_opaque_alpha_changes_nothing(tmp_path: Path) -> None:
    rgba = np.dstack([COLOUR, np.full((30, 20), 255, np.uint8)])
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", rgba)[1].tobytes())
    assert np.array_equal(read_image(tmp_path / "a.png"), COLOUR)


def png() -> bytes:
    return bytes(cv2.imencode(".png", COLOUR)[1].tobytes())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("zero.png", b""),
        ("text.png", b"these are words, not pixels\n" * 50),
        ("cut.png", png()[:40]),
        ("half.png", png()[:-600]),
        ("half.jpg", bytes(cv2.imencode(".jpg", np.tile(COLOUR, (9, 9, 1)))[1].tobytes())[:-2000]),
        ("text.jpg", b"\xff\xd8\xff not really"),
        ("zero.npy", b""),
        ("text.npy", b"\x93NUMPY nonsense"),
        ("short.pgm", b"P5 4 4 255\n123"),
        ("nothing.ppm", b"P6 0 5 255\n"),
    ],
)
def test_what_is_no_image_is_named_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: expected") as caught:
        read_image(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_arrays_that_are_no_image_are_refused(tmp_path: Path) -> None:
    for array in (np.zeros((3, 3), np.float32), np.zeros((2, 3, 4, 5), np.uint8), np.zeros((0, 3), np.uint8)):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(DataError, match="expected"):
            read_image(tmp_path / "a.npy")
    with (tmp_path / "archive.npy").open("wb") as file:
        np.savez(file, GREY)
    with pytest.raises(DataError, match="found an archive"):
        read_image(tmp_path / "archive.npy")
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects"):
        read_image(tmp_path / "pickle.npy")


def test_what_might_never_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "broken.png").symlink_to(tmp_path / "absent")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("broken.png", "device.png", "folder.png", "pipe.png"):
        with pytest.raises(DataError, match="expected an image file, found"):
            read_image(tmp_path / name)
