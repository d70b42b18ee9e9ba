"""One picture, one frame: whatever the format, its orientation, depth, transparency and pages."""

from __future__ import annotations

import base64
import io
import logging
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries.images import file_of, notices, pages, read_image, read_picture
from spade_edge.galleries.images.exif import orientation
from spade_edge.runtime import DataError
from spade_edge.runtime.preprocessing.mask import PAINT

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (37, 29, 3), np.uint8)
GREY = RNG.integers(0, 256, (37, 29), np.uint8)
DEEP = RNG.integers(0, 65536, (37, 29), np.uint16)
NEUTRAL = np.rint(PAINT)
READS_AVIF = cv2.haveImageWriter("x.avif")


def encoded(suffix: str, image: NDArray[np.generic], *options: int) -> bytes:
    if suffix == ".npy":
        stream = io.BytesIO()
        np.save(stream, image)
        return stream.getvalue()
    return bytes(cv2.imencode(suffix, image, options)[1].tobytes())


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def packed(part: NDArray[np.uint8]) -> bytes:
    """PackBits without any repetition: up to 128 bytes after their number less 1, and each row by itself."""
    rows = (row.tobytes() for row in part.reshape(len(part), -1))
    return b"".join(bytes([len(piece) - 1]) + piece for row in rows for at in range(0, len(row), 128)
                    for piece in (row[at : at + 128],))  # fmt: skip


def tiff(
    image: NDArray[np.generic],
    *,
    order: str = "<",
    big: bool = False,
    tile: int | None = None,
    strip: int | None = None,
    deflate: bool = False,
    packbits: bool = False,
    difference: bool = False,
    planes: bool = False,
    white_is_zero: bool = False,
    turn: int = 1,
    extra: int | None = None,
    kinds: tuple[int, ...] = (0,),
) -> bytes:
    """A TIFF as the specification says, with one page for each kind; later pages are darker. Colours are RGB."""
    word, size_of_word, kind_of_word, count = ("Q", 8, 16, "Q") if big else ("I", 4, 4, "H")
    file = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42))
    file += struct.pack(order + "HHQ", 8, 0, 0) if big else bytes(4)
    link = len(file) - size_of_word
    for number, kind in enumerate(kinds):
        pixels = image.reshape(*image.shape[:2], -1) >> number
        height, width, channels = pixels.shape
        if white_is_zero:
            pixels = np.iinfo(image.dtype).max - pixels
        rows, columns = (tile, tile) if tile else (strip or height, width)
        parts = []
        for plane in range(channels) if planes else [slice(None)]:
            for y in range(0, height, rows):
                for x in range(0, width, columns):
                    part = pixels[y : y + rows, x : x + columns, plane].reshape(
                        len(pixels[y : y + rows]), -1, 1 if planes else channels
                    )
                    if tile:
                        part = np.pad(part, ((0, rows - len(part)), (0, columns - part.shape[1]), (0, 0)))
                    if difference:
                        part = np.diff(part, axis=1, prepend=np.zeros_like(part[:, :1]))
                    raw = part.astype(image.dtype.newbyteorder(order)).tobytes()
                    parts.append(zlib.compress(raw) if deflate else packed(part.astype(np.uint8)) if packbits else raw)
        offsets = []
        for part in parts:
            offsets.append(len(file))
            file += part + bytes(len(part) % 2)
        tags = {
            254: (4, [kind]),
            256: (3, [width]),
            257: (3, [height]),
            258: (3, [8 * image.dtype.itemsize] * channels),
            259: (3, [8 if deflate else 32773 if packbits else 1]),
            262: (3, [2 if channels >= 3 else 0 if white_is_zero else 1]),
            274: (3, [turn]),
            277: (3, [channels]),
            284: (3, [2 if planes else 1]),
            317: (3, [2 if difference else 1]),
            **({322: (3, [tile]), 323: (3, [tile]), 324: (kind_of_word, offsets)} if tile else {}),
            **({} if tile else {273: (kind_of_word, offsets), 278: (3, [rows])}),
            (325 if tile else 279): (kind_of_word, [len(part) for part in parts]),
            **({} if extra is None else {338: (3, [extra])}),
        }
        entries = b""
        for tag, (type_, numbers) in sorted(tags.items()):
            data = struct.pack(f"{order}{len(numbers)}{'H' if type_ == 3 else word}", *numbers)
            if len(data) > size_of_word:
                file += bytes(len(file) % 2)
                place = struct.pack(order + word, len(file))
                file += data
                data = place
            entries += struct.pack(f"{order}HH{word}", tag, type_, len(numbers)) + data.ljust(size_of_word, b"\0")
        file += bytes(len(file) % 2)
        struct.pack_into(order + word, file, link, len(file))
        file += struct.pack(order + count, len(tags)) + entries + bytes(size_of_word)
        link = len(file) - size_of_word
    return bytes(file)


