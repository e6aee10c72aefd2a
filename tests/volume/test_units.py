"""NIfTI in micrometres and metres: true mm everywhere, and maps that ITK puts on the image."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from esegeta.explain import Baseline
from esegeta.volume import (
    Grid,
    Preprocess,
    map_on_source,
    read_label_map,
    volume_from_tensor,
    write_label_map,
    write_map,
    write_map_on_grid,
)
from tests.builders import affine_of
from tests.volume.files import geometry_bytes, header_of, noise, read

MM = {"micron": 1e-3, "mm": 1.0, "meter": 1e3, "unknown": 1.0}
CODES = [(1, 1), (2, 0), (0, 1), (0, 0)]
SHAPE = (12, 10, 8)


def save(
    path: Path,
    affine: np.ndarray,
    unit: str,
    codes: tuple[int, int] = (2, 1),
    array: np.ndarray | None = None,
    kind: type = nib.Nifti1Image,
) -> Path:
    """Write an image whose affine is in a unit of length."""
    array = noise(SHAPE) if array is None else array
    header = kind.header_class()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_qform(affine, code=codes[1])
    header.set_sform(affine, code=codes[0])
    header.set_xyzt_units(unit, "sec")
    nib.save(kind(array, None, header), path)
    return path


def scaled(unit: str, kind: str = "oblique") -> np.ndarray:
    """Return an affine of voxels of 0.7 x 1.9 x 3.1 mm in another unit."""
    affine = affine_of(kind)
    affine[:3] /= MM[unit]
    return affine


def same_place(one: sitk.Image, other: sitk.Image) -> None:
    assert one.GetSize() == other.GetSize()
    assert one.GetSpacing() == other.GetSpacing()
    assert one.GetOrigin() == other.GetOrigin()
    assert one.GetDirection() == other.GetDirection()


def test_voxels_of_25_micrometres_are_read_in_mm(tmp_path: Path) -> None:
    affine = np.diag([25.0, 25.0, 25.0, 1.0])
    affine[:3, 3] = (100, -50, 7)
    volume = read(save(tmp_path / "a.nii.gz", affine, "micron"))
    np.testing.assert_allclose(volume.grid.spacing_mm, 0.025)
    assert volume.grid.voxel_volume_ml == pytest.approx(0.025**3 / 1000)
    np.testing.assert_allclose(volume.grid.to_mm((0, 0, 0)), (0.1, -0.05, 0.007))
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    source, map_ = (sitk.ReadImage(str(tmp_path / name)) for name in ("a.nii.gz", "map.nii.gz"))
    same_place(map_, source)
    np.testing.assert_allclose(map_.GetSpacing(), 0.025, rtol=1e-6)


@pytest.mark.parametrize("codes", CODES, ids=str)
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("unit", MM)
def test_the_grid_is_in_mm_and_written_files_use_the_unit_of_the_image(
    unit: str, kind: type, codes: tuple[int, int], tmp_path: Path
) -> None:
    path = save(tmp_path / "a.nii.gz", scaled(unit), unit, codes, kind=kind)
    volume = read(path)
    if codes != (0, 0):
        np.testing.assert_allclose(volume.affine, affine_of("oblique"), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(volume.grid.spacing_mm, (0.7, 1.9, 3.1), rtol=1e-5)
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    write_label_map(tmp_path / "labels.nii.gz", (volume.data[0] > 0).long(), volume)
    for name in ("map.nii.gz", "labels.nii.gz"):
        # Programs that look at units, and programs that do not, overlay it alike.
        if kind is nib.Nifti1Image:
            same_place(sitk.ReadImage(str(tmp_path / name)), sitk.ReadImage(str(path)))
            assert geometry_bytes(tmp_path / name) == geometry_bytes(path)
        np.testing.assert_allclose(nib.load(tmp_path / name).affine, nib.load(path).affine)
        expected = "mm" if unit == "unknown" else unit
        assert header_of(tmp_path / name).get_xyzt_units() == (expected, "unknown")


@pytest.mark.parametrize("unit", ["micron", "meter"])
def test_a_map_on_its_own_grid_is_written_in_the_unit_of_the_image(
    unit: str, tmp_path: Path
) -> None:
    path = save(tmp_path / "a.nii.gz", scaled(unit), unit)
    volume = read(path)
    coarse = volume.affine.copy()
    coarse[:3, :3] *= 2
    grid = Grid((6, 5, 4), coarse)
    write_map_on_grid(tmp_path / "layer.nii.gz", torch.ones(grid.shape), grid, volume)
    layer, source = (sitk.ReadImage(str(tmp_path / name)) for name in ("layer.nii.gz", "a.nii.gz"))
    np.testing.assert_allclose(layer.GetSpacing(), 2 * np.array(source.GetSpacing()), rtol=1e-5)
    np.testing.assert_allclose(layer.GetOrigin(), source.GetOrigin(), rtol=1e-5)
    expected = nib.load(path).affine @ np.diag([2, 2, 2, 1])
    np.testing.assert_allclose(nib.load(tmp_path / "layer.nii.gz").affine, expected, rtol=1e-5)


@pytest.mark.parametrize("unit", ["micron", "meter"])
def test_a_label_in_mm_fits_an_image_in_another_unit(unit: str, tmp_path: Path) -> None:
    truth = np.random.default_rng(0).integers(0, 9, SHAPE).astype(np.uint8)
    volume = read(save(tmp_path / "a.nii.gz", scaled(unit), unit))
    label = save(tmp_path / "label.nii.gz", scaled("mm"), "mm", array=truth)
    np.testing.assert_array_equal(read_label_map(label, volume, Preprocess()).numpy(), truth)


def test_preprocessing_does_not_depend_on_the_unit_of_the_file(tmp_path: Path) -> None:
    preprocess = Preprocess("RAS", (1.0, 2.5, 2.0))
    one = read(save(tmp_path / "mm.nii.gz", scaled("mm"), "mm"), preprocess=preprocess)
    other = read(save(tmp_path / "um.nii.gz", scaled("micron"), "micron"), preprocess=preprocess)
    assert one.grid.shape == other.grid.shape
    torch.testing.assert_close(other.data, one.data, atol=1e-4, rtol=1e-4)
    blurred = [Baseline("blur", sigma_mm=4.0).of(volume) for volume in (one, other)]
    torch.testing.assert_close(blurred[1], blurred[0], atol=1e-4, rtol=1e-4)


def test_a_unit_that_nifti_does_not_know_counts_as_mm(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", scaled("mm"), "mm")
    content = bytearray(path.read_bytes())
    content[123] = 5
    path.write_bytes(content)
    np.testing.assert_allclose(read(path).grid.spacing_mm, (0.7, 1.9, 3.1), rtol=1e-5)


@pytest.mark.parametrize("asked", [0.6, 1.0, 0.52])
@pytest.mark.parametrize("scale", [1e-3, 1e-4])
def test_resampling_works_for_spacings_below_a_micrometre(scale: float, asked: float) -> None:
    """The same array of voxels of 0.5 mm and of 0.5 um, asked for in the same proportion."""
    data = torch.from_numpy(noise((1, 9, 8, 7)))
    maps = []
    for unit in (1.0, scale):
        before = volume_from_tensor(data, affine=np.diag([0.5 * unit] * 3 + [1.0]))
        after = Preprocess(None, (asked * unit,) * 3)(before)
        np.testing.assert_allclose(after.grid.spacing_mm, asked * unit)
        maps.append((after.data, torch.from_numpy(map_on_source(after.data[0], after))))
    assert maps[0][0].shape != data.shape or not torch.equal(maps[0][0], data)
    for one, other in zip(*maps, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-5)
