"""What the file of a map says: range, dust, words, and how exactly it stores values."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from esegeta.volume import MapHeader, display_of, store, volume_from_tensor, write_map
from tests.builders import affine_of

SHAPE = (8, 10, 5)


def written(folder: Path, data: torch.Tensor, header: MapHeader) -> nib.Nifti1Image:
    volume = volume_from_tensor(torch.zeros(1, *SHAPE), affine=affine_of("oblique"))
    write_map(folder / "map.nii.gz", data, volume, header)
    image = nib.load(folder / "map.nii.gz")
    assert isinstance(image, nib.Nifti1Image)
    return image


def ramp() -> torch.Tensor:
    """201 magnitudes 0, 10, ..., 2000 of both signs among zeros: their percentiles are known."""
    data = torch.zeros(400)
    data[:201] = torch.arange(0, 2001, 10) * (-1.0) ** torch.arange(201)
    return data.reshape(SHAPE)


@pytest.mark.parametrize("is_signed", [True, False])
def test_the_header_gives_viewers_the_display_range(is_signed: bool, tmp_path: Path) -> None:
    data = ramp() if is_signed else ramp().abs()
    # 200 magnitudes above zero, 10 to 2000: the place 0.995 * 199 = 198.005 is 1990.05.
    display = display_of(data.numpy(), is_signed=is_signed)
    assert display.high == pytest.approx(1990.05)
    assert display.low == pytest.approx(19.9005)
    header = written(tmp_path, data, MapHeader(is_signed=is_signed)).header
    assert header["cal_max"] == pytest.approx(1990.05)
    assert header["cal_min"] == pytest.approx(-1990.05 if is_signed else 0.0)
    shown = display.describe()
    assert (shown["low"], shown["high"]) == (display.low, display.high)
    assert shown["negative"] == ("blue" if is_signed else None)


def test_an_outlier_does_not_set_the_display_range(tmp_path: Path) -> None:
    data = torch.ones(SHAPE)
    data[0, 0, 0] = -1e6
    header = written(tmp_path, data, MapHeader()).header
    assert (header["cal_min"], header["cal_max"]) == (-1, 1)


def test_a_map_of_zeros_has_no_display_range(tmp_path: Path) -> None:
    for dtype in ("float32", "int16"):
        image = written(tmp_path, torch.zeros(SHAPE), MapHeader(dtype=dtype))
        assert (image.header["cal_min"], image.header["cal_max"]) == (0, 0)
        assert not image.get_fdata().any()


def test_the_header_names_method_target_and_unit(tmp_path: Path) -> None:
    words = MapHeader("integrated_gradients", "liver", "logit x voxels")
    header = written(tmp_path, ramp(), words).header
    assert header["descrip"] == b"integrated_gradients: liver [logit x voxels]"
    assert (header["intent_name"], header["aux_file"]) == (b"liver", b"logit x voxels")
    assert header.get_intent() == ("estimate", (), "liver")


def test_long_words_are_cut_between_letters(tmp_path: Path) -> None:
    words = MapHeader("m" * 70, "ö" * 20, "é" * 30)
    header = written(tmp_path, ramp(), words).header
    assert header["descrip"].item().decode() == "m" * 70 + ": " + "ö" * 3
    assert header["intent_name"].item().decode() == "ö" * 7
    assert header["aux_file"].item().decode() == "é" * 11


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
def test_int16_is_within_a_ten_thousandth_of_the_range(scale: float, tmp_path: Path) -> None:
    data = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) * scale
    image = written(tmp_path, data, MapHeader(dtype="int16"))
    assert image.get_data_dtype() == np.int16
    error = np.abs(image.get_fdata() - data.numpy()).max()
    peak = float(data.abs().max())
    assert 0 < error < 2e-5 * peak
    stored = store(data.numpy(), "int16")
    assert error == pytest.approx(stored.largest_error, rel=1e-3)
    assert stored.describe()["slope"] == pytest.approx(peak / 32767, rel=1e-6)
    assert np.abs(stored.voxels).max() == 32767


def test_float32_is_exact(tmp_path: Path) -> None:
    image = written(tmp_path, ramp() / 3, MapHeader())
    np.testing.assert_array_equal(np.asarray(image.dataobj), (ramp() / 3).numpy())
    assert store(ramp().numpy(), "float32").describe() == {"dtype": "float32"}
