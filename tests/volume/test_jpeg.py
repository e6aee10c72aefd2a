"""A JPEG that was cut is found out, with an end mark put behind it or not; a whole one never is."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esegeta.errors import DataError
from esegeta.volume.jpeg import is_whole
from esegeta.volume.picture import read_picture

END = b"\xff\xd9"
FORMS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
}


def jpeg(grey: bool, **options: object) -> bytes:
    rng = np.random.default_rng(0)
    shape = (40, 56) if grey else (40, 56, 3)
    stream = io.BytesIO()
    Image.fromarray((rng.random(shape) * 255).astype(np.uint8)).save(stream, "jpeg", **options)
    return stream.getvalue()


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_a_cut_jpeg_is_refused_and_a_whole_one_is_read(
    form: str, grey: bool, tmp_path: Path
) -> None:
    content, path = jpeg(grey, **FORMS[form]), tmp_path / "a.jpg"
    path.write_bytes(content)
    assert read_picture(path, "yx").shape[:2] == (40, 56)
    start = content.rfind(b"\xff\xda") if form != "progressive" else len(content) // 3
    for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.98):
        cut = content[: start + int((len(content) - start) * share)]
        for rest in (b"", END):
            path.write_bytes(cut + rest)
            with pytest.raises(DataError, match="damaged"):
                read_picture(path, "yx")


def test_data_after_the_pixels_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(True) + b"more" * 30)
    read_picture(path, "yx")


def test_an_end_mark_within_a_comment_ends_no_picture(tmp_path: Path) -> None:
    content = jpeg(True, progressive=True)
    comment = b"\xff\xfe\0\x04" + END
    cut = content[:2] + comment + content[2 : content.find(b"\xff\xda") + 60]
    cut = cut[: cut.rfind(b"\xff\xda") + 30].rstrip(b"\xff")
    assert not is_whole(cut, decode=lambda some: np.zeros(1))


def test_markers_may_be_preceded_by_any_number_of_fill_bytes(tmp_path: Path) -> None:
    content, path = jpeg(False), tmp_path / "a.jpg"
    path.write_bytes(content)
    expected = read_picture(path, "yx")
    path.write_bytes(content[:2] + b"\xff\xff\xff" + content[2:])
    np.testing.assert_array_equal(read_picture(path, "yx"), expected)


def of_frame(content: bytes, **changes: int) -> bytes:
    """Change what a baseline JPEG's frame says: bits of its samples, and their number."""
    place, changed = content.find(b"\xff\xc0"), bytearray(content)
    for name, value in changes.items():
        changed[place + {"bits": 4, "samples": 9}[name]] = value
    return bytes(changed)


REFUSED = {
    "bits": (lambda content: of_frame(content, bits=12), "a JPEG of 3 samples of 12 bits"),
    "samples": (lambda content: of_frame(content, samples=2), "a JPEG of 2 samples of 8 bits"),
    "no marker": (lambda content: content[:20] + b"\0\0" + content[20:], "damaged"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_implausible_header_is_refused(what: str, tmp_path: Path) -> None:
    change, message = REFUSED[what]
    path = tmp_path / "a.jpg"
    path.write_bytes(change(jpeg(False)))
    with pytest.raises(DataError, match=message):
        read_picture(path, "yx")
