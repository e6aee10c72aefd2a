"""A JPEG that was cut is found out, with an end mark put behind it or not; a whole one never is."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esegeta.errors import DataError
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


def test_what_stands_behind_the_pixels_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(True) + b"more" * 30)
    read_picture(path, "yx")
