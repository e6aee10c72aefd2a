"""What a PNG, JPEG or TIFF holds, by its header: size, samples, transparency, pages.

Readers of pictures guess where a file is unusual: they drop channels, cut 16 bits down to 8 or
decode what they do not know as something else. This file states what must come out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esegeta.errors import DataError

PNG_MAGIC, JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
TIFF_MAGIC = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
"""Byte orders of classic TIFF and of BigTIFF."""

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
"""PNG's types of colour."""
PNG_SAMPLES = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}

JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG that say how large the picture is."""
JPEG_SCAN, JPEG_END = 0xDA, b"\xff\xd9"

DAMAGED = "the picture is damaged: it ends too soon, or some of its bytes have changed"
COPY_AGAIN = "copy or export it again"
EXPORT = "export it as a PNG of 8 or 16 bits, grey or RGB"


@dataclass(frozen=True)
class PictureHeader:
    """What comes out of a picture that is read as it is meant.

    Args:
        width: pixels from left to right.
        height: pixels from top to bottom.
        samples: numbers per pixel, alpha among them; 1 of a palette.
        dtype: type of a sample.
        has_alpha: whether the last sample is the opacity.
        has_palette: whether the sample is a place in a table of colours.
        is_bilevel: whether the sample is one bit.
        clear: the one colour that is transparent, where there is one.
    """

    width: int
    height: int
    samples: int
    dtype: np.dtype
    has_alpha: bool = False
    has_palette: bool = False
    is_bilevel: bool = False
    clear: tuple[int, ...] = ()

    @property
    def may_be_transparent(self) -> bool:
        """Whether only the pixels tell if anything is transparent."""
        return self.has_alpha or bool(self.clear)


def read_picture_header(path: Path) -> PictureHeader:
    """Return what a picture holds, by its first bytes whatever its name; of several, the first.

    Raises:
        DataError: it is not a picture, is damaged, or holds what cannot be read as an image.
    """
    content = path.read_bytes()
    try:
        if content.startswith(PNG_MAGIC):
            return _png(content, path)
        if content.startswith(JPEG_MAGIC):
            return _jpeg(content, path)
        if content[:4] in TIFF_MAGIC:
            return _tiff(content, path)
    except (struct.error, IndexError, KeyError) as error:
        raise DataError(f"{path}: {DAMAGED}", hint=COPY_AGAIN) from error
    raise DataError(
        f"{path}: not a PNG, JPEG or TIFF picture that can be read",
        hint="was it copied completely, and is it of the kind that its name says?",
    )


def _png(content: bytes, path: Path) -> PictureHeader:
    chunks = dict(_png_chunks(content))
    width, height, bits, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    if b"acTL" in chunks:
        raise _refused(path, "an animation; it is not known which of its pictures to use")
    transparent = chunks.get(b"tRNS", b"")
    clear = struct.unpack(f">{len(transparent) // 2}H", transparent[: len(transparent) // 2 * 2])
    return PictureHeader(
        width,
        height,
        PNG_SAMPLES[colour],
        np.dtype(np.uint16 if bits == 16 else np.uint8),
        has_alpha=colour in (GREY_ALPHA, COLOUR_ALPHA),
        has_palette=colour == PALETTE,
        is_bilevel=bits == 1 and colour == GREY,
        clear=tuple(transparent) if colour == PALETTE else clear,
    )


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the content of each part of a PNG; a part that is damaged is cut off.

    Pillow does not look at the checksums of pixels.
    """
    place, name = len(PNG_MAGIC), b""
    while name != b"IEND":
        length, name = struct.unpack(">I4s", content[place : place + 8])
        part = content[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack(">I", content[place + 8 + length : place + 12 + length])
        if zlib.crc32(name + part) != checksum:
            raise IndexError
        yield name, part
        place += length + 12


def _jpeg(content: bytes, path: Path) -> PictureHeader:
    frame, place = b"", 2
    while content[place + 1] != JPEG_SCAN:
        if content[place] != 0xFF:
            raise IndexError
        if content[place + 1] == 0xFF:  # markers may be preceded by any number of these
            place += 1
            continue
        (length,) = struct.unpack(">H", content[place + 2 : place + 4])
        if content[place + 1] in JPEG_FRAMES:
            frame = content[place + 4 : place + 2 + length]
        place += 2 + length
    # Within the pixels these two bytes do not occur, and what is missing would be drawn as grey.
    if content.find(JPEG_END, place) < 0:
        raise DataError(f"{path}: {DAMAGED}", hint=COPY_AGAIN)
    bits, height, width, samples = struct.unpack(">BHHB", frame[:6])
    if samples == 4:
        raise _refused(path, "a JPEG in the colours of print (CMYK), not RGB")
    if bits != 8 or samples not in (1, 3):
        raise _refused(path, f"a JPEG of {samples} samples of {bits} bits")
    return PictureHeader(width, height, samples, np.dtype(np.uint8))


WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION = 256, 257, 258, 262, 274
SAMPLES, PLANES, SAMPLE_FORMAT = 277, 284, 339
"""Tags of TIFF."""
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, INDEXED, YCBCR = 0, 1, 2, 3, 6
"""What TIFF's samples may stand for."""
SAMPLE_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
KIND_WORDS = {"u": "whole numbers of", "i": "signed numbers of", "f": "floating point of"}
READ_KINDS = {"u": (8, 16, 32), "i": (8, 16, 32), "f": (32,)}
"""Bits of the samples that are read, by their kind."""
TIFF_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""Types of TIFF's entries that are whole numbers, as `struct` calls them."""


def count_pages(path: Path) -> int:
    """Return how many pictures a TIFF holds; 1 where it is not a TIFF, or is damaged."""
    try:
        with path.open("rb") as stream:
            if stream.read(4) not in TIFF_MAGIC:
                return 1
        return _tiff_tags(path.read_bytes())[1]
    except (OSError, struct.error, IndexError, KeyError):
        return 1


def _tiff(content: bytes, path: Path) -> PictureHeader:
    tags, _ = _tiff_tags(content)
    if tags.get(ORIENTATION, (1,))[0] != 1:
        raise turned(path)
    photometric = tags.get(PHOTOMETRIC, (BLACK_IS_ZERO,))[0]
    if photometric not in (BLACK_IS_ZERO, RGB, INDEXED, YCBCR):
        word = "white counts as zero" if photometric == WHITE_IS_ZERO else "its colours are not RGB"
        raise _refused(path, f"a TIFF in which {word}")
    samples = tags.get(SAMPLES, (1,))[0]
    bits = set(tags.get(BITS, (1,)))
    kind = SAMPLE_KINDS.get(tags.get(SAMPLE_FORMAT, (1,))[0], "")
    colours = 1 if photometric in (BLACK_IS_ZERO, INDEXED) else 3
    depth = 8 if photometric == INDEXED or bits == {1} else max(bits)
    plain = len(bits) == 1 and depth in READ_KINDS.get(kind, ())
    if not plain or samples not in (colours, colours + 1):
        shown = "/".join(str(one) for one in sorted(bits))
        many = f"{samples} sample{'s' * (samples != 1)}"
        raise _refused(path, f"a TIFF of {many} per pixel, {KIND_WORDS.get(kind, '')} {shown} bits")
    return PictureHeader(
        tags[WIDTH][0],
        tags[HEIGHT][0],
        samples,
        np.dtype(f"{kind}{depth // 8}"),
        has_alpha=samples == colours + 1,
        has_palette=photometric == INDEXED,
        is_bilevel=bits == {1} and photometric == BLACK_IS_ZERO,
    )


def _tiff_tags(content: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """Return the whole numbers of the first directory by tag, and the number of directories."""
    order = TIFF_MAGIC[content[:4]]
    big = content[2:4] in (b"+\0", b"\0+")
    head, entry, room = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    word = "Q" if big else "I"

    def read(form: str, place: int) -> tuple[int, ...]:
        return struct.unpack_from(order + form, content, place)

    (place,) = read(word, 8 if big else 4)
    tags: dict[int, tuple[int, ...]] = {}
    seen: set[int] = set()
    while place and place not in seen:
        (count,) = read(head, place)
        start, step = place + struct.calcsize(order + head), struct.calcsize(order + entry) + room
        for at in range(start, start + count * step, step):
            tag, kind, number = read(entry, at)
            if seen or kind not in TIFF_NUMBERS:
                continue
            form, value = f"{number}{TIFF_NUMBERS[kind]}", at + step - room
            if struct.calcsize(order + form) > room:
                (value,) = read(word, value)
            tags[tag] = read(form, value)
        seen.add(place)
        (place,) = read(word, start + count * step)
    return tags, len(seen)


def turned(path: Path) -> DataError:
    """Return the refusal of a picture whose tags ask that it be turned before it is shown."""
    return DataError(
        f"{path}: its orientation tag (EXIF) asks to turn the picture: some programs do (OpenCV) "
        "and others do not (Pillow, torchvision)",
        hint="turn the pixels and drop the tag, as Pillow's ImageOps.exif_transpose does",
    )


def _refused(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}", hint=EXPORT)