LOSSLESS = {
    "a.png": encoded(".png", COLOUR),
    "a.bmp": encoded(".bmp", COLOUR),
    "a.dib": encoded(".bmp", COLOUR),
    "a.webp": encoded(".webp", COLOUR, cv2.IMWRITE_WEBP_QUALITY, 101),
    "a.ppm": encoded(".ppm", COLOUR),
    "text.ppm": encoded(".ppm", COLOUR, cv2.IMWRITE_PXM_BINARY, 0),
    "a.npy": encoded(".npy", COLOUR),
    "fortran.npy": encoded(".npy", np.asfortranarray(COLOUR)),
    "lzw.tif": encoded(".tif", COLOUR),
    "packbits.tif": encoded(".tif", COLOUR, cv2.IMWRITE_TIFF_COMPRESSION, 32773),
    "wrong suffix.jpg": encoded(".png", COLOUR),
    "no suffix": encoded(".bmp", COLOUR),
} | {
    f"{name}.tif": tiff(COLOUR[:, :, ::-1], **options)  # type: ignore[arg-type]
    for name, options in {
        "strips": {"strip": 5},
        "tiles": {"tile": 16},
        "deflate": {"deflate": True, "strip": 7},
        "differences": {"deflate": True, "difference": True, "strip": 7},
        "deflated tiles": {"deflate": True, "difference": True, "tile": 16, "order": ">"},
        "planes": {"planes": True, "strip": 6},
        "big": {"big": True, "strip": 5},
        "motorola": {"order": ">"},
    }.items()
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_one_picture_is_one_frame_in_every_format(name: str, tmp_path: Path) -> None:
    picture = read_picture(written(tmp_path / name, LOSSLESS[name]))
    assert np.array_equal(picture.frame, COLOUR)
    assert (picture.depth, picture.brightest, picture.turned) == (8, int(COLOUR.max()), False)


# Eight by six pixels, whose red, green and blue are 30 x + y, 40 y + x and 255 - 5 x y.
JPEG_2000 = (
    "AAAADGpQICANCocKAAAAFGZ0eXBqcDIgAAAAAGpwMiAAAAAtanAyaAAAABZpaGRyAAAABgAAAAgAAwcHAAAAAAAPY29scgEAAAAAABAAAAEXanAyY/9P"
    "/1EALwAAAAAACAAAAAYAAAAAAAAAAAAAAAgAAAAGAAAAAAAAAAAAAwcBAQcBAQcBAf9SAAwAAAABAQAEBAAB/1wABEBA/2QAJQABQ3JlYXRlZCBieSBP"
    "cGVuSlBFRyB2ZXJzaW9uIDIuNS40/5AACgAAAAAAnwAB/5PPtJwSKcmk97iPOAGhlfkN+st33y3FEATptfCwAmnE3n6q7WHITyS2DT/fgXgT/wfjbrl0"
    "tcjdTTxIwWl7TIafCTwznCqtoL+nFgcErzaE07+hcIizcAORBkzyJ9+BkCyWcUSb9hzwMwZluJniXTN04YkX5y2Lwcc/pqUymQjhO9l840RnP1Hyx6a3"
    "xNPXiP9//9k="
)


def test_lossless_jpeg_2000(tmp_path: Path) -> None:
    y, x = np.mgrid[:6, :8]
    expected = np.stack([255 - 5 * x * y, 40 * y + x, 30 * x + y], axis=-1)
    raw = base64.b64decode(JPEG_2000)
    for content in (raw, raw[raw.index(b"\xff\x4f\xff\x51") :]):  # in boxes, and without them
        assert np.array_equal(read_image(written(tmp_path / "a.jp2", content)), expected)


@pytest.mark.parametrize("options", [{}, {"order": ">"}, {"deflate": True, "difference": True}, {"tile": 16}])
def test_sixteen_bits_in_every_format(options: dict[str, object], tmp_path: Path) -> None:
    files = {
        "a.png": encoded(".png", DEEP),
        "a.pgm": encoded(".pgm", DEEP),
        "a.npy": encoded(".npy", DEEP),
        "motorola.npy": encoded(".npy", DEEP.astype(">u2")),
        "a.tif": tiff(DEEP, **options),  # type: ignore[arg-type]
        "white.tif": tiff(DEEP, white_is_zero=True, **options),  # type: ignore[arg-type]
    }
    for name, content in files.items():
        picture = read_picture(written(tmp_path / name, content))
        assert np.array_equal(picture.frame, DEEP >> 8), name
        assert (picture.depth, picture.brightest, picture.known_range) == (16, int(DEEP.max()), False)


@pytest.mark.parametrize("image", [DEEP.astype(np.uint8), COLOUR])
def test_a_picture_of_8_bits_that_was_saved_with_16_has_8(image: NDArray[np.uint8], tmp_path: Path) -> None:
    whole = image.astype(np.uint16) * 257
    for name in ("a.png", "a.tif", "a.npy"):
        picture = read_picture(written(tmp_path / name, encoded(Path(name).suffix, whole)))
        assert (picture.depth, picture.brightest) == (8, int(whole.max())), name
        assert np.array_equal(picture.frame, image), name
    whole[0, 0] += 1
    assert read_picture(written(tmp_path / "deep.png", encoded(".png", whole))).depth == 16
    black = written(tmp_path / "black.png", encoded(".png", np.zeros_like(whole)))
    assert read_picture(black).depth == 16


def exif(turn: int, order: str = "<") -> bytes:
    start = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    return start + struct.pack(order + "HHHIHHI", 1, 274, 3, 1, turn, 0, 0)


def with_exif(name: str, turn: int, image: NDArray[np.uint8]) -> bytes:
    block = exif(turn, "<" if turn % 2 else ">")
    if name == "a.jpg":
        raw, part = encoded(".jpg", image, cv2.IMWRITE_JPEG_QUALITY, 100), b"Exif\0\0" + block
        return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part + raw[2:]
    if name == "a.png":
        raw, part = encoded(".png", image), b"eXIf" + block
        return raw[:33] + struct.pack(">I", len(block)) + part + struct.pack(">I", zlib.crc32(part)) + raw[33:]
    if name == "a.webp":
        picture = encoded(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 101)[12:]
        sizes = b"".join((side - 1).to_bytes(3, "little") for side in (image.shape[1], image.shape[0]))
        chunks = b"VP8X" + struct.pack("<I4s", 10, b"\x08\0\0\0") + sizes + picture
        chunks += b"EXIF" + struct.pack("<I", len(block)) + block
        return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks
    return tiff(image[:, :, ::-1], turn=turn, deflate=name == "deflate.tif", packbits=name == "packbits.tif", strip=8)


def upright(image: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """As the EXIF standard describes it: where row 0 and column 0 of the stored picture are in the visual one."""
    rows, columns = image.shape[:2]
    shape = (rows, columns) if turn < 5 else (columns, rows)
    found = np.zeros((*shape, 3), np.uint8)
    for y in range(rows):
        for x in range(columns):
            bottom, right = rows - 1 - y, columns - 1 - x
            place = {
                **{1: (y, x), 2: (y, right), 3: (bottom, right), 4: (bottom, x)},
                **{5: (x, y), 6: (x, bottom), 7: (right, bottom), 8: (right, y)},
            }[turn]
            found[place] = image[y, x]
    return found


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg", "raw.tif", "deflate.tif", "packbits.tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_turned_once_as_its_orientation_says(name: str, turn: int, tmp_path: Path) -> None:
    image = cv2.resize(COLOUR[:4, :3], (24, 32), interpolation=cv2.INTER_CUBIC) if name == "a.jpg" else COLOUR
    picture = read_picture(written(tmp_path / name, with_exif(name, turn, image)))
    expected = upright(image, turn)
    assert picture.turned is (turn != 1) and picture.frame.shape == expected.shape
    assert np.abs(picture.frame.astype(int) - expected).max() <= (40 if name == "a.jpg" else 0)
    assert picture.frame.flags.c_contiguous


def test_broken_exif_is_no_orientation() -> None:
    whole = exif(6)
    assert orientation(whole) == 6 and orientation(b"Exif\0\0" + exif(8, ">")) == 8
    for broken in (
        *(whole[:end] for end in range(len(whole) - 6)),
        exif(0),
        exif(9),
        b"II*\0\xff\xff\xff\xff",
        b"x" * 99,
    ):
        assert orientation(broken) == 1


def test_what_is_unusual_is_said_once_for_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notices._said.clear()
    for number in range(3):
        read_image(written(tmp_path / f"{number}.png", with_exif("a.png", 6, COLOUR)))
        read_image(written(tmp_path / f"{number}.tif", tiff(GREY, kinds=(0, 0))))
    with caplog.at_level(logging.WARNING):
        read_image(tmp_path / "0.png")
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(": ")[0] for line in said] == [str(tmp_path / "0.png"), str(tmp_path / "0.tif")]


def behind(alpha: NDArray[np.float64], image: NDArray[np.generic], scale: float = 1.0) -> NDArray[np.float64]:
    """Alpha compositing in floating point."""
    background = (NEUTRAL if image.ndim == 3 else round(sum(PAINT) / 3)) * scale
    part = alpha[:, :, None] if image.ndim == 3 else alpha
    return image * part + background * (1 - part)


ALPHA = np.full((37, 29), 255, np.uint8)
ALPHA[:9], ALPHA[9:20, :11] = 0, 100
PART = ALPHA / 255


@pytest.mark.parametrize("garbage", [0, 255])
def test_transparent_pixels_are_no_content(garbage: int, tmp_path: Path) -> None:
    colours = COLOUR // 2
    hidden = colours.copy()
    hidden[ALPHA == 0] = garbage
    rgba = np.dstack([hidden, ALPHA])
    files = {
        "a.png": encoded(".png", rgba),
        "a.webp": encoded(".webp", rgba, cv2.IMWRITE_WEBP_QUALITY, 101),
        "a.npy": encoded(".npy", rgba),
        "a.tif": tiff(rgba[:, :, [2, 1, 0, 3]], extra=2),
        "deflate.tif": tiff(rgba[:, :, [2, 1, 0, 3]], extra=2, deflate=True),
    }
    for name, content in files.items():
        picture = read_picture(written(tmp_path / name, content))
        assert np.abs(picture.frame - behind(PART, colours)).max() <= 1, name
        assert (picture.frame[ALPHA == 0] == NEUTRAL).all() and picture.brightest == colours[ALPHA > 0].max()
    multiplied = rgba.copy()
    multiplied[:, :, :3] = np.rint(hidden * PART[:, :, None])
    picture = read_picture(written(tmp_path / "m.tif", tiff(multiplied[:, :, [2, 1, 0, 3]], extra=1)))
    assert np.abs(picture.frame - behind(PART, colours)).max() <= 1
    unspecified = read_picture(written(tmp_path / "u.tif", tiff(rgba[:, :, [2, 1, 0, 3]], extra=0)))
    assert np.array_equal(unspecified.frame, hidden)


def test_transparency_of_grey_and_of_sixteen_bits(tmp_path: Path) -> None:
    both = np.dstack([GREY, ALPHA])
    picture = read_picture(written(tmp_path / "grey.tif", tiff(both, extra=2)))
    assert picture.frame.ndim == 2 and np.abs(picture.frame - behind(PART, GREY)).max() <= 1
    deep = np.dstack([COLOUR, ALPHA]).astype(np.uint16) * 257
    for name, content in {
        "deep.png": encoded(".png", deep),
        "deep.tif": tiff(deep[:, :, [2, 1, 0, 3]], extra=2),
    }.items():
        assert np.abs(read_image(written(tmp_path / name, content)) - behind(PART, COLOUR)).max() <= 1, name


def png(header: bytes, rows: bytes, *others: tuple[bytes, bytes]) -> bytes:
    chunks = ((b"IHDR", header), *others, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_every_kind_of_transparency_of_png(tmp_path: Path) -> None:
    grey_alpha = png(struct.pack(">IIBBBBB", 3, 1, 8, 4, 0, 0, 0), b"\0" + bytes([9, 255, 77, 0, 200, 255]))
    assert read_image(written(tmp_path / "a.png", grey_alpha)).tolist() == [[9, round(sum(PAINT) / 3), 200]]
    opaque = png(struct.pack(">IIBBBBB", 2, 1, 8, 4, 0, 0, 0), b"\0" + bytes([9, 255, 77, 255]))
    assert read_image(written(tmp_path / "o.png", opaque)).tolist() == [[9, 77]]
    key = (b"tRNS", struct.pack(">H", 77))
    grey_key = png(struct.pack(">IIBBBBB", 3, 1, 8, 0, 0, 0, 0), b"\0" + bytes([9, 77, 200]), key)
    assert read_image(written(tmp_path / "k.png", grey_key)).tolist() == [[9, round(sum(PAINT) / 3), 200]]
    colours = (b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255])), (b"tRNS", bytes([255, 0]))
    palette = png(struct.pack(">IIBBBBB", 3, 1, 8, 3, 0, 0, 0), b"\0\0\1\2", *colours)
    assert read_image(written(tmp_path / "p.png", palette)).tolist() == [[[0, 0, 255], NEUTRAL.tolist(), [255, 0, 0]]]


