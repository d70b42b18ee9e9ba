"""Damaged image files are refused with their name, and whole ones never are."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries.images import decoding, read_image, read_mask
from spade_edge.galleries.images.completeness import is_complete
from spade_edge.galleries.images.formats import LARGEST, SUFFIXES, UNREAD_SUFFIXES
from spade_edge.runtime import DataError
from spade_edge.runtime.kernels.captured import captured_stderr, write_back

RNG = np.random.default_rng(0)
SMOOTH = cv2.GaussianBlur(RNG.integers(0, 256, (120, 160, 3), np.uint8), (9, 9), 0)
PLAIN = np.maximum(SMOOTH, 20)  # no black pixel
RAW_TIFF = (cv2.IMWRITE_TIFF_COMPRESSION, 1)
DEFLATE_TIFF = (cv2.IMWRITE_TIFF_COMPRESSION, 8)
READS_GIF, READS_AVIF = (cv2.haveImageWriter("x" + suffix) for suffix in (".gif", ".avif"))


def encoded(suffix: str, image: NDArray[np.generic] = PLAIN, *options: int) -> bytes:
    if suffix == ".npy":
        stream = io.BytesIO()
        np.save(stream, image)
        return stream.getvalue()
    return bytes(cv2.imencode(suffix, image, options)[1].tobytes())


KINDS: dict[str, Callable[[], bytes]] = {
    "a.png": lambda: encoded(".png"),
    "a.jpg": lambda: encoded(".jpg"),
    "progressive.jpg": lambda: encoded(".jpg", PLAIN, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts.jpg": lambda: encoded(".jpg", PLAIN, cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
    "a.bmp": lambda: encoded(".bmp"),
    "lzw.tif": lambda: encoded(".tif"),
    "raw.tif": lambda: encoded(".tif", PLAIN, *RAW_TIFF),
    "deflate.tif": lambda: encoded(".tif", PLAIN, *DEFLATE_TIFF),
    "a.webp": lambda: encoded(".webp"),
    "lossless.webp": lambda: encoded(".webp", PLAIN, cv2.IMWRITE_WEBP_QUALITY, 101),
    "a.jp2": lambda: encoded(".jp2"),
    "a.ppm": lambda: encoded(".ppm"),
    "a.npy": lambda: encoded(".npy"),
} | ({"a.gif": lambda: encoded(".gif")} if READS_GIF else {}) | (
    {"a.avif": lambda: encoded(".avif")} if READS_AVIF else {}
)  # fmt: skip


def refused(path: Path, content: bytes, says: str = "expected") -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as problem:
        read_image(path)
    assert str(problem.value).startswith(f"{path}: ") and "\n" not in str(problem.value)


@pytest.mark.parametrize("name", KINDS)
def test_whole_files_are_read_whatever_stands_behind_their_end(name: str, tmp_path: Path) -> None:
    raw = KINDS[name]()
    path = tmp_path / name
    path.write_bytes(raw)
    frame = read_image(path)
    for behind in (bytes(3000), b"\xff\xd8\xff\xe1 a second picture, or a film \xff\xd9", b"ftyp" * 99):
        path.write_bytes(raw + behind)
        assert np.array_equal(read_image(path), frame)
        assert is_complete(raw + behind, path.suffix)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_cut_off_is_refused_at_every_place(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = KINDS[name]()
    for end in (1, 7, 20, *range(40, len(raw) - 40, len(raw) // 12), len(raw) - 1):
        refused(tmp_path / name, raw[:end])
        assert is_complete(raw[:end], Path(name).suffix) is not True
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", KINDS)
def test_space_that_was_reserved_and_not_filled_is_refused(name: str, tmp_path: Path) -> None:
    raw = KINDS[name]()
    for part in (0.0, 0.003, 0.21, 0.5, 0.77):
        written = int(part * len(raw)) // 480 * 480 + 100 * (part > 0.1)  # in the middle of a row
        content = raw[:written] + bytes(len(raw) - written)
        refused(tmp_path / name, content)
        assert is_complete(content, Path(name).suffix) is False or name == "a.avif"  # whose decoder notices


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("a.jp2", "progressive.jpg")])
def test_a_lost_block_is_refused(name: str, tmp_path: Path) -> None:
    raw = KINDS[name]()
    start = len(raw) // 2
    size = min(1100, len(raw) // 4)
    refused(tmp_path / name, raw[:start] + bytes(size) + raw[start + size :])


def test_rows_that_the_disk_never_stored_are_refused(tmp_path: Path) -> None:
    """Without the hole, rows that are black from edge to edge may belong to the scene."""
    grey = np.full((40, 4096 - 128), 99, np.uint8)  # behind a header of 128 bytes, rows 1 and 33 begin at whole blocks
    black = grey.copy()
    black[1:33] = 0
    path = tmp_path / "a.npy"
    path.write_bytes(encoded(".npy", black))
    assert np.array_equal(read_image(path), black)
    raw = encoded(".npy", grey)
    path.unlink()
    with path.open("wb") as file:
        file.write(raw[:4096])
        file.seek(32 * 4096)
        file.write(raw[32 * 4096 :])
    with path.open("rb") as file:
        if not hasattr(os, "SEEK_HOLE") or os.lseek(file.fileno(), 0, os.SEEK_HOLE) == len(raw):
            pytest.skip("this disk stores holes as zeros")
    with pytest.raises(DataError, match="4096 to 131072 have never been written"):
        read_image(path)


def test_zeros_in_a_jpeg_are_refused_unless_they_mean_flat_areas(tmp_path: Path) -> None:
    raw = encoded(".jpg", RNG.integers(0, 256, (120, 160, 3), np.uint8), cv2.IMWRITE_JPEG_QUALITY, 97)
    start = len(raw) // 2
    refused(tmp_path / "a.jpg", raw[:start] + bytes(70) + raw[start + 70 :], "only zeros")
    flat = np.full((1200, 1600), 40, np.uint8)
    flat[:80, :90] = RNG.integers(0, 256, (80, 90))
    raw = encoded(".jpg", flat, cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_QUALITY, 50)
    assert bytes(64) in raw
    (tmp_path / "flat.jpg").write_bytes(raw)
    assert np.abs(read_image(tmp_path / "flat.jpg")[200:].astype(int) - 40).max() <= 1


def test_black_that_belongs_to_the_scene_is_read(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:120, :160]
    disc = (rows - 60) ** 2 + (columns - 80) ** 2 < 50**2
    turned = cv2.warpAffine(PLAIN, cv2.getRotationMatrix2D((80, 60), 4, 1), (160, 120))
    # A border that is turned by less than a pixel ends in the middle of a row.
    border = (rows > 90) | ((rows == 90) & (columns > 80)) | (columns < 2)
    scenes = {
        "hardly turned": np.where(border, 0, 255).astype(np.uint8)[:, :, None] & PLAIN,
        "letterbox": np.where((rows < 31) | (rows > 84), 0, 255).astype(np.uint8)[:, :, None] & PLAIN,
        "pillars": np.where((columns < 31) | (columns > 84), 0, 255).astype(np.uint8)[:, :, None] & PLAIN,
        "disc": np.where(disc, 255, 0).astype(np.uint8)[:, :, None] & PLAIN,
        "below": np.where(rows < 77, 255, 0).astype(np.uint8)[:, :, None] & PLAIN,
        "turned": turned,
        "black": np.zeros_like(PLAIN),
        "dark": np.maximum(SMOOTH.astype(int) - 128, 0).astype(np.uint8),
        "mask": np.where(disc, 255, 0).astype(np.uint8),
        "staircase": np.where((rows < 60) | ((rows == 60) & (columns < 80)) | (rows > 100), 255, 0).astype(np.uint8),
    }
    scenes["labels"] = scenes["staircase"] // 255
    for name, scene in scenes.items():
        for suffix in (".bmp", ".npy", ".ppm" if scene.ndim == 3 else ".pgm"):
            path = tmp_path / f"{name}{suffix}"
            path.write_bytes(encoded(suffix, scene))
            if name not in ("staircase", "labels"):
                assert np.array_equal(read_image(path), scene), name
            if scene.ndim == 2:
                assert np.array_equal(read_mask(path), scene > 0), name


def test_every_checksum_of_a_png_counts(tmp_path: Path) -> None:
    raw = bytearray(encoded(".png"))
    raw[raw.index(b"IDAT") + 900] ^= 1
    refused(tmp_path / "a.png", bytes(raw), "checksum of the chunk IDAT")


def test_restart_markers_must_be_in_turn_and_complete(tmp_path: Path) -> None:
    raw = KINDS["restarts.jpg"]()
    third, fourth, fifth = (raw.index(b"\xff" + bytes([number])) for number in (0xD2, 0xD3, 0xD4))
    refused(tmp_path / "a.jpg", raw[:third] + raw[fourth:], "restart marker 3 stands in place of 2")
    refused(tmp_path / "a.jpg", raw[:third] + raw[fifth : fifth + 2] + raw[third + 2 :], "restart marker 4")
    eighth = len(raw) - 2
    cut = raw[: raw.index(b"\xff\xd0", fifth)] + raw[eighth:]
    refused(tmp_path / "a.jpg", cut, "restart markers in place of")


def test_a_few_bytes_before_the_end_mark_are_a_habit_of_cameras(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = encoded(".jpg")
    path = tmp_path / "camera.jpg"
    for more, is_read in (
        (b"", True),
        (b"\x55", True),
        (bytes([7] * 16), True),
        (b"\xff\xff", True),
        (b"U" * 400, False),
    ):
        path.write_bytes(raw[:-2] + more + raw[-2:])
        if is_read:
            assert np.array_equal(read_image(path), cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR))
        else:
            refused(path, path.read_bytes(), "extraneous bytes")
    assert capfd.readouterr().err == ""


def test_what_the_decoder_complains_about_becomes_one_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    raw = encoded(".jpg")
    refused(tmp_path / "a.jpg", raw[: len(raw) // 2] + b"\xff\xd9", "premature end of data segment")
    assert capfd.readouterr().err == ""


def test_lines_of_others_are_written_on(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_stderr() as said:
        os.write(2, b"a line of another library\nCorrupt JPEG data: bad Huffman code\n")
    assert said == b"a line of another library\nCorrupt JPEG data: bad Huffman code\n"
    write_back(said.splitlines(keepends=True)[0])
    assert capfd.readouterr().err == "a line of another library\n"


def test_a_line_of_another_thread_comes_through_while_a_picture_is_decoded(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cv2.imdecode

    def while_another_writes(*arguments: object) -> object:
        other = threading.Thread(target=os.write, args=(2, b"camera: reconnecting\n"))
        other.start()
        other.join()
        return real(*arguments)

    monkeypatch.setattr(cv2, "imdecode", while_another_writes)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png"))
    assert np.array_equal(read_image(path), PLAIN)
    assert capfd.readouterr().err == "camera: reconnecting\n"


def test_pictures_are_read_where_stderr_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(".jpg"))
    expected = read_image(path)
    kept = os.dup(2)
    os.close(2)
    try:
        found = read_image(path)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert np.array_equal(found, expected)


def test_strips_without_bytes_or_beyond_the_file_are_refused(tmp_path: Path) -> None:
    raw = encoded(".tif", PLAIN, *RAW_TIFF)
    (directory,) = struct.unpack_from("<I", raw, 4)
    (entries,) = struct.unpack_from("<H", raw, directory)
    values = {}
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, _, count, value = struct.unpack_from("<HHII", raw, entry)
        values[tag] = value if count > 1 else entry + 8
    for tag, number, says in (
        (273, 0, "never been written"),
        (279, 0, "never been written"),
        (273, 1 << 30, "cut-off"),
    ):
        hole = bytearray(raw)
        struct.pack_into("<I", hole, values[tag], number)
        refused(tmp_path / "a.tif", bytes(hole), says)


def test_sizes_are_looked_at_before_reading_and_decoding(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"huge{suffix}"
        with path.open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(DataError, match="at most 2 GB"):
            read_image(path)
        path.unlink()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )
    assert LARGEST < 60_000 * 60_000 * 3
    refused(tmp_path / "bomb.png", bomb, "60,000x60,000")


def test_opencv_is_asked_for_errors_even_where_it_was_silenced(tmp_path: Path) -> None:
    logging = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    before = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        raw = KINDS["lzw.tif"]()
        start = len(raw) // 2
        damaged = raw[:start] + b"\x55" * 900 + raw[start + 900 :]
        with captured_stderr() as said:
            logging.setLogLevel(2)
            cv2.imdecode(np.frombuffer(damaged, np.uint8), cv2.IMREAD_UNCHANGED)
            logging.setLogLevel(0)
        if not said:
            pytest.skip("this OpenCV says nothing about damage in a TIFF")
        refused(tmp_path / "a.tif", damaged)
        assert logging.getLogLevel() == 0
    finally:
        logging.setLogLevel(before)


def test_kinds_that_are_not_read_are_named_with_a_remedy(tmp_path: Path) -> None:
    assert not set(SUFFIXES) & set(UNREAD_SUFFIXES)
    for content, says in (
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC.*convert"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42isom" + bytes(99), "video.*convert"),
        (b"8BPS\0\1" + bytes(99), "Photoshop.*save"),
        (b"v/1\x01" + bytes(99), "OpenEXR.*save"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG.*render"),
        (b"PF\n2 2\n-1\n" + bytes(48), "PFM.*save"),
        (b"\xff\x0a" + bytes(99), "JPEG XL.*convert"),
        (b"these are words, not pixels\n" * 50, "no kind of image"),
    ):
        refused(tmp_path / "a.png", content, says)


def test_harmless_is_between_what_cameras_do_and_what_damage_leaves() -> None:
    assert 10 <= decoding.HARMLESS < 32
