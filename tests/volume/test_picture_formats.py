"""Pictures of every kind that programs write: read as they are meant, or refused by name."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esegeta.errors import DataError
from esegeta.volume import Case, Preprocess, Reading, load_volume, read_case, read_label_map

HEIGHT, WIDTH = 11, 13
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
PLACES = RNG.integers(0, 4, (HEIGHT, WIDTH)).astype(np.uint8)
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [9, 8, 7]], np.uint8)
GREYS = np.array([[0] * 3, [50] * 3, [100] * 3, [200] * 3], np.uint8)
OPAQUE = np.full((HEIGHT, WIDTH), 255, np.uint8)


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)
    image.save(path, **options)
    return path


def indexed(path: Path, colours: np.ndarray, **options: object) -> Path:
    image = Image.new("P", (WIDTH, HEIGHT))
    image.putpalette(colours.ravel().tolist())
    image.putdata(PLACES.ravel().tolist())
    image.save(path, **options)
    return path


def png(path: Path, rows: list[bytes], bits: int, colour: int, *parts: tuple[bytes, bytes]) -> Path:
    """Write a PNG chunk by chunk."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", head), *parts, (b"IDAT", pixels), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in chunks))
    return path


def tiff(path: Path, array: np.ndarray, **tags: int | tuple[int, ...]) -> Path:
    """Write an uncompressed TIFF of one strip, tag by tag."""
    samples = array.shape[2] if array.ndim == 3 else 1
    kinds = {"u": 1, "i": 2, "f": 3}
    words: dict[int, int | tuple[int, ...]] = {
        256: array.shape[1],
        257: array.shape[0],
        258: (8 * array.dtype.itemsize,) * samples,
        259: 1,
        262: 2 if samples >= 3 else 1,
        273: 8,
        277: samples,
        278: array.shape[0],
        279: array.nbytes,
        339: (kinds[array.dtype.kind],) * samples,
        **{int(key[1:]): value for key, value in tags.items()},
    }
    content = bytearray(b"II*\0" + bytes(4) + array.tobytes())
    entries = b""
    for tag, value in sorted(words.items()):
        values = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            place = struct.pack("<I", len(content))
            content += packed
            packed = place
        entries += struct.pack("<HHI", tag, 4, len(values)) + packed
    content[4:8] = struct.pack("<I", len(content))
    content += struct.pack("<H", len(words)) + entries + bytes(4)
    path.write_bytes(content)
    return path


def channels_first(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array.reshape(HEIGHT, WIDTH, -1), -1, 0)


def bits_of(array: np.ndarray, bits: int) -> list[bytes]:
    """Pack rows of small numbers into bytes, the first in the highest bits."""
    rows = []
    for row in array:
        text = "".join(format(int(value), f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8)))
    return rows


def big16(array: np.ndarray) -> list[bytes]:
    return [row.astype(">u2").tobytes() for row in array]


