"""Whether a JPEG holds all of its picture: decoders draw what is missing as grey, silently."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np

SCAN, END, PROGRESSIVE = 0xDA, b"\xff\xd9", (0xC2, 0xC6, 0xCA, 0xCE)
NUM_COEFFICIENTS = 64
NUM_MORE = 4096

Decode = Callable[[bytes], np.ndarray]


def is_whole(content: bytes, decode: Decode) -> bool:
    """Tell whether the pixels of a JPEG end before its end mark.

    Bytes put before the mark are passed over where all pixels are there, and decoded as pixels
    where some are missing. A progressive JPEG must have all bits of all coefficients as well.

    Args:
        content: of the file.
        decode: returns the pixels of such content.
    """
    end = content.rfind(END)
    if end < 0 or not _has_all_scans(content):
        return False
    more = bytes(random.Random(0).randrange(255) for _ in range(NUM_MORE))
    longer = content[:end] + more + content[end:]
    return bool(np.array_equal(decode(content), decode(longer)))


def _has_all_scans(content: bytes) -> bool:
    """Tell whether scans of a progressive JPEG bring every coefficient down to its last bit."""
    missing: dict[int, set[int]] = {}
    for marker, body in _segments(content):
        if marker in PROGRESSIVE:
            every = range(NUM_COEFFICIENTS)
            missing = {body[6 + 3 * place]: set(every) for place in range(body[5])}
        elif marker == SCAN and missing:
            count = body[0]
            first, last, bits = body[1 + 2 * count : 4 + 2 * count]
            if bits & 0xF == 0:
                for place in range(count):
                    missing[body[1 + 2 * place]] -= set(range(first, last + 1))
    return not any(missing.values())


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and body of each segment; what is not one ends them."""
    place = 2
    while place + 4 <= len(content):
        if content[place] != 0xFF or content[place + 1] in (0x00, 0xFF, *range(0xD0, 0xD8)):
            place = content.find(b"\xff", place + 1)
            if place < 0:
                return
            continue
        marker = content[place + 1]
        if marker == END[1]:
            return
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        yield marker, content[place + 4 : place + 2 + length]
        place += 2 + length
