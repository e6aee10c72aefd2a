"""Numbers that float32 would lose on their way from the file to the network's input."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from esegeta.errors import DataError
from esegeta.volume import Case, Intensity, Preprocess, Reading, load_volume, read_volume
from tests.builders import affine_of
from tests.volume.files import noise, read, save_nifti

SHAPE = (9, 11, 7)


def raw(path: Path, num_channels: int = 1) -> torch.Tensor:
    return read_volume(Case("a", (path,)), Reading(num_channels, 3)).data


EXACT = {
    "uint8": np.arange(693, dtype=np.uint8),
    "int16": np.arange(-300, 393, dtype=np.int16),
    "int32": np.arange(-300, 393, dtype=np.int32),
    "uint32 up to 2^24": np.arange(2**24 - 692, 2**24 + 1, dtype=np.uint32),
    "int64": 2**40 * np.arange(693, dtype=np.int64),
    "float64": np.arange(693) / 64,
}
LOST = {
    "float64 of offset 1e9": 1e9 + np.arange(693.0),
    "float64 of thirds": np.arange(693.0) / 3,
    "int32 beyond 2^24": np.arange(2**24, 2**24 + 693, dtype=np.int32),
    "int64 of offset 1e12": 10**12 + np.arange(693, dtype=np.int64),
    "uint64": 2**50 + np.arange(693, dtype=np.uint64),
    "float64 beyond float32": np.linspace(0, 1e39, 693),
}


@pytest.mark.parametrize("kind", EXACT)
def test_values_that_fit_float32_are_read_as_float32(kind: str, tmp_path: Path) -> None:
    array = EXACT[kind].reshape(SHAPE)
    data = raw(save_nifti(tmp_path / "a.nii.gz", array))
    assert data.dtype == torch.float32
    np.testing.assert_array_equal(data[0].double().numpy(), array.astype(np.float64))


@pytest.mark.parametrize("kind", LOST)
def test_values_that_float32_would_round_are_read_as_float64(kind: str, tmp_path: Path) -> None:
    array = LOST[kind].reshape(SHAPE)
    data = raw(save_nifti(tmp_path / "a.nii.gz", array))
    assert data.dtype == torch.float64
    np.testing.assert_array_equal(data[0].numpy(), array.astype(np.float64))


def test_scale_factors_are_applied_in_float64(tmp_path: Path) -> None:
    array = np.arange(693, dtype=np.int16).reshape(SHAPE)
    path = save_nifti(tmp_path / "a.nii", array)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([1e-3, 1e6], "<f4").tobytes()
    path.write_bytes(content)
    expected = array * np.float64(np.float32(1e-3)) + 1e6
    np.testing.assert_array_equal(raw(path)[0].numpy(), expected)


def test_an_image_is_float32_after_preprocessing(tmp_path: Path) -> None:
    array = LOST["float64 of thirds"].reshape(SHAPE)
    volume = read(save_nifti(tmp_path / "a.nii.gz", array))
    assert volume.data.dtype == torch.float32
    np.testing.assert_array_equal(volume.data[0].numpy(), array.astype(np.float32))


@pytest.mark.parametrize("rule", ["zscore", "minmax", "window", "percentile"])
def test_an_offset_of_1e9_is_normalised_in_float64(rule: str, tmp_path: Path) -> None:
    spread = noise(SHAPE).astype(np.float64)
    path = save_nifti(tmp_path / "a.nii.gz", 1e9 + spread)
    stored = np.asarray(nib.load(path).dataobj) - 1e9
    bounds = {"window": (1e9 - 1, 1e9 + 1), "percentile": (5.0, 95.0)}.get(rule, (0.0, 0.0))
    found = load_volume(path, intensity=Intensity(rule, *bounds)).data[0].numpy()
    low, high = np.percentile(stored, (5, 95))
    expected = {
        "zscore": lambda: (stored - stored.mean()) / stored.std(),
        "minmax": lambda: (stored - stored.min()) / (stored.max() - stored.min()),
        "window": lambda: np.clip((stored + 1) / 2, 0, 1),
        "percentile": lambda: np.clip((stored - low) / (high - low), 0, 1),
    }[rule]()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_finite_values_beyond_float32_are_not_called_nan(tmp_path: Path) -> None:
    array = np.linspace(0, 1e39, 693).reshape(SHAPE)
    path = save_nifti(tmp_path / "a.nii.gz", array)
    with pytest.raises(DataError, match=r"1e\+39.*float32") as error:
        read(path)
    assert "NaN" not in str(error.value)
    assert "nan: zero" not in str(error.value)


def test_values_beyond_float32_are_accepted_once_normalised(tmp_path: Path) -> None:
    array = np.linspace(0, 1e39, 693).reshape(SHAPE)
    path = save_nifti(tmp_path / "a.nii.gz", array)
    found = read(path, preprocess=Preprocess(intensity=Intensity("minmax"))).data[0].numpy()
    np.testing.assert_allclose(found, array / 1e39, atol=1e-6)


def test_the_channel_whose_values_are_too_large_is_named(tmp_path: Path) -> None:
    array = np.stack([noise(SHAPE), 1e39 * noise(SHAPE).astype(np.float64)], axis=-1)
    path = save_nifti(tmp_path / "a.nii.gz", array, sform=affine_of("oblique"))
    with pytest.raises(DataError, match=r"float32"):
        read(path, num_channels=2)