def test_the_fourth_byte_of_a_bmp_may_be_padding(tmp_path: Path) -> None:
    pixels = np.dstack([COLOUR, np.zeros((37, 29), np.uint8)])[::-1].tobytes()
    raw = b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54)
    raw += struct.pack("<IiiHHIIiiII", 40, 29, 37, 1, 32, 0, len(pixels), 0, 0, 0, 0) + pixels
    assert np.array_equal(read_image(written(tmp_path / "a.bmp", raw)), COLOUR)
    for alpha in (np.zeros_like(ALPHA), ALPHA):  # with a mask for alpha in the header
        pixels = np.dstack([COLOUR, alpha])[::-1].tobytes()
        raw = b"BM" + struct.pack("<IHHI", 122 + len(pixels), 0, 0, 122)
        raw += struct.pack("<IiiHHIIiiII", 108, 29, 37, 1, 32, 3, len(pixels), 0, 0, 0, 0)
        raw += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"sRGB".ljust(52, b"\0") + pixels
        expected = behind(alpha / 255, COLOUR) if alpha.any() else COLOUR
        assert np.abs(read_image(written(tmp_path / "b.bmp", raw)) - expected.astype(float)).max() <= 1


@pytest.mark.parametrize(
    ("largest", "known"), [(1, True), (100, True), (255, False), (1000, True), (4095, True), (65535, False)]
)
def test_the_largest_value_of_a_pgm_is_white(largest: int, known: bool, tmp_path: Path) -> None:
    numbers = RNG.integers(0, largest + 1, (37, 29))
    numbers[0, 0] = largest
    header = b"29 37 %d\n" % largest
    binary = b"P5\n" + header + numbers.astype(">u2" if largest > 255 else "u1").tobytes()
    text = b"P2 # a comment\n" + header + b"\n".join(b" ".join(b"%d" % one for one in row) for row in numbers)
    for content in (binary, text):
        picture = read_picture(written(tmp_path / "a.pgm", content))
        assert np.abs(picture.frame - numbers * 255.0 / largest).max() <= 1 and picture.frame[0, 0] == 255
        assert (picture.depth, picture.brightest, picture.known_range) == (16 if largest > 255 else 8, largest, known)
    deep = written(tmp_path / "a.png", encoded(".png", numbers.astype(np.uint16)))
    if largest == 4095:
        assert np.array_equal(read_image(deep, bits=12), picture.frame)


