"""The widget of a notebook: image and map, on one grid, with the report's ranges."""

from __future__ import annotations

import gzip
import sys

import nibabel as nib
import numpy as np
import pytest

from esegeta.errors import ConfigError
from esegeta.explain import Attribution, InputXGradient
from tests.builders import SHAPES, affine_of, predictor, unet, volume
from tests.oracles import frozen


@pytest.fixture
def attribution() -> Attribution:
    model = predictor(unet(3, in_channels=2), (8,) * 3)
    image = volume(SHAPES[3], 2, affine=affine_of("oblique", 3))
    return InputXGradient().explain(model, image, frozen(model, image))


def read(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    found = nib.Nifti1Image.from_bytes(gzip.decompress(content))
    return found.get_fdata(), found.affine


def test_image_and_map_are_shown_where_they_lie(attribution: Attribution) -> None:
    pytest.importorskip("ipyniivue", reason="the extra `notebook` is not installed")
    scan, map_ = attribution.view(channel=1).volumes
    image, affine = read(scan.data)
    total = attribution.total.numpy()
    array, over = read(map_.data)
    expected = attribution.volume.data[1].numpy()
    np.testing.assert_allclose(image, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(array, total, atol=1e-3 * np.abs(total).max())
    for found in (affine, over):
        np.testing.assert_allclose(found, attribution.volume.affine, atol=1e-5)
    high = np.percentile(np.abs(total[total != 0]), 99.5)
    assert map_.cal_max == pytest.approx(high) and map_.cal_max_neg == pytest.approx(-high)
    assert (map_.colormap, map_.colormap_negative) == ("red", "blue")


def test_a_channel_that_is_not_there_is_refused(attribution: Attribution) -> None:
    pytest.importorskip("ipyniivue", reason="the extra `notebook` is not installed")
    with pytest.raises(
        ConfigError, match="channel: the image has no channel 2; choose from 0 to 1"
    ):
        attribution.view(channel=2)


def test_a_missing_extra_is_one_sentence(
    attribution: Attribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    with pytest.raises(ConfigError, match=r"pip install 'esegeta\[notebook\]'"):
        attribution.view()
