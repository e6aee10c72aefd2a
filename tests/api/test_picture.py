"""`esegeta.plot`: the picture of a run, in a notebook or as a file."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from PIL import Image

import esegeta
from esegeta.errors import OutputError
from esegeta.explain import InputXGradient
from tests.builders import predictor, unet, volume
from tests.oracles import frozen


@pytest.fixture(scope="module")
def attribution() -> esegeta.Attribution:
    model = predictor(unet(2), (8, 8))
    image = volume((12, 10), 1)
    return InputXGradient().explain(model, image, frozen(model, image))


def test_a_picture_is_a_png_that_notebooks_show_and_files_hold(
    attribution: esegeta.Attribution, tmp_path: Path
) -> None:
    picture = esegeta.plot(attribution, dpi=40)
    content = picture._repr_png_()
    assert picture.save(tmp_path / "a.png").read_bytes() == content
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    coloured = np.abs(pixels[..., 0] - pixels[..., 2]) > 60
    assert coloured.sum() > 100
    twice = np.asarray(Image.open(io.BytesIO(esegeta.plot(attribution, dpi=80).content)))
    assert twice.shape[0] == pytest.approx(2 * pixels.shape[0], abs=2)


def test_the_title_is_the_reader_s_own_if_there_is_one(attribution: esegeta.Attribution) -> None:
    usual, other = (
        matplotlib.image.imread(io.BytesIO(esegeta.plot(attribution, title=title, dpi=40).content))
        for title in (None, "another")
    )
    rows = np.flatnonzero((usual != other).any(axis=(1, 2)))
    assert 0 < len(rows) < usual.shape[0] / 4 and rows.max() < usual.shape[0] / 4


def test_what_cannot_be_a_picture_is_refused(
    attribution: esegeta.Attribution, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="dpi: must be at least 40"):
        esegeta.plot(attribution, dpi=3)
    with pytest.raises(OutputError, match=r"save a\.png"):
        esegeta.plot(attribution, dpi=40).save(tmp_path / "a.jpg")