def test_bitmaps_and_colours_as_text(tmp_path: Path) -> None:
    bits = GREY > 128
    rows = np.packbits(~bits, axis=1).tobytes()
    assert np.array_equal(read_image(written(tmp_path / "a.pbm", b"P4\n29 37\n" + rows)), bits * 255)
    text = "".join("0" if bit else "1" for bit in bits.ravel()).encode()
    assert np.array_equal(read_image(written(tmp_path / "b.pbm", b"P1 29 37 " + text)), bits * 255)
    assert read_image(written(tmp_path / "a.ppm", b"P3 1 1 255 # red\n255 0\n7")).tolist() == [[[7, 0, 255]]]
    for content in (
        b"P2 2 1 9 1",
        b"P2 2 1 9 1 x",
        b"P2 2 1 9 1 10",
        b"P5 2 1 9 \1\12",
        b"P5 2 1 0 \1\1",
        b"P1 3 1 01",
    ):
        with pytest.raises(DataError, match=r"a\.pgm: expected"):
            read_image(written(tmp_path / "a.pgm", content))


def test_floats_and_channels_that_come_first_get_advice(tmp_path: Path) -> None:
    for dtype in (np.float32, np.int16, np.uint32):
        with pytest.raises(DataError, match="8 or 16 bits"):
            read_image(written(tmp_path / "a.npy", encoded(".npy", COLOUR.astype(dtype))))
    with pytest.raises(DataError, match=r"transpose\(1, 2, 0\)"):
        read_image(written(tmp_path / "a.npy", encoded(".npy", np.ascontiguousarray(COLOUR.transpose(2, 0, 1)))))