WIDE = GREY.astype(np.uint16) * 257 - (GREY > 0)
WIDE_RGB = RGB.astype(np.uint16) * 201
READ: dict[str, tuple[Callable[[Path], Path], np.ndarray]] = {
    "opaque rgba.png": (lambda p: save(p, np.dstack([RGB, OPAQUE])), RGB),
    "opaque grey and alpha.png": (lambda p: save(p, GREY, "LA"), GREY),
    "opaque rgba of 16 bits.png": (
        lambda p: png(p, big16(np.dstack([WIDE_RGB, OPAQUE.astype(np.uint16) * 257])), 16, 6),
        WIDE_RGB,
    ),
    "palette.png": (lambda p: indexed(p, COLOURS), COLOURS[PLACES]),
    "grey palette.png": (lambda p: indexed(p, GREYS), GREYS[PLACES][..., 0]),
    "palette.tif": (lambda p: indexed(p, COLOURS), COLOURS[PLACES]),
    "opaque palette.png": (
        lambda p: indexed(p, COLOURS, transparency=bytes([255, 255, 255, 255, 0])),
        COLOURS[PLACES],
    ),
    "one bit.png": (lambda p: save(p, GREY > 128), (GREY > 128) * 255),
    "one bit.tif": (lambda p: save(p, GREY > 128), (GREY > 128) * 255),
    "two bits.png": (lambda p: png(p, bits_of(PLACES, 2), 2, 0), PLACES * 85),
    "four bits.png": (lambda p: png(p, bits_of(GREY % 16, 4), 4, 0), (GREY % 16) * 17),
    "16 bits.png": (lambda p: png(p, big16(WIDE), 16, 0), WIDE),
    "rgb of 16 bits.png": (lambda p: png(p, big16(WIDE_RGB), 16, 2), WIDE_RGB),
    "rgb.tif": (lambda p: tiff(p, RGB), RGB),
    "rgb of 16 bits.tif": (lambda p: tiff(p, WIDE_RGB), WIDE_RGB),
    "signed.tif": (lambda p: tiff(p, GREY.astype(np.int16) * 100 - 9000), GREY * 100.0 - 9000),
    "32 bits.tif": (lambda p: tiff(p, GREY.astype(np.uint32) * 16843009), GREY * 16843009.0),
    "floats.tif": (lambda p: tiff(p, (GREY / 7).astype(np.float32)), (GREY / 7).astype(np.float32)),
    "lzw.tif": (lambda p: save(p, RGB, compression="tiff_lzw"), RGB),
    "deflate.TIFF": (lambda p: save(p, GREY, compression="tiff_adobe_deflate"), GREY),
    "no clear pixel.png": (
        lambda p: png(p, [r.tobytes() for r in GREY // 2], 8, 0, (b"tRNS", b"\0\xff")),
        GREY // 2,
    ),
    "jpeg called.png": (lambda p: save(p, GREY * 0 + 77, format="JPEG"), GREY * 0 + 77),
    "upright by its tag.jpg": (
        lambda p: save(p, GREY * 0 + 77, exif=orientation(1)),
        GREY * 0 + 77,
    ),
}


def orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@pytest.mark.parametrize("name", READ)
def test_every_picture_format_is_read(name: str, tmp_path: Path) -> None:
    write, expected = READ[name]
    volume = load_volume(write(tmp_path / name))
    expected = channels_first(expected).astype(np.float32)
    np.testing.assert_array_equal(volume.data.numpy(), expected)


CLEAR = GREY.copy()
CLEAR[3, 4] = CLEAR[5, 6] = 254
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "rgba.png": (
        lambda p: save(p, np.dstack([RGB, np.where(CLEAR == 254, 254, 255).astype(np.uint8)])),
        r"pixels? (are|is) transparent, the first in row \d+, column \d+",
    ),
    "nearly opaque rgba of 16 bits.png": (
        lambda p: png(
            p, big16(np.dstack([WIDE_RGB, np.full((HEIGHT, WIDTH), 65534, np.uint16)])), 16, 6
        ),
        "143 pixels are transparent",
    ),
    "grey and alpha.png": (
        lambda p: save(p, np.dstack([GREY, OPAQUE // 2])),
        "143 pixels are transparent",
    ),
    "palette.png": (lambda p: indexed(p, COLOURS, transparency=1), "transparent"),
    "clear colour.png": (
        lambda p: png(p, [r.tobytes() for r in GREY], 8, 0, (b"tRNS", bytes([0, GREY[0, 0]]))),
        r"transparent, the first in row 0, column 0",
    ),
    "animation.png": (
        lambda p: png(p, [r.tobytes() for r in GREY], 8, 0, (b"acTL", bytes(8))),
        "an animation",
    ),
    "cmyk.jpg": (lambda p: save(p, RGB, "CMYK"), r"colours of print \(CMYK\)"),
    "turned.jpg": (lambda p: save(p, RGB, exif=orientation(6)), r"EXIF.*OpenCV.*Pillow"),
    "mirrored.png": (lambda p: save(p, RGB, exif=orientation(2)), r"EXIF"),
    "turned.tif": (lambda p: tiff(p, RGB, t274=3), r"EXIF"),
    "pages.tif": (
        lambda p: save(p, GREY, save_all=True, append_images=[Image.fromarray(255 - GREY)]),
        "does not say how large its voxels are",
    ),
    "white.tif": (lambda p: tiff(p, GREY, t262=0), "white counts as zero"),
    "print.tif": (lambda p: tiff(p, np.dstack([RGB, GREY]), t262=5), "not RGB"),
    "alpha.tif": (lambda p: tiff(p, np.dstack([RGB, GREY]), t338=2), "transparent"),
    "grey and more.tif": (lambda p: tiff(p, np.dstack([RGB, RGB]), t262=1), "6 samples per pixel"),
    "grey and alpha of 16 bits.tif": (
        lambda p: tiff(p, np.dstack([GREY, OPAQUE]).astype(np.uint16), t338=2),
        r"2 samples per pixel of 16 bits \(uint16\), in a layout that is not supported",
    ),
    "doubles.tif": (lambda p: tiff(p, GREY / 7.0), "floating point of 64 bits"),
    "halves.tif": (lambda p: tiff(p, GREY.astype(np.float16)), "floating point of 16 bits"),
    "text.tif": (lambda p: p.write_bytes(b"no picture") and p, "not a PNG, JPEG or TIFF"),
    "text.jpeg": (lambda p: p.write_bytes(b"no picture") and p, "not a PNG, JPEG or TIFF"),
    "header alone.png": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n") and p, "damaged"),
    "header alone.tif": (lambda p: p.write_bytes(b"II*\0\x08\0\0\0") and p, "damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_pictures_are_refused_by_name(name: str, tmp_path: Path) -> None:
    write, message = REFUSED[name]
    path = write(tmp_path / name)
    with pytest.raises(DataError, match=message) as error:
        load_volume(path)
    assert str(error.value).startswith(str(path))
    assert error.value.hint


SMOOTH = (np.add.outer(3 * np.arange(120), 2 * np.arange(90)) % 256).astype(np.uint8)
JPEGS = {
    "grey": (SMOOTH, {}),
    "rgb": (np.dstack([SMOOTH, SMOOTH // 2, 255 - SMOOTH]), {}),
    "progressive": (np.dstack([SMOOTH, SMOOTH // 2, 255 - SMOOTH]), {"progressive": True}),
}


@pytest.mark.parametrize("kept", [0.1, 0.3, 0.6, 0.9, 0.99, -2])
@pytest.mark.parametrize("kind", JPEGS)
def test_truncated_jpegs_are_refused(kind: str, kept: float, tmp_path: Path) -> None:
    array, options = JPEGS[kind]
    content = save(tmp_path / "a.jpg", array, **options).read_bytes()
    length = int(kept * len(content)) if kept > 0 else len(content) + int(kept)
    (tmp_path / "a.jpg").write_bytes(content[:length])
    with pytest.raises(DataError, match=r"a\.jpg: the picture is damaged: it ends too soon"):
        load_volume(tmp_path / "a.jpg")


def test_a_truncated_jpeg_with_a_thumbnail_is_refused(tmp_path: Path) -> None:
    content = save(tmp_path / "a.jpg", SMOOTH).read_bytes()
    small = save(tmp_path / "b.jpg", SMOOTH[:8, :8]).read_bytes()
    extra = b"\xff\xe1" + struct.pack(">H", len(small) + 2) + small
    assert small.endswith(b"\xff\xd9")
    (tmp_path / "a.jpg").write_bytes(content[:2] + extra + content[2:])
    whole = load_volume(tmp_path / "a.jpg")
    assert whole.grid.shape == SMOOTH.shape
    (tmp_path / "a.jpg").write_bytes(content[:2] + extra + content[2:-40])
    with pytest.raises(DataError, match="damaged"):
        load_volume(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("kept", [0.1, 0.3, 0.6, 0.9, 0.99])
def test_truncated_pngs_and_tiffs_are_refused(kept: float, suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path / f"a{suffix}", RNG.integers(0, 256, (60, 50)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(DataError, match="damaged"):
        load_volume(path)


def test_a_png_with_one_wrong_byte_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", GREY)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        load_volume(path)


LABELS = {
    "grey.png": (lambda p: save(p, PLACES), PLACES),
    "16 bits.png": (lambda p: png(p, big16(WIDE), 16, 0), WIDE),
    "places in colours.png": (lambda p: indexed(p, COLOURS), PLACES),
    "places in colours.tif": (lambda p: indexed(p, COLOURS), PLACES),
    "grey packed as a palette.png": (lambda p: indexed(p, GREYS), GREYS[PLACES][..., 0]),
    "one bit.png": (lambda p: save(p, PLACES > 1), PLACES > 1),
    "opaque.png": (lambda p: save(p, PLACES, "LA"), PLACES),
    "32 bits.tif": (
        lambda p: tiff(p, PLACES.astype(np.uint32) + 312782546),
        PLACES.astype(np.int64) + 312782546,
    ),
}


@pytest.mark.parametrize("axes", ["yx", "xy"])
@pytest.mark.parametrize("name", LABELS)
def test_pictures_of_labels_are_read_as_integers(name: str, axes: str, tmp_path: Path) -> None:
    write, expected = LABELS[name]
    image = save(tmp_path / "image.png", GREY)
    case = Case("a", (image,), write(tmp_path / name))
    volume, truth = read_case(case, Preprocess(), Reading(1, 2, picture_axes=axes))
    assert truth is not None
    expected = expected if axes == "yx" else expected.T
    np.testing.assert_array_equal(truth.numpy(), expected)
    again = read_label_map(tmp_path / name, volume, Preprocess())
    np.testing.assert_array_equal(again.numpy(), expected)


def test_a_colour_picture_is_no_label_map(tmp_path: Path) -> None:
    image, label = save(tmp_path / "image.png", GREY), save(tmp_path / "label.png", RGB)
    with pytest.raises(DataError, match=r"label map .*label\.png has 3 channels"):
        read_case(Case("a", (image,), label), Preprocess(), Reading(1, 2))