def test_every_page_of_a_tiff(tmp_path: Path) -> None:
    for options in ({}, {"deflate": True}, {"big": True}, {"order": ">", "tile": 16}):
        path = written(tmp_path / "stack.tif", tiff(GREY, kinds=(0, 1, 2, 4, 0), **options))  # type: ignore[arg-type]
        found = pages(path)
        assert [page.name for page in found] == ["stack.tif#1", "stack.tif#2", "stack.tif#3"]
        # The second is a preview and the fourth a mask; later pages are darker.
        for page, shift in zip(found, (0, 2, 4), strict=True):
            assert np.array_equal(read_image(page), GREY >> shift)
            assert file_of(page) == path
    with pytest.raises(DataError, match="from 1 to 3, found 4"):
        read_image(tmp_path / "stack.tif#4")
    assert np.array_equal(read_image(path), GREY)


def test_pages_that_only_opencv_reads(tmp_path: Path) -> None:
    path = tmp_path / "lzw.tif"
    cv2.imwritemulti(str(path), [COLOUR, 255 - COLOUR])
    first, second = pages(path)
    assert np.array_equal(read_image(first), COLOUR) and np.array_equal(read_image(second), 255 - COLOUR)


def test_a_damaged_page_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    raw = bytearray(tiff(GREY, kinds=(0, 0), deflate=True))
    raw[raw.rindex(zlib.compress((GREY >> 1).tobytes())[:40]) + 30] ^= 0xFF
    path = written(tmp_path / "stack.tif", bytes(raw))
    assert np.array_equal(read_image(tmp_path / "stack.tif#1"), GREY)
    with pytest.raises(DataError, match="stack.tif#2: expected a whole image"):
        read_image(tmp_path / "stack.tif#2")
    assert len(pages(path)) == 2


def test_what_has_no_pages_is_itself(tmp_path: Path) -> None:
    one = written(tmp_path / "one.tif", tiff(GREY))
    text = written(tmp_path / "text.tif", b"words")
    image = written(tmp_path / "a.png", encoded(".png", GREY))
    for path in (one, text, image, tmp_path / "absent.tif", tmp_path):
        assert pages(path) == (path,)
    named = written(tmp_path / "one.tif#2", encoded(".png", COLOUR))  # a file of that very name
    assert np.array_equal(read_image(named), COLOUR) and file_of(named) == named


@pytest.mark.skipif(not READS_AVIF, reason="this OpenCV reads no AVIF")
@pytest.mark.parametrize(("turns", "mirror", "means"), [(1, None, 8), (2, None, 3), (3, None, 6), (1, 0, 5), (0, 1, 2)])
def test_an_avif_is_turned_as_its_properties_say(turns: int, mirror: int | None, means: int, tmp_path: Path) -> None:
    image = cv2.resize(COLOUR[:4, :3], (48, 64), interpolation=cv2.INTER_CUBIC)
    raw = encoded(".avif", image, cv2.IMWRITE_AVIF_QUALITY, 100)
    plain = read_image(written(tmp_path / "plain.avif", raw))
    more = struct.pack(">I4sB", 9, b"irot", turns) + (
        b"" if mirror is None else struct.pack(">I4sB", 9, b"imir", mirror)
    )
    turned = with_properties(raw, more, 1 if mirror is None else 2)
    picture = read_picture(written(tmp_path / "a.avif", turned))
    assert picture.turned and np.array_equal(picture.frame, upright(plain, means))


def with_properties(raw: bytes, boxes: bytes, count: int) -> bytes:
    """An AVIF whose first picture has more properties; every length and place that changes is set anew."""
    at = {kind: raw.index(kind) - 4 for kind in (b"meta", b"iloc", b"iprp", b"ipco", b"ipma")}
    length = {kind: int.from_bytes(raw[place : place + 4], "big") for kind, place in at.items()}
    properties, place = 0, at[b"ipco"] + 8
    while place < at[b"ipco"] + length[b"ipco"]:
        place += int.from_bytes(raw[place : place + 4], "big")
        properties += 1
    chosen = at[b"ipma"] + 8 + 4 + 4 + 2
    numbers = bytes([raw[chosen] + count]) + raw[chosen + 1 : chosen + 1 + raw[chosen]]
    numbers += bytes(0x80 | (properties + 1 + number) for number in range(count))
    end = at[b"ipco"] + length[b"ipco"]
    changed = bytearray(raw[:end] + boxes + raw[end:chosen] + numbers + raw[chosen + 1 + raw[chosen] :])
    longer = len(changed) - len(raw)
    for kind, more in ((b"meta", longer), (b"iprp", longer), (b"ipco", len(boxes)), (b"ipma", count)):
        place = changed.index(kind) - 4
        struct.pack_into(">I", changed, place, length[kind] + more)
    start = int.from_bytes(raw[raw.index(b"mdat") + 4 : raw.index(b"mdat") + 4], "big") or raw.index(b"mdat") + 4
    entry = changed.index(struct.pack(">I", start), at[b"iloc"])
    struct.pack_into(">I", changed, entry, start + longer)
    return bytes(changed)
